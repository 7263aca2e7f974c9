"""What one round with a cloud account needs, and what it asks of the cloud."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from backfleet import commands
from backfleet.carriers.ecs import _batches, _store
from backfleet.carriers.ecs.model import (
    AgentStatus,
    Batch,
    CloudInstance,
    EcsAccount,
    Page,
    Result,
    Run,
    Selection,
)
from backfleet.commands import FinalReport
from backfleet.ids import Draw, new_id
from backfleet.storage import Database, Transaction
from backfleet.values import value_object

FIRST_POLL, LONGEST_POLL = 1.0, 10.0  # seconds until the cloud is asked about a batch again
SLOWER: Final = 1.5  # each pause, compared with the last one
MOST_SECONDS: Final = 60.0  # of a round, until no other call is begun in it
HELD_FOR: Final = timedelta(seconds=30)  # by a process, from each call of the cloud on: longer than one takes


class CloudApi(Protocol):
    """One region of a cloud account. Everything may raise EcsProblem."""

    def page(self, selection: Selection, token: str = "") -> Page:
        """Return one page of a selection that names at most 50 instances, by one call."""

    def check_permission(self) -> None:
        """Find out, by one call, whether instances may be listed at all: without permission a list is empty."""

    def listing(self, selection: Selection) -> Iterator[list[CloudInstance]]:
        """Return a selection page by page; at its end, `check_permission` if it is empty."""

    def agents(self, remote_ids: Sequence[str]) -> dict[str, AgentStatus]:
        """Return what is said of the agents of these instances."""

    def run(self, batch: Batch) -> str:
        """Have a batch run; return the invocation's id."""

    def results(self, invoke_id: str, open_ids: Sequence[str] = ()) -> list[Result]:
        """Return what became of an invocation, at least on the instances that are named."""

    def stop(self, invoke_id: str, remote_ids: Sequence[str]) -> None:
        """Have an invocation stopped on these instances."""


class Opening(Protocol):
    """Makes clients of cloud accounts."""

    def open(self, account: EcsAccount, region: str, now: datetime, before_call: Callable[[], None] = ...) -> CloudApi:
        """Return a client of one region, which says before each page of a list that it asks. Raises EcsProblem."""


@value_object
class Means:
    """What every round of a process needs.

    `region` is that of this installation, `every` the time between two questions about the instances, `lease` how
    long a command may go without a sign of it, `spread` returns the factor by which a pause is made longer.
    """

    database: Database
    clock: Callable[[], datetime]
    clouds: Opening
    draw: Draw
    region: str
    every: timedelta
    lease: timedelta
    spread: Callable[[], float]


@dataclass(slots=True)
class Round:
    """One round with a cloud account. `has_heard` becomes True when the cloud has done what it was asked."""

    means: Means
    account: EcsAccount
    has_heard: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def is_long(self) -> bool:
        """Whether it has taken so long that what is left waits for the next one, after those of others."""
        return time.monotonic() - self.began > MOST_SECONDS

    def cloud(self, region: str) -> CloudApi:
        """Return a client for the next call. The account stays this process's while the call lasts, page by page.

        Raises:
            EcsProblem: there is none.
        """
        self._hold()
        return self.means.clouds.open(self.account, region, self.means.clock(), self._hold)

    def _hold(self) -> None:
        with self.means.database.transaction() as tx:
            _store.give_back(tx, self.account, self.means.clock() + HELD_FOR)

    def new_token(self) -> str:
        """Return a ClientToken."""
        return new_id("bf", self.means.draw)

    def next_poll(self, tries: int) -> datetime:
        """Return when the cloud is asked about a batch again, after so many times."""
        most = min(LONGEST_POLL, self.means.lease.total_seconds() / 3)
        pause = min(FIRST_POLL * SLOWER ** min(tries, 20), most)
        return self.means.clock() + timedelta(seconds=pause * self.means.spread())

    def note_running(self, tx: Transaction, run: Run, output: bytes = b"", *, has_begun: bool = False) -> bool:
        """Record that a command is on its way, or runs; False if it is over here."""
        now = self.means.clock()
        began = round(now.timestamp() * 1000) if has_begun else None
        return commands.record_output(
            tx, run.instance_id, run.task_id, output, started_ms=began, now=now, lease=self.means.lease
        )

    def end(self, tx: Transaction, batch: Batch, runs: Sequence[Run], report: FinalReport) -> None:
        """Record how some of a batch ended."""
        for run in runs:
            commands.record_final_report(tx, run.instance_id, run.task_id, report, now=self.means.clock())
        _batches.end_runs(tx, batch.token, [run.task_id for run in runs])
