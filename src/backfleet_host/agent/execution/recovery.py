"""Recovery at the start of the agent: of what a crash left of upgrades that are no task of this agent.

Such are orders that came through another agent's shell, orders of an instance that this host was before, and rollbacks
that a full disk cut short. A service may be down until they are recovered. A process of its own recovers them, as with
orders, so that recovery goes on if the agent ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from backfleet_host.agent.execution.systemd_scope import move_to_own_scope
from backfleet_host.agent.execution.time_limit import limit_time
from backfleet_host.layout import Places
from backfleet_host.texts import printable

LONGEST_SECONDS = 3600.0  # for all packages together; what is left then is recovered by their next orders

_START = """import sys; sys.path[:] = {path!r}
from backfleet_host.agent.execution.recovery import recover; recover(sys.argv[1])"""


def start_recovery(places: Places) -> bool:
    """Start to recover whatever is left open under this root; return False if nothing is."""
    if not any(places.root.glob("*/journal")):
        return False
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _START.format(path=[entry for entry in sys.path if entry]), places.root],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        cwd="/",
        start_new_session=True,
    )
    threading.Thread(target=process.wait, name="recovery", daemon=True).start()
    return True


def recover(root: str) -> None:
    """Recover everything under this root, and print a line for each package that was recovered."""
    from backfleet_host import upgrader  # only the process that is started here needs it

    move_to_own_scope(f"backfleet-recovery-{os.getpid()}")
    limit_time(LONGEST_SECONDS)
    for report in upgrader.recover_all(Path(root), progress=lambda line: None):
        installed = report.current_version or "nothing"
        line = f"recovered {report.package}: {installed} is installed; {report.code} {report.message}"
        print(printable(line), flush=True)
