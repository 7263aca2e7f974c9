"""What a crash left of upgrades that no task of this agent answers for: made good when the agent starts.

An order that came through another agent's shell, one of an agent before this one, a way back that the disk refused: a
service may be down until somebody looks. It is done in a process of its own, as orders are: it outlives the agent.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from backfleet_host.agent.execution.systemd_scope import move_apart

if TYPE_CHECKING:
    from backfleet_host.layout import Places

_START = """import sys; sys.path[:] = {path!r}
from backfleet_host.agent.execution.recovery import recover; recover(sys.argv[1])"""


def start_recovery(places: Places) -> bool:
    """Start making good whatever is left open under this root; False if nothing is."""
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
    """Make it good, and say what came of it."""
    from pathlib import Path

    from backfleet_host import upgrader

    move_apart(f"backfleet-recovery-{os.getpid()}")
    for report in upgrader.recover_all(Path(root), progress=lambda line: None):
        runs = report.current_version or "nothing"
        print(f"recovered {report.package}: {runs} is installed; {report.code} {report.message}", flush=True)
