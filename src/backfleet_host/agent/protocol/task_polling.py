"""Fetching the task list: at start, after kicks and reconnects, and at intervals (protocol page, section 6.1)."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import Callable, List, Optional, Set, Tuple
from urllib.parse import urlencode

from backfleet_host.agent import machine
from backfleet_host.agent.protocol.server import LIST_SECONDS, Server, Unreachable
from backfleet_host.agent.protocol.task_list import NotATaskList, TaskList, read_list
from backfleet_host.agent.timings import Timings
from backfleet_host.retries import backoff_seconds

log = logging.getLogger(__name__)

LARGEST_LIST = 8 << 20  # bytes


def list_query(reason: str, task_id: str, is_cold_start: bool, now: float) -> str:
    """Return the query of one fetch.

    Args:
        reason: `startup` until the first list was fetched, then `kickoff`.
        task_id: the task that a kick named, or "".
        is_cold_start: the agent starts for the first time since the machine booted.
        now: Unix time in seconds.
    """
    parameters: List[Tuple[str, object]] = [("reason", reason)]
    if reason == "startup":
        parameters.append(("cold_start", str(is_cold_start).lower()))
    if task_id:
        parameters.append(("taskId", task_id))
    offset = machine.zone_offset_seconds(now)
    clock = [("currentTime", int(now * 1000)), ("offset", offset), ("timeZone", machine.zone_name())]
    return urlencode([*parameters, *clock])


class TaskPoller:
    """The loop that fetches. Kicks that arrive during a fetch are served by the next one."""

    def __init__(
        self,
        server: Server,
        timings: Timings,
        *,
        is_cold_start: bool,
        on_list: Callable[[TaskList], None],
        is_offline: Callable[[], bool],
    ) -> None:
        self._server, self._timings, self._is_cold_start = server, timings, is_cold_start
        self._on_list, self._is_offline = on_list, is_offline
        self._wake = threading.Event()
        self._kicked: Set[str] = set()
        self._guard = threading.Lock()
        self._reason, self._failures, self._repeats_left = "startup", 0, 0

    def kick(self, task_id: str = "") -> None:
        """Fetch now, for this task or for all."""
        with self._guard:
            self._kicked.add(task_id)
        self._wake.set()

    def wake(self) -> None:
        """End the current pause."""
        self._wake.set()

    def run(self, stopping: threading.Event) -> None:
        """Fetch until `stopping` is set."""
        while not stopping.is_set():
            self._wake.clear()
            with self._guard:
                kicked, self._kicked = self._kicked, set()
            found = self._fetch(next(iter(kicked)) if len(kicked) == 1 else "")
            if found is not None:
                self._on_list(found)
            self._wake.wait(self._pause_after(found, bool(kicked)))

    def _pause_after(self, found: Optional[TaskList], was_kicked: bool) -> float:
        """Return the seconds until the next fetch. An empty list after a kick is fetched once more soon."""
        if found is None or found.try_again:
            self._failures += 1
            first, most = self._timings.fetch_retry_first, self._timings.fetch_retry_most
            return backoff_seconds(self._failures - 1, first, most, _chance())
        self._failures = 0
        self._repeats_left = 1 if was_kicked else self._repeats_left
        if self._repeats_left and found.is_empty:
            self._repeats_left -= 1
            return self._timings.fetch_again
        self._repeats_left = 0
        interval = self._timings.fetch_interval_offline if self._is_offline() else self._timings.fetch_interval
        return interval * (0.75 + _chance() / 2)

    def _fetch(self, task_id: str) -> Optional[TaskList]:
        query = list_query(self._reason, task_id if self._reason == "kickoff" else "", self._is_cold_start, time.time())
        try:
            answer = self._server.post(
                f"/luban/api/v1/task/list?{query}",
                content_type="application/json; charset=utf-8",
                seconds=LIST_SECONDS,
                largest=LARGEST_LIST,
            )
            if answer.status >= 400:
                raise Unreachable(f"the server answered {answer.status}")
            found, complaints = read_list(answer.body)
        except (Unreachable, NotATaskList) as problem:
            log.warning("task list: %s", problem)
            return None
        self._reason = "kickoff"
        for complaint in complaints:
            log.warning("task list: an entry is left out: %s", complaint)
        return found


def _chance() -> float:
    return random.random()  # noqa: S311 -- spreads load, no secret
