"""The named instants of a transaction at which a test may end the process, as a power cut would.

`BACKFLEET_HOST_DIE_AT=<instant>` in the environment arms one. Unset, `passed` is one comparison and returns.
"""

from __future__ import annotations

import os
import signal

_DIE_AT = os.environ.get("BACKFLEET_HOST_DIE_AT", "")


def passed(instant: str) -> None:
    """Say that this instant has been reached; die here, unwarned, if a test asked for it."""
    if _DIE_AT and instant == _DIE_AT:
        os.kill(os.getpid(), signal.SIGKILL)
