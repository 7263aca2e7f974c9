"""A control group of one's own: systemd ends everything in a service's group with the service.

An order may restart the very service whose agent started it, and that agent's unit may be stopped while an upgrade is
under way. Source: failure catalogue F01, F02, F04; systemd.kill(5), org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import List, Mapping

SYSTEMD = Path("/run/systemd/system")  # is there exactly where systemd is the first process: sd_booted(3)
SECONDS = 5.0  # that systemd may take to answer
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")


def words_for(program: str, pid: int, name: str) -> List[str]:
    """The command that asks systemd to put a process into a transient scope of this name. Pure."""
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


def move_apart(name: str, *, systemd: Path = SYSTEMD, environment: Mapping[str, str] = os.environ) -> bool:
    """Move this process, and what it will start, into a scope of its own. False where that cannot be.

    Without systemd there is no group to leave. Where systemd will not do it the order goes on all the same: if it is
    ended with its service after all, the journal decides at the next start.
    """
    program = shutil.which("busctl", path=environment.get("PATH"))
    if program is None or not systemd.is_dir() or os.geteuid() != 0:
        return False
    try:
        done = subprocess.run(
            words_for(program, os.getpid(), name),
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env=dict(environment),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
