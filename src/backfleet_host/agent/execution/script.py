"""Shell scripts, run as Cloud Assistant runs them (protocol page, section 7), with nothing of them left at the end.

Unlike with the official agent, time-out and stop kill the script's whole process group, and every other process that it
started if the task asks for that (`ProcessTree`). Output is limited while it comes, on disk and in memory. The exit
codes 193 and 194, which make that agent halt or reboot the host, mean nothing.
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
from typing import Any, Dict, Iterator, Mapping

from backfleet_host.agent.execution.process_tree import adopt_orphans, kill_descendants
from backfleet_host.agent.execution.task_folder import End, TaskFolder
from backfleet_host.agent.protocol.task_list import Task
from backfleet_host.agent.protocol.task_reports import GENERAL, LONGEST_HEAD, NO_SUBSTITUTE
from backfleet_host.files import write_file

LINGER_SECONDS = 0.2  # output of background children is still taken for this long after the script has ended
_POLL_SECONDS = 0.05
_AT_ONCE = 64 * 1024  # bytes that are read at a time
_PARAMETER = re.compile(r"\{\{\s*ACS::([A-Za-z0-9_.-]+)\s*\}\}")
_OWN_PREFIX = "BACKFLEET_"  # of variables of the agent


class UnknownParameter(ValueError):
    """The script names a parameter that the task does not have."""


def carry_script(folder: TaskFolder, task: Task, script: str, stopping: threading.Event) -> End:
    """Run the script until it ends, its time is over, or `stopping` is set; return how it ended."""
    output = Output(folder.path, task.quota)
    try:
        if task.kills_tree:
            adopt_orphans()
        with _script_file(folder.path, task, substitute(script, task)) as file:
            process = subprocess.Popen(**_start(task, file))
            kind = _watch(process, output, task, stopping)
    except UnknownParameter as problem:
        return End("error", _now_ms(), code=NO_SUBSTITUTE, text=str(problem))
    except (OSError, KeyError, subprocess.SubprocessError) as problem:
        return End("error", _now_ms(), code=str(getattr(problem, "errno", None) or GENERAL), text=str(problem))
    finally:
        output.close()
    return End(kind, _now_ms(), total=output.total, exit_code=_exit_code(process.returncode))


def substitute(script: str, task: Task) -> str:
    """Return the script with each `{{ACS::Name}}` replaced by the parameter, if the task asks for that.

    Raises:
        UnknownParameter: the script names a parameter that the task does not have.
    """
    if not task.substitutes:
        return script

    def value(found: re.Match[str]) -> str:
        if found[1] not in task.parameters:
            raise UnknownParameter(f"the parameter {found[1]} is not given")
        return task.parameters[found[1]]

    return _PARAMETER.sub(value, script)


class Output:
    """What a script prints: the head goes to a file as it comes, the tail stays in memory and is written at the end."""

    def __init__(self, folder: Path, quota: int) -> None:
        self._head = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._folder, self._quota = folder, quota
        self._tail = bytearray()
        self.total = 0

    def add(self, piece: bytes) -> None:
        """Add what was printed next."""
        left = max(LONGEST_HEAD - self.total, 0)  # bytes that the head still takes
        with contextlib.suppress(OSError):  # a full disk costs output and does not end the script
            os.write(self._head, piece[:left])
        self.total += len(piece)
        self._tail += piece
        if len(self._tail) > 2 * self._quota + _AT_ONCE:  # not at every piece, since cutting copies all that stays
            del self._tail[: -self._quota]

    def close(self) -> None:
        """Write the tail, if the head does not hold all of the output."""
        os.close(self._head)
        if self.total > LONGEST_HEAD:
            write_file(self._folder / "tail", bytes(self._tail[-self._quota :]), is_only_writer=True)


def _start(task: Task, file: Path) -> Dict[str, Any]:
    """Return how to start the script: through sh, so that a first line `#!` counts, and in a session of its own."""
    options: Dict[str, Any] = {
        # "$0" and not the path in the text of the command: the path of the root may hold any character.
        "args": ["sh", "-c", '"$0"', str(file)],
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "start_new_session": True,
    }
    if not task.user:
        environment = environment_for(os.environ, os.path.expanduser("~"))
        return {**options, "env": environment, "cwd": task.working_directory or environment["HOME"]}
    import pwd

    user = pwd.getpwnam(task.user)
    return {
        **options,
        "env": {**environment_for(os.environ, user.pw_dir), "USER": user.pw_name, "LOGNAME": user.pw_name},
        "cwd": task.working_directory or user.pw_dir,
        "user": user.pw_uid,
        "group": user.pw_gid,
        "extra_groups": os.getgrouplist(user.pw_name, user.pw_gid),
    }


def environment_for(environment: Mapping[str, str], home: str) -> Dict[str, str]:
    """Return the agent's environment without the agent's own variables, which may hold secrets."""
    passed_on = {name: value for name, value in environment.items() if not name.startswith(_OWN_PREFIX)}
    return {"PATH": os.defpath, **passed_on, "HOME": home}


@contextlib.contextmanager
def _script_file(folder: Path, task: Task, script: str) -> Iterator[Path]:
    """Give the script as a file that its user can run. It is removed when the script is over."""
    readable = folder
    if task.user:  # other users cannot read the agent's folder
        readable = Path(tempfile.mkdtemp(prefix="backfleet-script-"))
    file = readable / "script.sh"
    try:
        write_file(file, script.encode(), mode=0o700)
        if task.user:
            for path in (file, readable):
                shutil.chown(path, task.user)
        yield file
    finally:
        file.unlink(missing_ok=True)
        if task.user:
            readable.rmdir()


def _watch(process: Any, output: Output, task: Task, stopping: threading.Event) -> str:
    """Take output until the script is over; return how it ended: finish | timeout | stopped."""
    until = time.monotonic() + task.timeout if task.timeout else float("inf")
    pipe = process.stdout.fileno()
    os.set_blocking(pipe, False)
    ended_by, is_open = "", True
    with process.stdout:
        while process.poll() is None and not ended_by:
            is_open = _take(pipe, output) if is_open else _pause()
            ended_by = "stopped" if stopping.is_set() else "timeout" if time.monotonic() > until else ""
        if ended_by:
            _kill_group(process.pid)
            process.wait()
            if task.kills_tree:
                kill_descendants()
        _drain(pipe, output)
    return ended_by or "finish"


def _drain(pipe: int, output: Output) -> None:
    linger = time.monotonic() + LINGER_SECONDS
    while time.monotonic() < linger and _take(pipe, output):
        pass


def _take(pipe: int, output: Output) -> bool:
    """Wait a moment for output and take it; return False once no process can write any more."""
    if select.select([pipe], [], [], _POLL_SECONDS)[0]:
        piece = os.read(pipe, _AT_ONCE)
        output.add(piece)
        return bool(piece)
    return True


def _pause() -> bool:
    time.sleep(_POLL_SECONDS)
    return False


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _exit_code(returned: int) -> int:
    """Return the exit code, which is 128 + signal for a script that a signal ended, as in dash."""
    return 128 - returned if returned < 0 else returned


def _now_ms() -> int:
    return int(time.time() * 1000)
