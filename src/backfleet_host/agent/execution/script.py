"""A shell script, run as Cloud Assistant runs it (protocol page, section 7), only with nothing of it left at the end.

Here time-out and stop kill the script's whole process group, and output is bounded while it comes, on disk and in
memory. The exit codes 193 and 194, with which the official agent halts or reboots the host, mean nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Optional

from backfleet_host.agent.execution.permission import Refusal
from backfleet_host.agent.execution.task_journal import End, TaskFolder
from backfleet_host.agent.protocol.task_list import Task
from backfleet_host.agent.protocol.task_reports import GENERAL, LONGEST_HEAD, NO_SUBSTITUTE
from backfleet_host.layout import write_whole

LINGER = 0.2  # seconds: output of background children is still taken for so long after the script's end
_LOOK = 0.05  # seconds
_AT_ONCE = 64 * 1024  # bytes
_PARAMETER = re.compile(r"\{\{\s*ACS::([A-Za-z0-9_.-]+)\s*\}\}")
_OURS = "BACKFLEET_"


class Unknown(ValueError):
    """The script names a parameter that the task does not give."""


def carry_script(folder: TaskFolder, task: Task, script: str, stopping: threading.Event) -> End:
    """Run the script to its end, its time limit, or until told to stop."""
    kept = Output(folder.path, task.quota)
    try:
        with _script_file(folder.path, task, substituted(script, task)) as file:
            process = subprocess.Popen(**_start(task, file))
            kind = _watch(process, kept, task.timeout, stopping)
    except Unknown as problem:
        return End("error", _now_ms(), code=NO_SUBSTITUTE, text=str(problem))
    except (OSError, KeyError, subprocess.SubprocessError) as problem:
        return End("error", _now_ms(), code=str(getattr(problem, "errno", None) or GENERAL), text=str(problem))
    finally:
        kept.close()
    return End(kind, _now_ms(), total=kept.total, exit_code=_exit_code(process.returncode))


def substituted(script: str, task: Task) -> str:
    """The script with `{{ACS::Name}}` replaced, if the task asks for that.

    Raises:
        Unknown: a name the task does not give.
    """
    if not task.substitutes:
        return script

    def value(found: re.Match[str]) -> str:
        if found[1] not in task.parameters:
            raise Unknown(f"the parameter {found[1]} is not given")
        return task.parameters[found[1]]

    return _PARAMETER.sub(value, script)


class Output:
    """What a script prints: the head in a file as it comes, the tail kept in memory and written at the end."""

    def __init__(self, folder: Path, quota: int) -> None:
        self._head = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._folder, self._quota = folder, quota
        self._tail = bytearray()
        self.total = 0

    def add(self, piece: bytes) -> None:
        """Take what was printed next."""
        room = max(LONGEST_HEAD - self.total, 0)
        with contextlib.suppress(OSError):  # a full disk costs output, not the script
            os.write(self._head, piece[:room])
        self.total += len(piece)
        self._tail += piece
        if len(self._tail) > 2 * self._quota + _AT_ONCE:  # not at every piece: cutting moves all that stays
            del self._tail[: -self._quota]

    def close(self) -> None:
        """Write the tail if the head does not hold everything."""
        os.close(self._head)
        if self.total > LONGEST_HEAD:
            write_whole(self._folder / "tail", bytes(self._tail[-self._quota :]))


def _start(task: Task, file: Path) -> Dict[str, Any]:
    """How the script is started: through sh, so that a first line `#!` counts, and in a session of its own."""
    asked: Dict[str, Any] = {
        # An array of words and "$0": the root's path may hold anything.
        "args": ["sh", "-c", '"$0"', str(file)],
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "start_new_session": True,
    }
    if not task.user:
        environment = environment_for(os.environ, os.path.expanduser("~"))
        return {**asked, "env": environment, "cwd": task.working_directory or environment["HOME"]}
    import pwd

    user = pwd.getpwnam(task.user)
    return {
        **asked,
        "env": {**environment_for(os.environ, user.pw_dir), "USER": user.pw_name, "LOGNAME": user.pw_name},
        "cwd": task.working_directory or user.pw_dir,
        "user": user.pw_uid,
        "group": user.pw_gid,
        "extra_groups": os.getgrouplist(user.pw_name, user.pw_gid),
    }


def environment_for(environment: Mapping[str, str], home: str) -> Dict[str, str]:
    """The agent's environment without what is the agent's own business."""
    kept = {name: value for name, value in environment.items() if not name.startswith(_OURS)}
    return {"PATH": os.defpath, **kept, "HOME": home}


@contextlib.contextmanager
def _script_file(folder: Path, task: Task, script: str) -> Iterator[Path]:
    """The script as a file that its user can run; gone when the script is over."""
    readable = folder
    if task.user:
        readable = Path(tempfile.mkdtemp(prefix="backfleet-script-"))  # our own folder is closed to other users
    file = readable / "script.sh"
    try:
        write_whole(file, script.encode(), mode=0o700)
        if task.user:
            for path in (file, readable):
                shutil.chown(path, task.user)
        yield file
    finally:
        file.unlink(missing_ok=True)
        if task.user:
            readable.rmdir()


def _watch(process: Any, kept: Output, timeout: int, stopping: threading.Event) -> str:
    """Take output until the script is over; says how it ended."""
    until = time.monotonic() + timeout if timeout else float("inf")
    pipe = process.stdout.fileno()
    os.set_blocking(pipe, False)
    why, is_open = "", True
    with process.stdout:
        while process.poll() is None and not why:
            is_open = _take(pipe, kept) if is_open else _nap()
            why = "stopped" if stopping.is_set() else "timeout" if time.monotonic() > until else ""
        if why:
            _kill_group(process.pid)
            process.wait()
        _drain(pipe, kept)
    return why or "finish"


def _drain(pipe: int, kept: Output) -> None:
    linger = time.monotonic() + LINGER
    while time.monotonic() < linger and _take(pipe, kept):
        pass


def _take(pipe: int, kept: Output) -> bool:
    """Wait a moment for output and take it; False once nobody can print any more."""
    if select.select([pipe], [], [], _LOOK)[0]:
        piece = os.read(pipe, _AT_ONCE)
        kept.add(piece)
        return bool(piece)
    return True


def _nap() -> bool:
    time.sleep(_LOOK)
    return False


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _exit_code(returned: int) -> int:
    """128 + signal for a script that a signal ended, as dash says it."""
    return 128 - returned if returned < 0 else returned


def complaint_about(task: Task) -> Optional[Refusal]:
    """What speaks against starting this script, looked at before it is taken on."""
    import pwd

    if task.working_directory and not Path(task.working_directory).is_dir():
        return Refusal("workingDirectory", "WorkingDirectoryNotExist")
    if task.user:
        try:
            pwd.getpwnam(task.user)
        except KeyError:
            return Refusal("UsernameOrPasswordInvalid", f"UserInvalid_{task.user}")
        if os.geteuid() != 0:
            return Refusal("UsernameOrPasswordInvalid", "the agent is not root and cannot run as another user")
    return None


def _now_ms() -> int:
    return int(time.time() * 1000)
