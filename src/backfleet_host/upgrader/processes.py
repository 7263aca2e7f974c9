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


Runner = Callable[[Command], Tuple[int, str]]
"""Runs a command: its exit code and output. Raises Unwell if it cannot be started or takes too long."""


def run(command: Command) -> Tuple[int, str]:
    """Exit code and output of a command, in a session of its own that ends with it.

    Raises:
        Unwell: it cannot be started, or took longer than its seconds.
    """
    mark = secrets.token_hex(16)
    with tempfile.TemporaryFile() as output:
        process = _started(command, mark, output)
        try:
            _wait(process, command.seconds)
        except subprocess.TimeoutExpired:
            _end_all(process, mark)
            name = os.path.basename(command.words[0])
            raise Unwell(f"{name} did not end within {command.seconds:.0f} s", _said(output)) from None
        except BaseException:
            _end_all(process, mark)
            raise
        if not command.outlives:
            _end_group(process)
        return process.returncode, _said(output)


def _started(command: Command, mark: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
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
    except (OSError, subprocess.SubprocessError, LookupError) as problem:
        why = getattr(problem, "strerror", None) or str(problem)
        raise Unwell(f"{command.words[0]} cannot be started: {why}") from None


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """As `wait`, without its naps of up to 50 ms: backups wait for this. Raises TimeoutExpired."""
    try:
        file = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # a kernel before 5.3
        process.wait(seconds)
        return
    try:
        waiting = select.poll()
        waiting.register(file, select.POLLIN)
        process.wait(None if waiting.poll(seconds * 1000) else 0)
    finally:
        os.close(file)


def _environment(command: Command, mark: str) -> Dict[str, str]:
    given = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": os.environ.get("HOME", "/")}
    if command.user:
        import pwd

        entry = pwd.getpwnam(command.user)
        given.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)
    return {**given, **command.environment, MARK: mark}


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


def _end_all(process: subprocess.Popen[bytes], mark: str) -> None:
    """The group, and whatever has left it: by the mark it carries."""
    _end_group(process)
    wanted = f"{MARK}={mark}".encode()
    for _ in range(ROUNDS):
        left = [path for path in _processes() if wanted in _read(path, "environ").split(b"\0")]
        if not left:
            return
        for path in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(path.name), signal.SIGKILL)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _said(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read(LONGEST_OUTPUT).decode("utf-8", "replace")


def from_tree(tree: Path) -> List[int]:
    """Live processes that run from this tree: by program, library, open file, folder, or a path among their words.

    A script that was started through the link `current` has only the link among its words. It counts as of the version
    that is linked if it came after the link, else as of every other one: it is not known of which.
    """
    own, wanted = os.getpid(), os.fsencode(str(tree.resolve())) + b"/"
    link = tree.parent.parent / "current"
    return sorted(
        int(path.name)
        for path in _processes()
        if int(path.name) != own and (_uses(path, wanted) or _came_through(path, link, tree))
    )


def _uses(process: Path, wanted: bytes) -> bool:
    links = [process / "exe", process / "cwd", *_entries(process / "fd")]
    return any(wanted in _link(link) + b"/" for link in links) or any(
        wanted in _read(process, name) for name in ("cmdline", "maps")
    )


def _came_through(process: Path, link: Path, tree: Path) -> bool:
    if os.fsencode(str(link)) + b"/" not in _read(process, "cmdline"):
        return False
    try:
        is_of_current = _started_at(process) + TICK_SECONDS >= link.lstat().st_mtime
        return is_of_current == (os.path.basename(os.readlink(str(link))) == tree.name)
    except (OSError, ValueError, IndexError):
        return True


def _started_at(process: Path) -> float:
    """When a process began, as the clock tells now. Source: proc(5), stat, field 22, ticks since the machine booted."""
    ticks = int((process / "stat").read_text().rsplit(")", 1)[1].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age


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
