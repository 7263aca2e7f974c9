"""Heart-beats: that the agent lives, how long it has, and what it is allowed to do (protocol page, section 4.1)."""

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Callable, Deque, List, Tuple
from urllib.parse import urlencode

from backfleet_host import VERSION
from backfleet_host.agent import machine
from backfleet_host.agent.protocol.server import Answer, Server, Unreachable
from backfleet_host.agent.timings import BEAT_TRIES_AN_HOUR, Pace

log = logging.getLogger(__name__)

_HOUR = 3600.0  # seconds


@dataclass(frozen=True)
class Pulse:
    """What a heart-beat tells, apart from the moment it is sent."""

    pid: int
    started: float  # monotonic seconds
    machine_id: str
    cold: bool  # the first start since the machine booted
    mode: str  # restricted | shell


@dataclass(frozen=True)
class Counters:
    """How far this process has got."""

    sent: int = 0
    acknowledged: int = 0
    in_full: bool = False  # the server has asked for every parameter, every time


def query(
    pulse: Pulse, counters: Counters, *, now_ms: int, uptime_ms: int, process_ms: int, stopping: bool = False
) -> str:
    """The query of one heart-beat, its parameters in the official agent's order; `mode` and `state` are ours."""
    said: List[Tuple[str, object]] = [
        ("uptime", uptime_ms),
        ("timestamp", now_ms),
        ("pid", pulse.pid),
        ("process_uptime", process_ms),
        ("index", counters.acknowledged),
        ("seq_no", counters.sent),
    ]
    system: List[Tuple[str, object]] = [("os_version", machine.os_version())]
    first = counters.acknowledged == 0
    if counters.in_full:
        said += [("virt_type", "kvm"), ("lang", "python"), ("os_type", "linux"), *system]
        said += [("app_version", f"backfleet-{VERSION}"), ("az", "unknown")]
    elif first:
        said += [("virt_type", "kvm"), *system, ("az", "unknown"), ("machineid", pulse.machine_id)]
    if first:
        said.append(("cold_start", str(pulse.cold).lower()))
    said.append(("mode", pulse.mode))
    return urlencode([*said, ("state", "stopping")] if stopping else said)


def understood(answer: Answer) -> Tuple[bool, bool, float]:
    """(acknowledged, every parameter asked for, seconds until the next beat or 0 if it does not say)."""
    try:
        said = json.loads(answer.body)
    except ValueError:
        said = None
    said = said if isinstance(said, dict) else {}
    asked = str(said.get("errMsg", "")).startswith("Required request parameter ")
    interval = said.get("nextInterval")
    milliseconds = interval if isinstance(interval, int) and not isinstance(interval, bool) else 0
    return answer.status < 400 and not asked, asked, milliseconds / 1000


class Heart:
    """Beats until told to stop."""

    def __init__(self, server: Server, pulse: Pulse, pace: Pace, on_first: Callable[[], None]) -> None:
        self._server, self._pulse, self._pace, self._on_first = server, pulse, pace, on_first
        self._counters = Counters()
        self._extra: Deque[float] = deque(maxlen=BEAT_TRIES_AN_HOUR)
        self._wake, self._late = threading.Event(), False

    def wake(self) -> None:
        """Look up: a beat is due, or the end."""
        self._wake.set()

    def wake_if_late(self) -> None:
        """The server seems to be there again: make good at once a beat that failed."""
        if self._late:
            self._wake.set()

    def last(self) -> None:
        """The machine goes down: one beat that says so, once `run` has ended. Nothing depends on it; one try."""
        self._try(stopping=True)

    def run(self, stopping: threading.Event) -> None:
        """One beat at once, then one each period."""
        while not stopping.is_set():
            self._wake.clear()
            self._wake.wait(self._beat(stopping))

    def _beat(self, stopping: threading.Event) -> float:
        before = self._counters
        well, interval = self._try()
        if not well and self._may_try_again():
            stopping.wait(self._pace.beat_again)
            well, interval = self._try()
        self._late = not well
        self._counters = Counters(before.sent + 1, before.acknowledged + well, self._counters.in_full)
        if well and before.acknowledged == 0:
            self._on_first()
        if self._pace.beat_least <= interval <= self._pace.beat_most:
            return interval
        return random.uniform(self._pace.beat_least, self._pace.beat_most)  # noqa: S311 -- spreads load, no secret

    def _try(self, *, stopping: bool = False) -> Tuple[bool, float]:
        process_ms = int((time.monotonic() - self._pulse.started) * 1000)
        said = query(
            self._pulse,
            self._counters,
            now_ms=int(time.time() * 1000),
            uptime_ms=machine.uptime_ms(),
            process_ms=process_ms,
            stopping=stopping,
        )
        try:
            answer = self._server.get(f"/luban/api/heart-beat?{said}")
        except Unreachable as problem:
            log.warning("heart-beat: %s", problem)
            return False, 0.0
        well, asked, interval = understood(answer)
        if asked:
            self._counters = Counters(self._counters.sent, self._counters.acknowledged, in_full=True)
        if not well:
            log.warning("heart-beat: the server answered %d%s", answer.status, _meaning(answer.status))
        return well, interval

    def _may_try_again(self) -> bool:
        now = time.monotonic()
        if len(self._extra) == self._extra.maxlen and now - self._extra[0] < _HOUR:
            return False
        self._extra.append(now)
        return True


def _meaning(status: int) -> str:
    if status in {401, 403}:
        return ": it does not take this host's identity; is the clock right, and is the instance still registered?"
    return ""


def cold_start(kept: str, current: str) -> bool:
    """Whether the machine has booted since this root's agent last started."""
    return not current or kept != current


def this_process(machine_id: str, *, cold: bool, mode: str) -> Pulse:
    """The pulse of this very process."""
    return Pulse(os.getpid(), time.monotonic(), machine_id, cold, mode)
