"""Heartbeats: they tell the server that the agent lives, since when, and in which mode (protocol page, section 4.1)."""

from __future__ import annotations

import json
import logging
import os
import random
import socket
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Callable, Deque, Dict, List, NamedTuple, Tuple
from urllib.parse import urlencode

from backfleet_host import VERSION
from backfleet_host.agent import machine
from backfleet_host.agent.protocol.server import Answer, Server, Unreachable, advice_on
from backfleet_host.agent.timings import HEARTBEAT_RETRIES_AN_HOUR, Timings
from backfleet_host.contract import OWN_AGENT

log = logging.getLogger(__name__)

_HOUR = 3600.0  # seconds


@dataclass(frozen=True)
class AgentFacts:
    """What every heartbeat of one agent process tells."""

    pid: int
    started: float  # monotonic seconds
    machine_id: str
    is_cold_start: bool  # the first start of an agent since the machine booted
    mode: str  # restricted | shell
    run: str = ""  # an id of this process: two at once with one identity are two hosts


def process_headers(facts: AgentFacts) -> Dict[str, str]:
    """Return the headers of a notify socket that name its process: a copied host is noticed by them within seconds."""
    names = {"Run": facts.run, "Pid": str(facts.pid), "Hostname": socket.gethostname()}
    names.update(Machine=machine.stored_machine_id(), Boot=machine.boot_id())
    return {f"X-Backfleet-{name}": value for name, value in names.items() if value and value.isascii()}


@dataclass(frozen=True)
class Counters:
    """The heartbeats of this process so far."""

    sent: int = 0
    acknowledged: int = 0
    wants_all: bool = False  # the server has asked for every parameter in every heartbeat


class HeartbeatAnswer(NamedTuple):
    """What the server answered to a heartbeat."""

    is_acknowledged: bool
    wants_all: bool  # it asks for every parameter
    interval: float  # seconds until the next heartbeat; 0 if it does not say


def heartbeat_query(
    facts: AgentFacts, counters: Counters, *, now_ms: int, uptime_ms: int, process_ms: int, is_stopping: bool = False
) -> str:
    """Return the query of one heartbeat, in the official agent's order. The last ones, from `mode` on, are ours."""
    parameters: List[Tuple[str, object]] = [
        ("uptime", uptime_ms),
        ("timestamp", now_ms),
        ("pid", facts.pid),
        ("process_uptime", process_ms),
        ("index", counters.acknowledged),
        ("seq_no", counters.sent),
    ]
    system: List[Tuple[str, object]] = [("os_version", machine.os_version())]
    first = counters.acknowledged == 0
    if counters.wants_all:
        parameters += [("virt_type", "kvm"), ("lang", "python"), ("os_type", "linux"), *system]
        parameters += [("app_version", f"{OWN_AGENT}{VERSION}"), ("az", "unknown")]
    elif first:
        parameters += [("virt_type", "kvm"), *system, ("az", "unknown"), ("machineid", facts.machine_id)]
    if first:
        parameters.append(("cold_start", str(facts.is_cold_start).lower()))
    parameters.append(("mode", facts.mode))
    zone = machine.time_zone()
    if zone:
        parameters.append(("zone", zone))
    if facts.run:
        parameters += [("run", facts.run), ("hostname", socket.gethostname()), ("machine", machine.stored_machine_id())]
        parameters.append(("boot", machine.boot_id()))
    return urlencode([*parameters, ("state", "stopping")] if is_stopping else parameters)


def read_answer(answer: Answer) -> HeartbeatAnswer:
    """Return what an answer means. One that cannot be read counts by its status alone."""
    try:
        raw = json.loads(answer.body)
    except ValueError:
        raw = None
    fields = raw if isinstance(raw, dict) else {}
    wants_all = str(fields.get("errMsg", "")).startswith("Required request parameter ")
    interval = fields.get("nextInterval")
    milliseconds = interval if isinstance(interval, int) and not isinstance(interval, bool) else 0
    return HeartbeatAnswer(answer.status < 400 and not wants_all, wants_all, milliseconds / 1000)


