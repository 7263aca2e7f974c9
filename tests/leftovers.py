"""What a process of the tests would leave behind if it is killed: a watcher beside it ends that, and removes it."""

import os
import sys
from pathlib import Path

WATCHER = """
import os, shutil, signal, sys, time
from pathlib import Path

folder, watched = Path(sys.argv[1]), int(sys.argv[2])
while os.getppid() == watched:
    time.sleep(0.5)
    if not folder.exists():
        sys.exit()
pids = [int(file.read_text().split()[0]) for file in [*folder.glob("postmaster.pid"), *folder.glob("*/postmaster.pid")]]
for pid in pids:
    os.kill(pid, signal.SIGQUIT)
    os.kill(pid, signal.SIGCONT)  # a test may have stopped it
for _ in range(100):
    if not any(Path(f"/proc/{pid}").exists() for pid in pids):
        break
    time.sleep(0.1)
shutil.rmtree(folder, ignore_errors=True)
"""


def end_with_us(folder: Path) -> None:
    """Have the PostgreSQL servers of a folder ended and it removed when this process is gone, however it ended.

    The watcher is in a session of its own, so that a Ctrl-C does not reach it, and ends when the folder is gone.
    """
    command = [sys.executable, "-I", "-S", "-c", WATCHER, str(folder), str(os.getpid())]
    null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1)]
    os.posix_spawn(command[0], command, os.environ, file_actions=null, setsid=True)
