"""Helpers for tests of commands: a sender, an agent and the sweep, on one database and one clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from backfleet import commands
from backfleet.commands import FinalReport, Handout, NewInvocation, Outcome, State
from backfleet.commands._tables import invocations
from backfleet.ids import Draw
from backfleet.storage import Database, Transaction

TOPIC, OTHER_TOPIC = "upgrades", "others"
HOST, OTHER_HOST = "mi-1", "mi-2"
HANDED, RUNNING = timedelta(seconds=10), timedelta(seconds=90)  # the two leases


@dataclass
class Helpers:
    """Everything happens at `now` plus the seconds given as `at`."""

    database: Database
    now: datetime
    draw: Draw
    published: list[str] = field(default_factory=list)  # every topic published since `clear_published`

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self.database.transaction() as tx:
            yield tx

    def moment(self, at: float) -> datetime:
        return self.now + timedelta(seconds=at)

    def clear_published(self) -> None:
        self.published.clear()

    def send(
        self, *references: str, host: str = HOST, topic: str = TOPIC, content: str = "true", at: float = 0
    ) -> None:
        with self.transaction() as tx:
            self.send_in(tx, *references, host=host, topic=topic, content=content, at=at)

    def send_in(
        self,
        tx: Transaction,
        *references: str,
        host: str = HOST,
        topic: str = TOPIC,
        content: str = "true",
        at: float = 0,
    ) -> None:
        asked = [NewInvocation("1000000000000001", host, content, 60, reference) for reference in references]
        commands.send(tx, asked, topic=topic, now=self.moment(at), draw=self.draw)

    def claim(self, host: str = HOST, at: float = 0) -> Handout:
        with self.transaction() as tx:
            return self.claim_in(tx, host, at)

    def claim_in(self, tx: Transaction, host: str = HOST, at: float = 0) -> Handout:
        return commands.claim(tx, host, now=self.moment(at), lease=HANDED)

    def handed(self, reference: str = "r-1", at: float = 0) -> str:
        """The id of a new command that its agent has fetched."""
        self.send(reference, at=at)
        return next(command.task_id for command in self.claim(at=at).run)

    def running(self, reference: str = "r-1", at: float = 0) -> str:
        """The id of a new command that runs."""
        task_id = self.handed(reference, at=at)
        assert self.hear(task_id, at=at)
        return task_id

    def hear(self, task_id: str, chunk: bytes = b"", *, host: str = HOST, at: float = 0) -> bool:
        with self.transaction() as tx:
            return commands.record_output(tx, host, task_id, chunk, started_ms=1000, now=self.moment(at), lease=RUNNING)

    def end(self, task_id: str, kind: str = "finish", *, host: str = HOST, at: float = 0, **facts: Any) -> bool:
        with self.transaction() as tx:
            return commands.record_final_report(tx, host, task_id, FinalReport(kind, **facts), now=self.moment(at))

    def stop(self, *references: str, topic: str = TOPIC, at: float = 0) -> None:
        with self.transaction() as tx:
            commands.stop(tx, topic, references, now=self.moment(at))

    def sweep(self, at: float, limit: int = 100) -> int:
        with self.transaction() as tx:
            return commands.sweep(tx, now=self.moment(at), limit=limit)

    def news(self, topic: str = TOPIC, limit: int = 100) -> list[Outcome]:
        """The news that the sender would read now; it stays uncollected."""
        with self.transaction() as tx:
            return commands.outcomes(tx, topic, limit=limit)

    def collect(self, topic: str = TOPIC, limit: int = 100) -> list[Outcome]:
        """The news that the sender reads now."""
        with self.transaction() as tx:
            found = commands.outcomes(tx, topic, limit=limit)
            commands.mark_collected(tx, found)
        return found

    def row(self, reference: str = "r-1") -> Any:
        with self.database.reading() as tx:
            return tx.first(sa.select(invocations).where(invocations.c.reference == reference))

    def state(self, reference: str = "r-1") -> State:
        return State(self.row(reference).state)
