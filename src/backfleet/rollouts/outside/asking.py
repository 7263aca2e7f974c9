"""The loop that asks outside checks of running rollouts, outside any transaction, and stores what they answer."""

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final

from backfleet.authorities import believing
from backfleet.ids import Draw, new_id
from backfleet.outbound import SECONDS, Destinations, NoAnswer, NotAllowed, Resolve, fetch, resolve, signed
from backfleet.rollouts import _answers, _store
from backfleet.rollouts.model import CheckAnswer
from backfleet.rollouts.outside.questions import query_url, read_consent, read_metric
from backfleet.rollouts.policy import Prometheus, Webhook
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.states import RingState
from backfleet.storage import Conflict, Database
from backfleet.values import value_object

EVERY: Final = timedelta(minutes=1)  # one check is asked
AT_ONCE: Final = 8  # questions under way
MOST: Final = 100  # questions of one round

log = logging.getLogger(__name__)


@value_object
class Question:
    """One outside check of a ring that waits for it, or that it watches."""

    record: RolloutRecord
    ring: int
    position: int
    check: Prometheus | Webhook


class Asker:
    """Asks outside checks. Two replicas may both ask one: the newest answer counts."""

    def __init__(
        self,
        database: Database,
        destinations: Destinations,
        key: bytes,
        draw: Draw,
        *,
        authority: str = "",
        seconds: float = SECONDS,
        resolve: Resolve = resolve,
    ) -> None:
        """Begin without an answer.

        Args:
            database: holds the rollouts.
            destinations: where the settings allow to go.
            key: signs webhooks; b"" = none are sent.
            draw: makes the ids of webhooks.
            authority: a file of certificates that are believed; "" = those of the system.
            seconds: for one answer.
            resolve: finds the addresses of names.
        """
        self._database, self._destinations, self._key, self._draw = database, destinations, key, draw
        self._seconds, self._resolve = seconds, resolve
        self._trust = believing(authority)

    def run_once(self, now: datetime) -> bool:
        """Ask what is due; False: there is no more to do at once."""
        with self._database.reading() as tx:
            records = _store.running(tx)
            asked = {each.id: _answers.fresh_answers(tx, each.id, now=now, within=EVERY) for each in records}
        due = [each for record in records for each in questions_of(record) if _place(each) not in asked[record.id]]
        if not due:
            return False
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="outside check") as pool:
            answers = list(pool.map(lambda question: self._ask(question, now), due[:MOST]))
        for question, answer in zip(due, answers, strict=False):
            self._store(question, answer, now)
        return False

    def _store(self, question: Question, answer: CheckAnswer, now: datetime) -> None:
        rollout_id = question.record.id
        try:
            with self._database.transaction() as tx:
                if _store.lock(tx, rollout_id) is None:
                    return
                _answers.put_answers(tx, rollout_id, {_place(question): answer}, now)
                _store.wake(tx, [rollout_id], now)
        except Conflict:
            log.info("another replica stored an answer first", extra={"rollout_id": rollout_id})

    def _ask(self, question: Question, now: datetime) -> CheckAnswer:
        try:
            if isinstance(question.check, Prometheus):
                return self._ask_prometheus(question.check)
            return self._ask_webhook(question, question.check, now)
        except (NoAnswer, NotAllowed, OSError, ValueError) as problem:
            return CheckAnswer(False, f"no answer: {problem}"[:300])

    def _ask_prometheus(self, check: Prometheus) -> CheckAnswer:
        url = query_url(check.url or self._destinations.prometheus_url, check.query)
        place = self._destinations.place_of(url, self._resolve)
        accept = {"Accept": "application/json"}
        return read_metric(check, fetch(place, "GET", headers=accept, trust=self._trust, seconds=self._seconds))

    def _ask_webhook(self, question: Question, check: Webhook, now: datetime) -> CheckAnswer:
        if not self._key:
            return CheckAnswer(False, "no answer: the server has no `webhook_secret_file`")
        place = self._destinations.place_of(check.url, self._resolve)
        record = question.record
        ring = record.document.rings[question.ring]
        body = json.dumps(
            {
                "type": "rollout.gate",
                "timestamp": now.isoformat(),
                "data": {
                    "rollout_id": record.id,
                    "name": record.name,
                    "package": record.package,
                    "target_version": record.target_version,
                    "policy_sha256": record.policy_sha256,
                    "ring": ring.name,
                    "ring_state": record.ring_runs[question.ring].state,
                },
            }
        ).encode()
        headers = signed(self._key, new_id("msg", self._draw), body, now)
        return read_consent(fetch(place, "POST", body=body, headers=headers, trust=self._trust, seconds=self._seconds))


def questions_of(record: RolloutRecord) -> Iterator[Question]:
    """Yield the outside checks that matter now: of the next ring, and those that watch a ring that runs."""
    is_next = True
    if record.unreadable:
        return
    for ring, (run, written) in enumerate(zip(record.ring_runs, record.document.rings, strict=True)):
        if run.state is RingState.FINISHED:
            continue
        for position, check in enumerate(written.checks):
            matters = check.watches if run.state is RingState.RUNNING else is_next
            if isinstance(check, Prometheus | Webhook) and matters:
                yield Question(record, ring, position, check)
        is_next = is_next and run.state is not RingState.PENDING


def _place(question: Question) -> tuple[int, int]:
    return question.ring, question.position
