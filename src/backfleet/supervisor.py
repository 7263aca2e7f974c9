"""The parent of a server that nobody else supervises: it holds the listeners while the serving process restarts.

A connection that arrives meanwhile waits instead of failing: an official agent whose connection fails may stay away for
half an hour. Under systemd this is systemd's work (see `sockets`), and there is no parent.

The serving process is this same command, started again with the listeners as systemd would hand them over. If it
crashes it is started again, later each time; if it never began to serve, its exit code is the parent's. SIGHUP
restarts it. SIGTERM and SIGINT end both. The kernel ends it if the parent is killed.
"""

import contextlib
import ctypes
import fcntl
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from backfleet.sockets import BACKLOG, FIRST, READY_VARIABLE
from backfleet_host.retries import backoff_seconds

RESTARTS_AT_MOST: Final = 10  # in a row, of processes that served for less than STABLE_SECONDS
STABLE_SECONDS: Final = 60.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0  # seconds before a restart; doubled each time
STOP_SECONDS: Final = 20.0  # from SIGTERM to SIGKILL; a server needs 10 at most

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
WATCHED: Final = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

log = logging.getLogger(__name__)


def is_needed(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether nobody supervises this process: neither systemd nor a parent of ours."""
    is_child = environment.get("LISTEN_PID") == str(os.getpid())
    # A test that kills a server at a failpoint wants it dead.
    is_test = bool(environment.get("BACKFLEET_FAILPOINT"))
    return sys.platform == "linux" and not is_child and not is_test and not environment.get("NOTIFY_SOCKET")


def supervise(listeners: Mapping[str, socket.socket], command: Sequence[str] = sys.orig_argv) -> int:
    """Keep a serving process running until this one is told to stop. Return the exit code.

    Args:
        listeners: The bound sockets, by the names that the serving process knows them by.
        command: What starts the serving process.
    """
    for listener in listeners.values():
        listener.listen(BACKLOG)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    try:
        return _Supervisor(listeners, command).run()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Supervisor:
    def __init__(self, listeners: Mapping[str, socket.socket], command: Sequence[str]) -> None:
        self._listeners, self._command = listeners, command
        self._failures = 0  # of serving processes in a row
        self._has_served = False  # any of them

    def run(self) -> int:
        while True:
            child = Child.start(self._listeners, self._command)
            began = time.monotonic()
            reason = self._wait(child)
            code = child.end()
            self._has_served = self._has_served or child.has_served
            if reason == signal.SIGHUP:
                log.warning("restarting, as SIGHUP asks for")
                self._failures = 0
                continue
            if reason is not None or code == 0 or not self._has_served:
                return code
            self._failures = 1 if time.monotonic() - began >= STABLE_SECONDS else self._failures + 1
            if self._failures > RESTARTS_AT_MOST:
                log.error("the serving process ended %d times in a row; giving up", self._failures)
                return code
            if self._pause(code) is not None:
                return 0

    def _wait(self, child: "Child") -> signal.Signals | None:
        """Wait until the child ends, or a signal comes; return the signal."""
        while True:
            found = signal.Signals(signal.sigwaitinfo(WATCHED).si_signo)
            if found is not signal.SIGCHLD:
                return found
            if child.has_ended():
                return None

    def _pause(self, code: int) -> signal.Signals | None:
        """Wait before a restart. Return the signal to stop if one comes; SIGHUP only ends the wait."""
        seconds = backoff_seconds(self._failures - 1, FIRST_PAUSE, LONGEST_PAUSE, chance=1.0)
        facts = {"exit_code": code, "failures": self._failures}
        log.error("the serving process ended by itself; starting it again in %.1f s", seconds, extra=facts)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            found = signal.sigtimedwait(WATCHED, left)
            if found is not None and found.si_signo in (signal.SIGTERM, signal.SIGINT):
                return signal.Signals(found.si_signo)
            if found is not None and found.si_signo == signal.SIGHUP:
                break
        return None


class Child:
    """One serving process."""

    def __init__(self, pid: int, ready: int) -> None:
        self._pid, self._ready = pid, ready
        self._code: int | None = None
        self.has_served = False

    @classmethod
    def start(
        cls,
        listeners: Mapping[str, socket.socket],
        command: Sequence[str],
        further: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> "Child":
        """Start one.

        Args:
            listeners: The bound sockets, by name.
            command: What starts it.
            further: Descriptors that it gets beside the listeners, after the one on which it says that it serves.
            environment: Variables beside those of this process.
        """
        ready, write_end = os.pipe()
        prctl = ctypes.CDLL(None, use_errno=True).prctl  # before the fork, which leaves little that may be done
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            try:
                prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() == parent:
                    _become(listeners, [write_end, *further], command, environment or {})
            finally:
                os._exit(1)
        os.close(write_end)
        os.set_blocking(ready, False)
        return cls(pid, ready)

    def has_ended(self) -> bool:
        """Return whether it has ended, without waiting."""
        if self._code is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code is not None

    def serves(self) -> bool:
        """Return whether it has begun to serve."""
        if not self.has_served:
            with contextlib.suppress(BlockingIOError):  # it, or a grandchild, has the other end
                self.has_served = bool(os.read(self._ready, 1))
        return self.has_served

    def ask_to_end(self) -> None:
        """Tell it to end, without waiting."""
        if not self.has_ended():
            os.kill(self._pid, signal.SIGTERM)

    def end(self, until: float | None = None) -> int:
        """End it if it still runs; return its exit code, or 128 and the number of the signal that killed it.

        Args:
            until: When it is killed, by the monotonic clock; None = after STOP_SECONDS.
        """
        if not self.has_ended():
            if until is None:
                self.ask_to_end()
                until = time.monotonic() + STOP_SECONDS
            while not self.has_ended():
                left = until - time.monotonic()
                if left <= 0:
                    os.kill(self._pid, signal.SIGKILL)
                signal.sigtimedwait({signal.SIGCHLD}, max(left, 1.0))
        self.serves()
        os.close(self._ready)
        code = self._code or 0
        return code if code >= 0 else 128 - code


def _become(
    listeners: Mapping[str, socket.socket], further: Sequence[int], command: Sequence[str], added: Mapping[str, str]
) -> None:
    """Turn this process into a serving one, with the listeners where systemd would put them, and `further` after."""
    sources = [*(listener.fileno() for listener in listeners.values()), *further]
    # Above the targets, so that none is overwritten before it is copied.
    above = FIRST + len(sources)
    descriptors = [fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, above) for source in sources]
    for target, found in enumerate(descriptors, FIRST):
        os.dup2(found, target, inheritable=True)
    environment = os.environ | {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": str(len(listeners)),
        "LISTEN_FDNAMES": ":".join(listeners),
        READY_VARIABLE: str(FIRST + len(listeners)),
        **added,
    }
    if added:  # the parent of a group reports to systemd itself
        environment.pop("NOTIFY_SOCKET", None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    os.execve(sys.executable, list(command), environment)  # noqa: S606 -- our own command line
