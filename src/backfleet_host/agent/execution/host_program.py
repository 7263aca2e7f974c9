"""The host program as files: where it is imported from, and how its processes are started.

Run from its one-file archive, the agent first unpacks itself and goes on from there: a copy that is compiled once, and
that stays what it is when the archive is replaced under a running agent.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import List, Optional

from backfleet_host.agent.execution.task_journal import TaskFolder
from backfleet_host.agent.execution.task_process import CARRY
from backfleet_host.layout import Places, make_folder, sync_folder

COPIES = 3  # older ones may still be in use by processes that were started from them
_START = """import sys; sys.path[:] = {path!r}
from backfleet_host.agent.execution import task_process; task_process.main(sys.argv[1:])"""


def archive() -> Optional[Path]:
    """The one-file archive this process runs from, if it does."""
    import backfleet_host

    found = getattr(getattr(backfleet_host, "__loader__", None), "archive", None)
    return Path(found) if found else None


def unpacked(places: Places, packed: Path) -> Path:
    """The folder that holds the archive's content, unpacked there now if need be."""
    content = hashlib.sha256(packed.read_bytes()).hexdigest()
    folder = places.program / content[:32]
    if not folder.exists():
        make_folder(places.program)
        partial = places.program / f".{content[:32]}.{os.getpid()}.partial"
        with zipfile.ZipFile(packed) as files:
            files.extractall(partial)
        os.rename(partial, folder)
        sync_folder(places.program)
    os.utime(folder)
    _prune(places.program)
    return folder


def go_on_from(folder: Path, words: List[str]) -> None:
    """Become the same program, run from this folder. Does not return."""
    os.execv(sys.executable, [sys.executable, "-I", "-S", str(folder), *words])  # noqa: S606 -- no shell is meant


def start_process(places: Places, folder: TaskFolder, lock: int, start_ms: int, mode: str = CARRY) -> subprocess.Popen:  # type: ignore[type-arg]
    """Start the process that carries out this task. It holds `lock`, leads its own session, and outlives us.

    -I and -S: nothing of the user's and no site packages, for the sake of a start in milliseconds.
    """
    program = _START.format(path=[entry for entry in sys.path if entry])
    words = [str(places.root), folder.key, str(lock), str(start_ms), mode]
    with (folder.path / "output").open("ab") as output, (folder.path / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", program, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=log,
            cwd="/",
            pass_fds=[lock],
            start_new_session=True,
        )


def _prune(folder: Path) -> None:
    copies = sorted(folder.iterdir(), key=lambda copy: copy.stat().st_mtime, reverse=True)
    for copy in copies[COPIES:]:
        shutil.rmtree(copy, ignore_errors=True)
