"""Run other programs to their end, with a limit on everything that they start and on the output that is kept.

Everything that a command starts has a run id in its environment, and becomes our child if its parents end. So a child
that has left its process group, its session or its environment is found all the same.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import select
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Callable, Dict, Iterator, Mapping, Optional, Tuple

from backfleet_host.upgrader.errors import Unhealthy
from backfleet_host.upgrader.host.processes import OWNER, descendants, end, session_of, with_variable
from backfleet_host.upgrader.host.starting import Process, start

LONGEST_OUTPUT = 64 * 1024  # bytes that are kept
GATE_DESCRIPTOR = "BACKFLEET_GATE_DESCRIPTOR"  # names the descriptor with which shims let a command past the gate
LEAST_DESCRIPTOR = 100  # its number is out of the way of what scripts use
RUN_ID = "BACKFLEET_RUN"  # in the environment of everything that a command starts
PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.02  # for the end of a process, where the kernel does not signal it
KILL_SECONDS = 2.0  # for the end of a killed process; one that waits for a file system is then left behind
LEFT_BEHIND = -1000  # stands for the exit code of such a process; no process has it
PIPE_PIECES = 32  # of LONGEST_OUTPUT: more than a pipe holds
ROUNDS = 20  # of looking for what is left of a command: what forks faster than that is left alone
SHORT = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)  # what the host is short of
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LIMITS = {"memory": "RLIMIT_AS", "cpu": "RLIMIT_CPU", "files": "RLIMIT_NOFILE", "file_size": "RLIMIT_FSIZE"}


@dataclass(frozen=True)
class Subprocess:
    """A command: what to run, as which user, with what, for how long."""

    arguments: Tuple[str, ...]
    seconds: float
    user: str = ""  # "" = our own
    environment: Mapping[str, str] = field(default_factory=dict)  # besides PATH, LANG and HOME
    limits: Mapping[str, int] = field(default_factory=dict)  # by the names in LIMITS
    outlives: bool = False  # it starts a service: what it leaves is killed only if it runs out of time
    marker: Optional[Path] = None  # of the upgrade that closed the gate: opened, it lets the command past
    owner: str = ""  # the package whose upgrade runs it: if that dies, the next one kills the command


Runner = Callable[[Subprocess], Tuple[int, str]]
"""Runs a command and returns its exit code and output. Raises Unhealthy if it cannot be started or takes too long."""


def run(command: Subprocess) -> Tuple[int, str]:
    """Run a command in a session of its own that ends with it; return its exit code and output.

    Raises:
        Unhealthy: it cannot be started, or took longer than its seconds.
    """
    return _run_service_command(command) if command.outlives else _run_to_the_end(command)


def _run_to_the_end(command: Subprocess) -> Tuple[int, str]:
    """Run a command and kill everything that it leaves. Only the start of its output is kept."""
    run_id = secrets.token_hex(16)
    with _adopting_orphans():
        began = time.clock_gettime(time.CLOCK_BOOTTIME)
        reading, writing = os.pipe()
        output = _Output(reading)
        try:
            process = _started(command, run_id, writing)
        finally:
            os.close(writing)
        try:
            code = _wait(process, command.seconds, output)
        except subprocess.TimeoutExpired:
            _end_all(process, run_id, began)
            raise _too_long(command, output.text(), process) from None
        except BaseException:
            _end_all(process, run_id, began)
            raise
        finally:
            _end_group(process)
            output.close()
    return code, output.text()


def _run_service_command(command: Subprocess) -> Tuple[int, str]:
    """Run a command that may leave a service. Its output is an unnamed file, which the service may keep open."""
    run_id = secrets.token_hex(16)
    with tempfile.TemporaryFile() as output:
        process = _started(command, run_id, output.fileno())
        try:
            code = _wait(process, command.seconds, None)
        except subprocess.TimeoutExpired:
            _end_all(process, run_id, None)
            raise _too_long(command, _read_back(output), process) from None
        except BaseException:
            _end_all(process, run_id, None)
            raise
        return code, _read_back(output)


def _too_long(command: Subprocess, output: str, process: Process) -> Unhealthy:
    text = f"{os.path.basename(command.arguments[0])} did not end within {command.seconds:.0f} s"
    if process.returncode != LEFT_BEHIND:
        return Unhealthy(text, output, reason="TimedOut")
    text = f"{text}, nor when it was killed: it waits for a file system that does not answer"
    return Unhealthy(text, output, passing=True, reason="NotAnswering")


class _Output:
    """The start of a command's output. The rest is read and dropped, so that the command never waits for us."""

    def __init__(self, pipe: int) -> None:
        self.pipe, self._kept = pipe, bytearray()
        os.set_blocking(pipe, False)

    def read_some(self) -> bool:
        """Read what there is; return False at the end."""
        try:
            piece = os.read(self.pipe, LONGEST_OUTPUT)
        except BlockingIOError:
            return True
        self._kept += piece[: LONGEST_OUTPUT - len(self._kept)]
        return bool(piece)

    def close(self) -> None:
        """Read what is left in the pipe, and close it."""
        for _ in range(PIPE_PIECES):
            before = len(self._kept)
            if not self.read_some() or len(self._kept) == before:
                break
        os.close(self.pipe)

    def text(self) -> str:
        """Return the output as text."""
        return self._kept.decode("utf-8", "replace")


