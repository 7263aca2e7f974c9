"""Fetching the task list: at start, when kicked, after every reconnect, and now and then in any case (section 6.1)."""

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
from backfleet_host.agent.timings import Pace
from backfleet_host.retries import backoff_seconds

log = logging.getLogger(__name__)

LARGEST_LIST = 8 << 20  # bytes


def query(reason: str, task_id: str, cold: bool, now: float) -> str:
    """The query of one fetch."""
    said: List[Tuple[str, object]] = [("reason", reason)]
    if reason == "startup":
        said.append(("cold_start", str(cold).lower()))
    if task_id:
        said.append(("taskId", task_id))
    offset = machine.zone_offset_seconds(now)
    return urlencode([*said, ("currentTime", int(now * 1000)), ("offset", offset), ("timeZone", machine.zone_name())])


class Fetcher:
    """One thread that fetches; kicks that come meanwhile are served by the next fetch."""

    def __init__(
        self,
        server: Server,
        pace: Pace,
        *,
        cold: bool,
        on_list: Callable[[TaskList], None],
        is_deaf: Callable[[], bool],
    ) -> None:
        self._server, self._pace, self._cold = server, pace, cold
        self._on_list, self._is_deaf = on_list, is_deaf
        self._wake = threading.Event()
        self._kicked: Set[str] = set()
        self._guard = threading.Lock()
        self._reason, self._failures, self._chances = "startup", 0, 0

    def kick(self, task_id: str = "") -> None:
        """Fetch now: the server says that there is something."""
        with self._guard:
            self._kicked.add(task_id)
        self._wake.set()

    def wake(self) -> None:
        """Look up: a fetch is due, or the end."""
        self._wake.set()

    def run(self, stopping: threading.Event) -> None:
        """Until told to stop."""
        while not stopping.is_set():
            self._wake.clear()
            with self._guard:
                kicked, self._kicked = self._kicked, set()
            found = self._fetch(next(iter(kicked)) if len(kicked) == 1 else "")
            if found is not None:
                self._on_list(found)
            self._wake.wait(self._wait_after(found, bool(kicked)))

    def _wait_after(self, found: Optional[TaskList], kicked: bool) -> float:
        """How long to sleep after a fetch, unless kicked again. A kick that brought nothing gets a second chance."""
        if found is None or found.try_again:
            self._failures += 1
            return backoff_seconds(self._failures - 1, self._pace.fetch_first, self._pace.fetch_most, _chance())
        self._failures = 0
        self._chances = 1 if kicked else self._chances
        if self._chances and found.is_empty:
            self._chances -= 1
            return self._pace.fetch_again
        self._chances = 0
        anyway = self._pace.fetch_deaf if self._is_deaf() else self._pace.fetch_anyway
        return anyway * (0.75 + _chance() / 2)

    def _fetch(self, task_id: str) -> Optional[TaskList]:
        asked = query(self._reason, task_id if self._reason == "kickoff" else "", self._cold, time.time())
        try:
            answer = self._server.post(
                f"/luban/api/v1/task/list?{asked}",
                kind="application/json; charset=utf-8",
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
            log.warning("task list, left out: %s", complaint)
        return found


def _chance() -> float:
    return random.random()  # noqa: S311 -- spreads load, no secret
