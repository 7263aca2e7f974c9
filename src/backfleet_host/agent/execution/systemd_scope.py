"""A systemd scope for a process that must outlive the service it was started from.

systemd ends everything in the control group of a service with the service. An order may restart the service of the
agent that started it, and the agent's unit may be stopped during an upgrade.
Source: failure catalogue F01, F02, F04; systemd.kill(5), org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import List, Mapping

from backfleet_host.layout import SYSTEMD

ANSWER_SECONDS = 5.0  # that systemd may take
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")


def scope_command(program: str, pid: int, name: str) -> List[str]:
    """Return the command that asks systemd to put a process into a transient scope of this name."""
    description = ["Description", "s", "Backfleet order"]
    call = ["StartTransientUnit", "ssa(sv)a(sa(sv))", f"{name}.scope", "fail"]
    return [
        program,
        "--system",
        "--quiet",
        "call",
        *_MANAGER,
        *call,
        "2",
        "PIDs",
        "au",
        "1",
        str(pid),
        *description,
        "0",
    ]


def move_to_own_scope(name: str, *, systemd: Path = SYSTEMD, environment: Mapping[str, str] = os.environ) -> bool:
    """Move this process, and what it starts from now on, into a scope of its own.

    Returns:
        Whether it was moved. If not, the order goes on all the same: without systemd there is no control group to
        leave, and if the process is ended with the service after all, the journal is recovered at the next start.
    """
    program = shutil.which("busctl", path=environment.get("PATH"))
    if program is None or not systemd.is_dir() or os.geteuid() != 0:
        return False
    try:
        done = subprocess.run(
            scope_command(program, os.getpid(), name),
            capture_output=True,
            timeout=ANSWER_SECONDS,
            check=False,
            env=dict(environment),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
