"""Start a program so that it can be left behind, even if it never gets as far as to run.

A program, its interpreter or a folder of PATH may be on a file system that has stopped answering. execve(2) then waits
in the kernel, where not even SIGKILL ends it, and a process that waits for its outcome waits as long. So the child
closes all of our descriptors first, above all those of locks; what became of execve comes through a pipe, on which
nobody waits for longer than there is time. `subprocess.Popen` waits without a limit, and stops all of us meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
import subprocess
import time
import warnings
from typing import Callable, Dict, Iterator, NoReturn, Optional, Sequence, Tuple

POLL_SECONDS = 0.02  # for the end of a process
LONGEST_ERROR = 4096  # bytes that a child says about why it cannot start
RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)  # that Python ignores, and no other program expects to be ignored
NOT_STARTED = 255  # the exit code of a child that could not become the program


class Process:
    """A child of ours, which becomes a program. The verbs are those of `subprocess.Popen`."""

    def __init__(self, pid: int, failure: int, arguments: Tuple[str, ...]) -> None:
        self.pid, self.args, self.began = pid, arguments, time.monotonic()
        self.returncode: Optional[int] = None  # negative: a signal
        self._failure = failure

    def check_started(self, seconds: float) -> None:
        """Wait until it has become the program.

        Raises:
            OSError, ValueError: it cannot.
            subprocess.TimeoutExpired: it has not after so many seconds. It may still be about to.
        """
        try:
            waiting = select.poll()
            waiting.register(self._failure, select.POLLIN)
            if not waiting.poll(max(0.0, seconds) * 1000):
                raise subprocess.TimeoutExpired(self.args, seconds)
            problem = os.read(self._failure, LONGEST_ERROR).decode("utf-8", "replace")
        finally:
            os.close(self._failure)
        if problem:
            self.wait(seconds)
            number, _, text = problem.partition(" ")
            raise OSError(int(number), text) if int(number) else ValueError(text)

    def poll(self) -> Optional[int]:
        """Return its exit code, if it has ended."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else asked first; as Popen has it
                pid, status = self.pid, 0
            if pid == self.pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, seconds: float) -> int:
        """Return its exit code once it has ended. Raises subprocess.TimeoutExpired."""
        until = time.monotonic() + seconds
        while True:
            code = self.poll()
            if code is not None:
                return code
            if time.monotonic() >= until:
                raise subprocess.TimeoutExpired(self.args, seconds)
            time.sleep(POLL_SECONDS)


def start(
    arguments: Tuple[str, ...],
    environment: Dict[str, str],
    output: int,
    *,
    kept: Optional[int] = None,
    set_up: Optional[Callable[[], None]] = None,
) -> Process:
    """Start a program in a session of its own, with nothing to read. Ask `check_started` what became of it.

    Args:
        output: the descriptor of its standard output and standard error.
        kept: one more descriptor that it gets, under its number.
        set_up: what the child does first.

    Raises:
        OSError: there can be no other process.
    """
    reading, writing = os.pipe()
    try:
        with _without_warnings():
            pid = os.fork()
        if not pid:
            _become(arguments, environment, output, writing, kept, set_up)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return Process(pid, reading, arguments)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Fork also where there are other threads: the child makes nothing but system calls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _become(
    arguments: Tuple[str, ...],
    environment: Dict[str, str],
    output: int,
    failure: int,
    kept: Optional[int],
    set_up: Optional[Callable[[], None]],
) -> NoReturn:
    """Become the program, in the child; write why not to `failure`, which closes if all is well."""
    try:
        try:
            failure = fcntl.fcntl(failure, fcntl.F_DUPFD_CLOEXEC, 3)
            os.setsid()
            _set_descriptors(output, failure, kept)
            for number in RESTORED:
                signal.signal(number, signal.SIG_DFL)
            if set_up is not None:
                set_up()
            os.execvpe(arguments[0], arguments, environment)  # noqa: S606 - no shell is wanted
        except OSError as problem:
            text = f"{problem.errno or 0} {problem.strerror or problem}"
        except BaseException as problem:  # noqa: BLE001 - nothing may leave this process but by exit
            text = f"0 {problem}"
        os.write(failure, text.encode("utf-8", "replace")[:LONGEST_ERROR])
    finally:
        os._exit(NOT_STARTED)


def _set_descriptors(output: int, failure: int, kept: Optional[int]) -> None:
    output = fcntl.fcntl(output, fcntl.F_DUPFD_CLOEXEC, 3)
    nothing = fcntl.fcntl(os.open(os.devnull, os.O_RDONLY), fcntl.F_DUPFD_CLOEXEC, 3)
    for number, source in enumerate((nothing, output, output)):
        os.dup2(source, number)
    if kept is not None:
        os.set_inheritable(kept, True)
    os.chdir("/")
    for descriptor in _open_descriptors():
        if descriptor > 2 and descriptor not in (failure, kept):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _open_descriptors() -> Sequence[int]:
    try:
        return [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return range(min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 16))
