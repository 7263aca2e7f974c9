"""Failpoints: named points at which a test may end the process, as a power cut would.

Between any two rows of the table in ARCHITECTURE.md ("The walk of one request") the process may end. The journey tests
end it there. `BACKFLEET_FAILPOINT=<name>` in the environment arms one failpoint of one process. Without it `failpoint`
is one comparison.
"""

import os
import signal

VARIABLE = "BACKFLEET_FAILPOINT"

_ARMED = os.environ.get(VARIABLE, "")


def failpoint(name: str) -> None:
    """Kill the process if this failpoint is armed."""
    if _ARMED and name == _ARMED:
        os.kill(os.getpid(), signal.SIGKILL)


def disarm() -> None:
    """Let processes that are started from now on know no failpoint. Those that run keep theirs."""
    os.environ.pop(VARIABLE, None)