class HeartbeatLoop:
    """Sends a heartbeat at every interval."""

    def __init__(
        self,
        server: Server,
        facts: AgentFacts,
        timings: Timings,
        on_first: Callable[[], None],
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._server, self._facts, self._timings, self._on_first = server, facts, timings, on_first
        self._on_refused = on_refused
        self._counters = Counters()
        self._retries: Deque[float] = deque(maxlen=HEARTBEAT_RETRIES_AN_HOUR)  # monotonic seconds of each
        self._wake, self._is_late = threading.Event(), False
        self._is_clock_noted = False

    def wake(self) -> None:
        """End the current pause."""
        self._wake.set()

    def wake_if_late(self) -> None:
        """Send at once if the last heartbeat failed, since the server seems to be there again."""
        if self._is_late:
            self._wake.set()

    def send_stopping(self) -> None:
        """Tell the server that the machine shuts down, once `run` has ended. One try: nothing depends on it."""
        self._try(is_stopping=True)

    def run(self, stopping: threading.Event) -> None:
        """Send one heartbeat at once, then one at each interval, until `stopping` is set."""
        while not stopping.is_set():
            self._wake.clear()
            self._wake.wait(self._send(stopping))

    def _send(self, stopping: threading.Event) -> float:
        """Send one heartbeat; return the seconds until the next."""
        before = self._counters
        is_acknowledged, interval = self._try()
        if not is_acknowledged and self._may_retry():
            stopping.wait(self._timings.heartbeat_retry)
            is_acknowledged, interval = self._try()
        self._is_late = not is_acknowledged
        self._counters = Counters(before.sent + 1, before.acknowledged + is_acknowledged, self._counters.wants_all)
        if is_acknowledged and before.acknowledged == 0:
            self._on_first()
        least, most = self._timings.heartbeat_least, self._timings.heartbeat_most
        return interval if least <= interval <= most else random.uniform(least, most)  # noqa: S311 -- spreads load

    def _try(self, *, is_stopping: bool = False) -> Tuple[bool, float]:
        query = heartbeat_query(
            self._facts,
            self._counters,
            now_ms=int(time.time() * 1000),
            uptime_ms=machine.uptime_ms(),
            process_ms=int((time.monotonic() - self._facts.started) * 1000),
            is_stopping=is_stopping,
        )
        try:
            answer = self._server.get(f"/luban/api/heart-beat?{query}")
        except Unreachable as problem:
            log.warning("heartbeat: %s", problem)
            return False, 0.0
        self._note_clock()
        is_acknowledged, wants_all, interval = read_answer(answer)
        if wants_all:
            self._counters = Counters(self._counters.sent, self._counters.acknowledged, wants_all=True)
        if not is_acknowledged:
            log.warning(
                "heartbeat: the server answered %d%s",
                answer.status,
                advice_on(answer.status, self._server.clock_trouble),
            )
        if answer.status == 401:
            self._on_refused()
        return is_acknowledged, interval

    def _note_clock(self) -> None:
        """Log that the clocks differ once, and again after they agreed."""
        trouble = self._server.clock_trouble
        if trouble and not self._is_clock_noted:
            log.warning("%s", trouble)
        self._is_clock_noted = bool(trouble)

    def _may_retry(self) -> bool:
        now = time.monotonic()
        if len(self._retries) == self._retries.maxlen and now - self._retries[0] < _HOUR:
            return False
        self._retries.append(now)
        return True


def is_cold_start(last_boot: str, current_boot: str) -> bool:
    """Tell whether the machine has booted since the last agent of this root started."""
    return not current_boot or last_boot != current_boot


def facts_of_this_process(machine_id: str, *, is_cold_start: bool, mode: str) -> AgentFacts:
    """Return the facts of the process that calls this, which starts now."""
    return AgentFacts(os.getpid(), time.monotonic(), machine_id, is_cold_start, mode, uuid.uuid4().hex)
