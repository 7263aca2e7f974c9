"""Helpers for tests of upgrades: a caller, the worker, the hosts and the administrator, on one clock."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from backfleet import commands, fleet, upgrades
from backfleet.carriers import through_gateway
from backfleet.commands import FinalReport, Handout, State
from backfleet.commands._tables import invocations
from backfleet.fleet import Client
from backfleet.settings import Settings
from backfleet.storage import Database, Transaction
from backfleet.upgrades import TOPIC, Item, Kind, NewTask, Task, TaskTarget
from backfleet_host.contract import Report, stage_line
from operations.environment import PLATFORM, REGION, Environment

PACKAGE = "courier"
LEASE = timedelta(seconds=90)
LIFE = 900  # seconds of a task
WAIT = 10.0  # seconds that a thread may take


class PowerCut(Exception):
    """The process ends here."""


@dataclass
class Helpers:
    """Everything happens at the environment's moment plus the seconds given as `at`."""

    env: Environment
    published: list[str] = field(default_factory=list)  # every topic published so far

    @property
    def database(self) -> Database:
        return self.env.services.database

    @property
    def account(self) -> str:
        return self.env.root.account_id

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self.database.transaction() as tx:
            yield tx

    def moment(self, at: float) -> datetime:
        return self.env.now + timedelta(seconds=at)

    # --- Callers ------------------------------------------------------------------------------------------------

    def target(self, version: str = "1.0", to: str = "2.0", **more: Any) -> TaskTarget:
        """A client on a new host, to be moved."""
        instance, client = self.env.host_with_client(version)
        return TaskTarget(instance, client, PACKAGE, PLATFORM, version, to, **more)

    def start(
        self,
        *targets: TaskTarget,
        kind: Kind = Kind.UPGRADE,
        at: float = 0,
        account: str = "",
        topic: str = "",
        token: str | None = None,
        fingerprint: str = "",
        settings: Settings | None = None,
    ) -> Task:
        new = NewTask(
            kind,
            account or self.account,
            targets,
            self.env.root.arn,
            topic=topic,
            client_token=token,
            fingerprint=fingerprint,
        )
        services = self.env.services
        with self.transaction() as tx:
            return upgrades.start(
                tx, new, now=self.moment(at), draw=services.draw, settings=settings or services.settings
            )

    def started_before(self, token: str, fingerprint: str = "", *, at: float = 0, account: str = "") -> Task | None:
        with self.transaction() as tx:
            return upgrades.started_before(tx, account or self.account, token, fingerprint, now=self.moment(at))

    def task(self, of: Task, at: float = 0) -> Task:
        with self.database.reading() as tx:
            found = upgrades.read(tx, of.account_id, of.id, now=self.moment(at))
        assert found is not None
        return found

    def item(self, of: Task, position: int = 0, at: float = 0) -> Item:
        return self.task(of, at).items[position]

    def client(self, client_id: str) -> Client:
        with self.database.reading() as tx:
            return fleet.resolve(tx, self.account, REGION, [], [client_id]).clients[client_id]

    def cancel(self, task: Task, at: float = 0, *, account: str = "") -> bool | None:
        with self.transaction() as tx:
            return upgrades.cancel(tx, account or task.account_id, task.id, now=self.moment(at))

    # --- Loops --------------------------------------------------------------------------------------------------

    def run_worker(self, at: float = 0) -> None:
        """Run rounds until there is nothing more to do."""
        while self.run_worker_once(at):
            pass

    def run_worker_once(self, at: float = 0) -> bool:
        draw = self.env.services.draw
        return upgrades.run_once(self.database, now=self.moment(at), draw=draw, carrier=through_gateway())

    def sweep(self, at: float) -> None:
        """Act on leases that ran out."""
        commands.run_once(self.database, now=self.moment(at))

    # --- Hosts --------------------------------------------------------------------------------------------------

    def claim(self, instance_id: str, at: float = 0) -> Handout:
        with self.transaction() as tx:
            return commands.claim(tx, instance_id, now=self.moment(at), lease=LEASE)

    def begin(self, item: Item, *stages: str, at: float = 0) -> str:
        """Its host fetches its order, and reports that it began and which steps; the command's id."""
        (command,) = self.claim(item.instance_id, at).run
        self.print_stages(item, command.task_id, *stages, at=at)
        return command.task_id

    def print_stages(self, item: Item, command: str, *stages: str, at: float = 0) -> None:
        output = "".join(stage_line(stage) + "\n" for stage in stages).encode()
        with self.transaction() as tx:
            assert commands.record_output(
                tx, item.instance_id, command, output, started_ms=1, now=self.moment(at), lease=LEASE
            )

    def end(
        self,
        item: Item,
        command: str,
        report: Report | None = None,
        *,
        kind: str = "finish",
        at: float = 0,
        **fields: Any,
    ) -> None:
        output = fields.pop("output", b"" if report is None else report.as_line().encode())
        with self.transaction() as tx:
            assert commands.record_final_report(
                tx, item.instance_id, command, FinalReport(kind, output=output, **fields), now=self.moment(at)
            )

    def under_way(self, target: TaskTarget | None = None) -> tuple[Task, Item, str]:
        """A task of one client whose host has begun, its item and its command."""
        task = self.start(target or self.target())
        self.run_worker()
        command = self.begin(task.items[0])
        self.run_worker()
        return task, self.item(task), command

    def sent(self, item: Item) -> Any:
        """The row of its command, if there is one."""
        with self.database.reading() as tx:
            return tx.first(
                sa.select(invocations).where(invocations.c.topic == TOPIC, invocations.c.reference == item.id)
            )

    def command_state(self, item: Item) -> State:
        return State(self.sent(item).state)

    def rows_of(self, table: sa.Table) -> int:
        with self.database.reading() as tx:
            return int(tx.scalar(sa.select(sa.func.count()).select_from(table)))

    # --- Trouble ------------------------------------------------------------------------------------------------

    @contextmanager
    def power_cut(self, number: int, commits: "itertools.count[int]") -> Iterator[None]:
        """The process ends just before the commit of this number."""

        def cut(_connection: sa.Connection) -> None:
            if next(commits) == number:
                raise PowerCut

        sa.event.listen(self.database.engine, "commit", cut)
        try:
            yield
        finally:
            sa.event.remove(self.database.engine, "commit", cut)

    @contextmanager
    def paused_before_commit(self, action: Callable[[], Any]) -> Iterator[None]:
        """Within this, another replica has done all of `action` but the first commit of what it wrote."""
        reached, go_on = threading.Event(), threading.Event()

        def hold(connection: sa.Connection) -> None:
            is_replica = threading.current_thread().name.startswith("replica")
            if is_replica and not reached.is_set() and self._wrote(connection):
                reached.set()
                assert go_on.wait(WAIT)

        sa.event.listen(self.database.engine, "commit", hold)
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="replica") as replica:
                done = replica.submit(action)
                done.add_done_callback(lambda _: reached.set())
                assert reached.wait(WAIT)
                try:
                    assert not done.done(), done.result()
                    yield
                finally:
                    go_on.set()
                done.result(WAIT)
        finally:
            sa.event.remove(self.database.engine, "commit", hold)

    @staticmethod
    def _wrote(connection: sa.Connection) -> bool:
        """PostgreSQL numbers a transaction only when it writes."""
        return connection.exec_driver_sql("SELECT pg_current_xact_id_if_assigned()").scalar() is not None