def _started(command: Subprocess, run_id: str, output: int) -> Process:
    """Start a command. Raises Unhealthy, if it cannot be started, or waits in the kernel for all of its seconds."""
    marker = _opened_marker(command)
    try:
        environment = _environment(command, run_id)
        if marker is not None:
            environment[GATE_DESCRIPTOR] = str(marker)
        set_up = _child_setup(command)
        process = start(command.arguments, environment, output, kept=marker, set_up=set_up)
        _check_started(command, process, run_id)
        return process
    except (OSError, LookupError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or str(problem)
        passing = getattr(problem, "errno", 0) in SHORT
        raise Unhealthy(f"{command.arguments[0]} cannot be started: {why}", passing=passing) from None
    finally:
        if marker is not None:
            os.close(marker)


def _check_started(command: Subprocess, process: Process, run_id: str) -> None:
    try:
        process.check_started(command.seconds)
    except subprocess.TimeoutExpired:
        _end_all(process, run_id, None)
        raise _too_long(command, "", process) from None
    except BaseException:
        _end_group(process)
        raise


def _open_to_write(path: Path) -> Optional[int]:
    try:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _opened_marker(command: Subprocess) -> Optional[int]:
    """Return a descriptor of the marker for writing, which only its owner can open; None if the command gets none.

    Where somebody removed the marker a command of our own user gets one of the gate. It is opened anew: with a copy of
    ours, a command could release our lock.
    """
    if command.marker is None:
        return None
    opened = _open_to_write(command.marker)
    if opened is None and not command.user:
        opened = _open_to_write(command.marker.with_name("gate"))
    if opened is None:
        return None
    try:
        number = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, LEAST_DESCRIPTOR)
    except OSError:  # more than we may have
        return opened
    os.close(opened)
    return number


def _wait(process: Process, seconds: float, output: Optional[_Output]) -> int:
    """Return its exit code once it has ended, without sleeping: backups wait for this. Raises TimeoutExpired."""
    until = process.began + seconds
    ended = _end_of(process)
    waiting = select.poll()
    if ended is not None:
        waiting.register(ended, select.POLLIN)
    if output is not None:
        waiting.register(output.pipe, select.POLLIN)
    try:
        while True:
            left = until - time.monotonic()
            events = waiting.poll(max(0.0, left if ended is not None else min(left, POLL_SECONDS)) * 1000)
            ready = [file for file, _ in events]
            if output is not None and output.pipe in ready and not output.read_some():
                waiting.unregister(output.pipe)
                output = None
            code = process.poll() if ended in ready or ended is None else None
            if code is not None:
                return code
            if time.monotonic() >= until:
                raise subprocess.TimeoutExpired(process.args, seconds)
    finally:
        if ended is not None:
            os.close(ended)


def _end_of(process: Process) -> Optional[int]:
    """Return a descriptor that can be read once the process has ended; None on a kernel before 5.3."""
    try:
        return os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        return None


def _environment(command: Subprocess, run_id: str) -> Dict[str, str]:
    given = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": _home()}
    if command.user:
        import pwd

        entry = pwd.getpwnam(command.user)
        given.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)
    owner = {} if command.outlives or not command.owner else {OWNER: command.owner}
    return {**given, **command.environment, **owner, RUN_ID: run_id}


def _home() -> str:
    """Return the home folder of our account: cron and services read the client's configuration there.

    Our own HOME may be another one, or missing: an agent that systemd starts has none, one under sudo somebody else's.
    """
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:  # an account that the system does not know
        return os.environ.get("HOME", "/")


def _child_setup(command: Subprocess) -> Optional[Callable[[], None]]:
    """Return what the child does before exec; None if nothing, because that starts faster."""
    if not command.user and not command.limits:
        return None
    import resource

    account = None
    if command.user:
        import pwd

        account = pwd.getpwnam(command.user)

    def set_up() -> None:
        for name, most in command.limits.items():
            resource.setrlimit(getattr(resource, LIMITS[name]), (most, most))
        if account is not None and account.pw_uid != os.geteuid():
            os.initgroups(account.pw_name, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)

    return set_up


def _end_all(process: Process, run_id: str, began: Optional[float]) -> None:
    """Kill the process group, and what has left it: found by its run id, or as an orphan adopted since the start."""
    _end_group(process)
    for _ in range(ROUNDS):
        left = with_variable(RUN_ID, run_id)
        if began is not None:
            left |= {pid for pid in descendants(began) if session_of(pid) != os.getsid(0)}
        if not left:
            return
        for pid in left:
            end(pid)


@contextlib.contextmanager
def _adopting_orphans() -> Iterator[None]:
    """Adopt processes whose parents end meanwhile: so they are found even if they cleared their environment.

    Not while a service is started: as our child it would stay a zombie when it is stopped.
    """
    _be_subreaper(True)
    try:
        yield
    finally:
        _be_subreaper(False)


def _be_subreaper(wanted: bool) -> None:
    """Set the subreaper attribute; without it the run id must do. Source: prctl(2), PR_SET_CHILD_SUBREAPER."""
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)


def _end_group(process: Process) -> None:
    """Kill the process group. A process that does not end by that is left behind: nobody can do more."""
    if process.returncode != LEFT_BEHIND:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        try:
            process.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:
            process.returncode = LEFT_BEHIND


def _read_back(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read(LONGEST_OUTPUT).decode("utf-8", "replace")
