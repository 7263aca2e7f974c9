"""Other programs, run to their end: with a limit on all that they start, and on what is kept of what they say.

What a command starts carries a mark in its environment, and comes to us if its parents end: a child that has left its
process group, its session or its environment is found all the same.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from typing import IO, Callable, Dict, Iterator, Mapping, Optional, Tuple

from backfleet_host.upgrader.host.processes import OWNER, descendants, end, marked, session_of
from backfleet_host.upgrader.refusal import Unwell

LONGEST_OUTPUT = 64 * 1024  # bytes that are looked at and kept
MARK = "BACKFLEET_RUN"  # in the environment of all that a command starts
PR_SET_CHILD_SUBREAPER = 36
NAP_SECONDS = 0.02  # between looks at a process, where the kernel does not tell that it has ended
PIPE_PIECES = 32  # of LONGEST_OUTPUT: more than a pipe holds
ROUNDS = 20  # of looking for what is left of a command: what forks faster than that is given up on
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LIMITS = {"memory": "RLIMIT_AS", "cpu": "RLIMIT_CPU", "files": "RLIMIT_NOFILE", "file_size": "RLIMIT_FSIZE"}


@dataclass(frozen=True)
class Command:
    """What to run, as whom, with what, for how long."""

    words: Tuple[str, ...]
    seconds: float
    user: str = ""  # "" = who we are
    environment: Mapping[str, str] = field(default_factory=dict)  # besides what everything here gets
    limits: Mapping[str, int] = field(default_factory=dict)  # of LIMITS
    outlives: bool = False  # it starts a service: only running out of time ends what it leaves
    owner: str = ""  # whose upgrade runs it: should that die, the next one ends it


Runner = Callable[[Command], Tuple[int, str]]
"""Runs a command: its exit code and output. Raises Unwell if it cannot be started or takes too long."""


def run(command: Command) -> Tuple[int, str]:
    """Exit code and output of a command, in a session of its own that ends with it.

    Raises:
        Unwell: it cannot be started, or took longer than its seconds.
    """
    return _run_service_command(command) if command.outlives else _run_to_the_end(command)


def _run_to_the_end(command: Command) -> Tuple[int, str]:
    """One that leaves nothing: what it starts is ended with it. What it says is kept as far as it is looked at."""
    mark = secrets.token_hex(16)
    with _adopting_orphans():
        began = time.clock_gettime(time.CLOCK_BOOTTIME)
        reading, writing = os.pipe()
        said = _Said(reading)
        try:
            process = _started(command, mark, writing)
        finally:
            os.close(writing)
        try:
            _wait(process, command.seconds, said)
        except subprocess.TimeoutExpired:
            _end_all(process, mark, began)
            raise _too_long(command, said.text()) from None
        except BaseException:
            _end_all(process, mark, began)
            raise
        finally:
            _end_group(process)
            said.close()
    return process.returncode, said.text()


def _run_service_command(command: Command) -> Tuple[int, str]:
    """One that may leave a service, which keeps the output that it was given: a file that nobody else sees."""
    mark = secrets.token_hex(16)
    with tempfile.TemporaryFile() as output:
        process = _started(command, mark, output.fileno())
        try:
            _wait(process, command.seconds, None)
        except subprocess.TimeoutExpired:
            _end_all(process, mark, None)
            raise _too_long(command, _read_back(output)) from None
        except BaseException:
            _end_all(process, mark, None)
            raise
        return process.returncode, _read_back(output)


def _too_long(command: Command, said: str) -> Unwell:
    return Unwell(f"{os.path.basename(command.words[0])} did not end within {command.seconds:.0f} s", said)


class _Said:
    """The first of what a command says; the rest is read and forgotten, for it must not wait for us."""

    def __init__(self, pipe: int) -> None:
        self.pipe, self._kept = pipe, bytearray()
        os.set_blocking(pipe, False)

    def listen(self) -> bool:
        """Take what there is; False at its end."""
        try:
            piece = os.read(self.pipe, LONGEST_OUTPUT)
        except BlockingIOError:
            return True
        self._kept += piece[: LONGEST_OUTPUT - len(self._kept)]
        return bool(piece)

    def close(self) -> None:
        """Take what is left in the pipe, and give it up."""
        for _ in range(PIPE_PIECES):
            before = len(self._kept)
            if not self.listen() or len(self._kept) == before:
                break
        os.close(self.pipe)

    def text(self) -> str:
        """What it said."""
        return self._kept.decode("utf-8", "replace")


def _started(command: Command, mark: str, output: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(command.words),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            preexec_fn=_becoming(command),  # noqa: PLW1509 - we have no threads when orders are carried out
            env=_environment(command, mark),
        )
    except (OSError, subprocess.SubprocessError, LookupError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or str(problem)
        raise Unwell(f"{command.words[0]} cannot be started: {why}") from None


def _wait(process: subprocess.Popen[bytes], seconds: float, said: Optional[_Said]) -> None:
    """As `wait`, without its naps of up to 50 ms: backups wait for this. Raises TimeoutExpired."""
    until = time.monotonic() + seconds
    ended = _end_of(process)
    waiting = select.poll()
    if ended is not None:
        waiting.register(ended, select.POLLIN)
    if said is not None:
        waiting.register(said.pipe, select.POLLIN)
    try:
        while True:
            left = until - time.monotonic()
            events = waiting.poll(max(0.0, left if ended is not None else min(left, NAP_SECONDS)) * 1000)
            ready = [file for file, _ in events]
            if said is not None and said.pipe in ready and not said.listen():
                waiting.unregister(said.pipe)
                said = None
            if (ended in ready or ended is None) and process.poll() is not None:
                return
            if time.monotonic() >= until:
                raise subprocess.TimeoutExpired(process.args, seconds)
    finally:
        if ended is not None:
            os.close(ended)


def _end_of(process: subprocess.Popen[bytes]) -> Optional[int]:
    """A descriptor that can be read once the process has ended; None on a kernel before 5.3."""
    try:
        return os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        return None


def _environment(command: Command, mark: str) -> Dict[str, str]:
    given = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": os.environ.get("HOME", "/")}
    if command.user:
        import pwd

        entry = pwd.getpwnam(command.user)
        given.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)
    owner = {} if command.outlives or not command.owner else {OWNER: command.owner}
    return {**given, **command.environment, **owner, MARK: mark}


def _becoming(command: Command) -> Optional[Callable[[], None]]:
    """What the child does to itself before it is the command; None if nothing, for that starts faster."""
    if not command.user and not command.limits:
        return None
    import resource

    who = None
    if command.user:
        import pwd

        who = pwd.getpwnam(command.user)

    def become() -> None:
        for name, most in command.limits.items():
            resource.setrlimit(getattr(resource, LIMITS[name]), (most, most))
        if who is not None and who.pw_uid != os.geteuid():
            os.initgroups(who.pw_name, who.pw_gid)
            os.setgid(who.pw_gid)
            os.setuid(who.pw_uid)

    return become


def _end_all(process: subprocess.Popen[bytes], mark: str, began: Optional[float]) -> None:
    """The group, and whatever has left it: by the mark it carries, or as an orphan that we adopted since it began."""
    _end_group(process)
    for _ in range(ROUNDS):
        left = marked(MARK, mark)
        if began is not None:
            left |= {pid for pid in descendants(began) if session_of(pid) != os.getsid(0)}
        if not left:
            return
        for pid in left:
            end(pid)


@contextlib.contextmanager
def _adopting_orphans() -> Iterator[None]:
    """Processes whose parents end become ours meanwhile: so they are found even if they shed their environment.

    Not while a service is started: it is nobody's child, and who stops it could not see that it has ended.
    """
    _be_subreaper(True)
    try:
        yield
    finally:
        _be_subreaper(False)


def _be_subreaper(wanted: bool) -> None:
    """Source: prctl(2), PR_SET_CHILD_SUBREAPER. Where that cannot be, marks must do."""
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read_back(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read(LONGEST_OUTPUT).decode("utf-8", "replace")
