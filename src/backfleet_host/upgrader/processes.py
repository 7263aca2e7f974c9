"""Other programs: run to their end with a limit on all they start; and which ones run from a tree.

What a command starts carries a mark in its environment: a child that has left its process group is found all the same.
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
from pathlib import Path
from typing import IO, Callable, Dict, FrozenSet, Iterator, List, Mapping, Optional, Tuple

from backfleet_host.upgrader.refusal import Unwell

LONGEST_OUTPUT = 64 * 1024  # bytes that are looked at and kept
MARK = "BACKFLEET_RUN"  # in the environment of all that a command starts
TICK_SECONDS = 0.02  # the kernel tells when a process began in hundredths of a second
OWNER = "BACKFLEET_PACKAGE"  # in the environment of all commands but those that leave a service: whose upgrade it is
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
        left = _marked(MARK, mark)
        if began is not None:
            left |= {pid for pid in _descendants(began) if _session_of(pid) != os.getsid(0)}
        if not left:
            return
        for pid in left:
            end(pid)


def end(pid: int) -> None:
    """End a process, whatever it does."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def end_orphans(owner: str) -> None:
    """End the commands that an upgrade of this package left when it died: one that still stops a service, say."""
    for pid in _marked(OWNER, owner):
        end(pid)


def _marked(name: str, value: str) -> FrozenSet[int]:
    wanted = os.fsencode(f"{name}={value}")
    found = (path for path in _processes() if wanted in _read(path, "environ").split(b"\0"))
    return frozenset(int(path.name) for path in found) - {os.getpid()}


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


def _descendants(since: float) -> FrozenSet[int]:
    """Every process that we, or one of them, started or adopted, and that began since then."""
    children: Dict[int, List[int]] = {}
    for path in _processes():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(path.name))
    found: List[int] = []
    open_ends = [os.getpid()]
    while open_ends:
        fresh = children.get(open_ends.pop(), [])
        found += fresh
        open_ends += fresh
    return frozenset(pid for pid in found if _began(Path("/proc") / str(pid)) + TICK_SECONDS >= since)


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read_back(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read(LONGEST_OUTPUT).decode("utf-8", "replace")


def from_tree(tree: Path) -> List[int]:
    """Live processes that run from this tree: by program, library, open file, folder, or a path among their words.

    A script that was started through the link `current` has only the link among its words. It counts as of the version
    that is linked if it came after the link, else as of every other one: it is not known of which.
    """
    own, link = os.getpid(), tree.parent.parent / "current"
    names = _names_of(tree)
    return sorted(
        int(path.name)
        for path in _processes()
        if int(path.name) != own and (any(_uses(path, name) for name in names) or _came_through(path, link, tree))
    )


def is_program_of(pid: int, tree: Path) -> bool:
    """Whether a process is a program of this tree, and not merely somebody who looks into it."""
    process, link = Path("/proc") / str(pid), tree.parent.parent / "current"
    begin = b"\0".join(_read(process, "cmdline").split(b"\0")[:2])  # of a script the second word is the program
    names = (*_names_of(tree), os.fsencode(str(link)) + b"/")
    return any(name in _link(process / "exe") or name in begin for name in names)


def _names_of(tree: Path) -> FrozenSet[bytes]:
    """As it was called, and as it is called without links."""
    return frozenset(os.fsencode(str(name)) + b"/" for name in (tree, tree.resolve()))


def _uses(process: Path, wanted: bytes) -> bool:
    links = [process / "exe", process / "cwd", *_entries(process / "fd")]
    return any(wanted in _link(link) + b"/" for link in links) or any(
        wanted in _read(process, name) for name in ("cmdline", "maps")
    )


def _came_through(process: Path, link: Path, tree: Path) -> bool:
    if os.fsencode(str(link)) + b"/" not in _read(process, "cmdline"):
        return False
    try:
        linked_before = time.time() - link.lstat().st_mtime
        is_of_current = time.clock_gettime(time.CLOCK_BOOTTIME) - _began(process) <= linked_before + TICK_SECONDS
        return is_of_current == (os.path.basename(os.readlink(str(link))) == tree.name)
    except OSError:
        return True


def _began(process: Path) -> float:
    """When a process began, in seconds since the machine booted; for ever ago if it is gone. Source: proc(5), stat."""
    try:
        ticks = int((process / "stat").read_text().rsplit(")", 1)[1].split()[19])  # field 22
    except (OSError, ValueError, IndexError):
        return 0.0
    return ticks / os.sysconf("SC_CLK_TCK")


def holders_of(file: Path) -> FrozenSet[int]:
    """Live processes that have this file open."""
    wanted = os.fsencode(str(file.resolve()))
    return frozenset(
        int(path.name) for path in _processes() if any(_link(link) == wanted for link in _entries(path / "fd"))
    )


def _processes() -> Iterator[Path]:
    proc = Path("/proc")
    return (path for path in proc.iterdir() if path.name.isdigit()) if proc.is_dir() else iter(())


def _entries(folder: Path) -> List[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _link(link: Path) -> bytes:
    try:
        return os.fsencode(os.readlink(str(link)))
    except OSError:
        return b""


def _read(process: Path, name: str) -> bytes:
    try:
        return (process / name).read_bytes()
    except OSError:
        return b""
