"""The named instants of a walk at which a test may end the process, as a power cut would.

Between any two rows of the walk everything may die (ARCHITECTURE.md); the journey tests prove it by dying
there. `BACKFLEET_FAILPOINT=<instant>` in the environment arms one instant for one process. Unset, `passed` is one
comparison and returns.
"""

import os
import signal

_DIE_AT = os.environ.get("BACKFLEET_FAILPOINT", "")


def failpoint(instant: str) -> None:
    """Say that this instant of the walk has been reached; die here, unwarned, if a test asked for it."""
    if _DIE_AT and instant == _DIE_AT:
        os.kill(os.getpid(), signal.SIGKILL)
