"""The parent of a server of several processes: it holds what they share and replaces each one that ends.

Process 0 starts first and alone, because it makes and migrates what the others find; it also has the workers. Each is
started again by itself, later each time, while the others go on accepting from the same listeners. A process that ends
in a row too often ends the server, as does a first one that never began to serve. SIGHUP restarts all of them.
Why: docs/decisions/0094-several-processes.md.
"""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from backfleet.failpoints import disarm
from backfleet.siblings import VARIABLE, Shared
from backfleet.sockets import BACKLOG, FIRST, tell_systemd
from backfleet.supervisor import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    RESTARTS_AT_MOST,
    STABLE_SECONDS,
    STOP_SECONDS,
    WATCHED,
    Child,
)
from backfleet_host.retries import backoff_seconds

CHECK_SECONDS: Final = 0.1  # between two checks whether a process that was started serves

log = logging.getLogger(__name__)


def is_member(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process is one of a group already."""
    return VARIABLE in environment


def is_possible() -> bool:
    """Return whether this machine has what a group needs."""
    return sys.platform == "linux"


def supervise_group(listeners: Mapping[str, socket.socket], count: int, command: Sequence[str]) -> int:
    """Keep `count` serving processes running until this one is told to stop. Return the exit code.

    Args:
        listeners: The bound sockets, by the names that the serving processes know them by.
        count: How many processes.
        command: What starts one.
    """
    for listener in listeners.values():
        listener.listen(BACKLOG)
    shared = Shared.make(count)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    try:
        return _Group(listeners, shared, command).run()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        shared.close()


@dataclass(slots=True)
class _Place:
    """One process of the group, and what is known of those before it."""

    number: int
    child: Child | None = None
    began: float = 0.0
    due: float = 0.0  # when it is started again, by the monotonic clock
    failures: int = 0  # in a row


class _Group:
    def __init__(self, listeners: Mapping[str, socket.socket], shared: Shared, command: Sequence[str]) -> None:
        self._listeners, self._shared, self._command = listeners, shared, command
        self._places = [_Place(number) for number in range(len(shared.inboxes))]
        self._is_open = False  # process 0 has served since all of them were started
        self._has_served = False

    def run(self) -> int:
        while True:
            self._start_due()
            found = signal.sigtimedwait(WATCHED, self._longest_wait())
            number = None if found is None else signal.Signals(found.si_signo)
            if number in (signal.SIGTERM, signal.SIGINT):
                tell_systemd("STOPPING=1")
                return self._end_all()
            if number == signal.SIGHUP:
                log.warning("restarting, as SIGHUP asks for")
                self._end_all()
                self._is_open = False
                for place in self._places:
                    place.due, place.failures = 0.0, 0
            code = self._check()
            if code is not None:
                self._end_all()
                return code

    def _start_due(self) -> None:
        now = time.monotonic()
        for place in self._startable():
            if place.child is None and place.due <= now:
                further = self._shared.descriptors_of(place.number)
                first = FIRST + len(self._listeners) + 1
                environment = {VARIABLE: f"{place.number}:{len(self._places)}:{first}"}
                place.child = Child.start(self._listeners, self._command, further, environment)
                place.began = now

    def _startable(self) -> list[_Place]:
        return self._places if self._is_open else self._places[:1]

    def _longest_wait(self) -> float:
        if any(place.child is not None and not place.child.serves() for place in self._places):
            return CHECK_SECONDS
        dues = [place.due for place in self._startable() if place.child is None]
        return max(0.0, min(dues, default=time.monotonic() + 60.0) - time.monotonic())

    def _check(self) -> int | None:
        """Note who serves and who ended. Return the exit code if there is nothing more to do."""
        for place in self._places:
            child = place.child
            if child is None:
                continue
            if child.serves() and place.number == 0 and not self._is_open:
                self._is_open = True
                if not self._has_served:
                    tell_systemd("READY=1")
                self._has_served = True
            if child.has_ended():
                place.child = None
                code = self._ended(place, child.end())
                if code is not None:
                    return code
        return None

    def _ended(self, place: _Place, code: int) -> int | None:
        if not self._has_served:
            return code
        disarm()  # a test cuts the power once, not of each process that replaces another one
        now = time.monotonic()
        place.failures = 1 if now - place.began >= STABLE_SECONDS else place.failures + 1
        facts = {"serving_process": place.number, "exit_code": code, "failures": place.failures}
        if place.failures > RESTARTS_AT_MOST:
            log.error("a serving process ended %d times in a row; giving up", place.failures, extra=facts)
            return code or 1
        seconds = backoff_seconds(place.failures - 1, FIRST_PAUSE, LONGEST_PAUSE, chance=1.0)
        place.due = now + seconds
        log.error("serving process %d ended by itself; starting it again in %.1f s", place.number, seconds, extra=facts)
        return None

    def _end_all(self) -> int:
        """End all that run, at the same time; return the exit code of the first process."""
        running = [place for place in self._places if place.child is not None]
        until = time.monotonic() + STOP_SECONDS
        for place in running:
            if place.child is not None:
                place.child.ask_to_end()
        codes = {place.number: place.child.end(until) for place in running if place.child is not None}
        for place in running:
            place.child = None
        return codes.get(0, 0)
