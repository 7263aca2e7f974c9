"""The thread that sends new runs to the server. The same run twice is one there, by its id."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from typing import Any, Dict, List

from backfleet_host.agent.protocol.server import Server, Unreachable, advice_on
from backfleet_host.agent.runs.ledger import Ledger, Run
from backfleet_host.agent.timings import Timings
from backfleet_host.retries import backoff_seconds

PATH = "/luban/api/backfleet/runs"
MOST_AT_ONCE = 100  # runs in one request

log = logging.getLogger(__name__)


class RunSender:
    """Sends the runs of a ledger that the server does not have."""

    def __init__(self, server: Server, ledger: Ledger, timings: Timings) -> None:
        self._server, self._ledger, self._timings = server, ledger, timings
        self._wake = threading.Event()

    def wake(self) -> None:
        """End the current pause: there is something new."""
        self._wake.set()

    def run(self, stopping: threading.Event) -> None:
        """Send until `stopping` is set."""
        while not stopping.is_set():
            self._wake.wait()
            stopping.wait(self._timings.runs_gather)
            self._wake.clear()
            failed = 0
            while not stopping.is_set() and (runs := self._ledger.unsent(MOST_AT_ONCE)):
                if self._is_taken(runs):
                    self._ledger.note_sent(runs)
                    failed = 0
                else:
                    first, most = self._timings.runs_retry_first, self._timings.runs_retry_most
                    pause = backoff_seconds(failed, first, most, random.random())  # noqa: S311 -- spreads load
                    stopping.wait(pause)
                    failed += 1

    def _is_taken(self, runs: List[Run]) -> bool:
        body = {"now": int(time.time() * 1000), "runs": [_as_sent(run) for run in runs]}
        try:
            answer = self._server.post(PATH, json.dumps(body).encode(), content_type="application/json")
        except Unreachable as problem:
            log.warning("runs of clients: %s", problem)
            return False
        if not answer.is_final:
            log.warning("runs of clients: the server answered %d%s", answer.status, advice_on(answer.status))
        return answer.is_final


def _as_sent(run: Run) -> Dict[str, Any]:
    return {
        "id": run.id,
        "package": run.package,
        "version": run.version,
        "begun": int(run.begun * 1000),
        "ended": None if run.ended is None else int(run.ended * 1000),
        "result": run.result,
        "code": run.code,
        "user": run.user,
        "caller": run.caller,
        "backup": run.is_backup,
    }