def report_of(item: Item, outcome: str = "succeeded", **fields: Any) -> Report:
    """The report of an honest host: after a success it runs the target, else what it ran before."""
    gone = item.kind is Kind.UNINSTALL
    if item.kind is Kind.SETTINGS:
        fields = {"current_version": item.from_version, "stage": "admit", **fields}
    now_there = ("" if gone else item.to_version) if outcome == "succeeded" else item.from_version
    facts: dict[str, Any] = {
        "stage": "commit",
        "from_version": item.from_version, "to_version": item.to_version,
        "current_version": now_there,
    }  # fmt: skip
    return Report(item.id, item.kind.value, item.package, outcome, **(facts | fields))


def nobody(number: int, **more: Any) -> TaskTarget:
    """A client that only its task knows of: quick to make, where the fleet does not matter."""
    target = TaskTarget(f"mi-{number}", f"c-{number}", PACKAGE, PLATFORM, "1.0", "2.0")
    return replace(target, **more)


def meanwhile(action: Callable[[], Any]) -> "Future[Any]":
    """Start it in another thread, and give it the time to reach a lock that it has to wait for."""
    other = ThreadPoolExecutor(1)
    doing = other.submit(action)
    other.shutdown(wait=False)
    wait([doing], timeout=0.3)
    return doing


def at_once(actions: Sequence[Callable[[], Any]]) -> "list[Future[Any]]":
    """Run all of these at the same moment, to their ends."""
    start = threading.Barrier(len(actions), timeout=WAIT)

    def run(action: Callable[[], Any]) -> Any:
        start.wait()
        return action()

    with ThreadPoolExecutor(len(actions)) as others:
        return [others.submit(run, action) for action in actions]
