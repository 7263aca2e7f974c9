"""The files of the host program: where it is imported from, and how its processes are started.

An agent that is run from the one-file archive first unpacks it and restarts from the copy. The copy is compiled only
once, and does not change when the archive is replaced under a running agent.
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

from backfleet_host.agent.execution.task_folder import TaskFolder
from backfleet_host.agent.execution.task_process import CARRY
from backfleet_host.files import PARTIAL, make_folder, sync_folder
from backfleet_host.layout import Places

COPIES = 3  # that are kept; processes that were started from an older one may still run
_START = """import sys; sys.path[:] = {path!r}
from backfleet_host.agent.execution import task_process; task_process.main(sys.argv[1:])"""


def own_archive() -> Optional[Path]:
    """Return the one-file archive that this process runs from, if it does."""
    import backfleet_host

    found = getattr(getattr(backfleet_host, "__loader__", None), "archive", None)
    return Path(found) if found else None


def unpack(places: Places, packed: Path) -> Path:
    """Return a folder with the archive's content, unpacked now unless it is there.

    One that lost a file, as a power cut takes it, is unpacked anew: nothing else would ever mend it.
    """
    content = hashlib.sha256(packed.read_bytes()).hexdigest()
    folder = places.program / content[:32]
    if folder.exists() and not _is_whole(folder, packed):
        shutil.rmtree(folder)
    if not folder.exists():
        make_folder(places.program)
        partial = places.program / f".{content[:32]}.{os.getpid()}{PARTIAL}"
        with zipfile.ZipFile(packed) as files:
            files.extractall(partial)
        os.rename(partial, folder)
        sync_folder(places.program)
    os.utime(folder)
    _prune(places.program)
    return folder


def _is_whole(folder: Path, packed: Path) -> bool:
    """Return whether every file of the archive is there, and as long as in it."""
    with zipfile.ZipFile(packed) as files:
        listed = [(folder / entry.filename, entry.file_size) for entry in files.infolist() if not entry.is_dir()]
    try:
        return all(path.stat().st_size == size for path, size in listed)
    except OSError:
        return False


def restart_from(folder: Path, arguments: List[str]) -> None:
    """Replace this process by the program in this folder, with these arguments. Does not return."""
    os.execv(sys.executable, [sys.executable, "-I", "-S", str(folder), *arguments])  # noqa: S606 -- no shell is meant


def start_process(places: Places, folder: TaskFolder, lock: int, start_ms: int, mode: str = CARRY) -> subprocess.Popen:  # type: ignore[type-arg]
    """Start the process that carries out this task. It holds `lock`, leads its own session, and outlives the agent.

    It runs with -I and -S, without settings of the user and without site packages, to start within milliseconds.
    """
    program = _START.format(path=[entry for entry in sys.path if entry])
    arguments = [str(places.root), folder.key, str(lock), str(start_ms), mode]
    with (folder.path / "output").open("ab") as output, (folder.path / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", program, *arguments],
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
