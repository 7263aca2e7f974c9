"""A fleet for tests of rollouts: asked as a caller asks, with hosts that fetch their orders and report."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from backfleet import backups, commands, fleet, identity, operations, rollouts, upgrades
from backfleet.commands import FinalReport
from backfleet.commands._tables import invocations
from backfleet.operations.catalogue import BACKFLEET
from backfleet.rollouts import _tables
from backfleet_host.contract import Report
from operations.environment import REGION, Environment
from upgrades.helpers import LEASE, PACKAGE, Helpers, report_of

POLICY = """
name = "courier to 2.0"
package = "courier"
version = "2.0"
deadline = "{deadline}"

[[ring]]
name = "canary"
count = 2
[[ring]]
name = "rest"

[pace]
in_flight = "100%"
ramp = false
{more}
"""

Answer = Callable[[upgrades.Item], Report | None]
"""What a host reports of its order; None if it says nothing."""


def succeeds(item: upgrades.Item) -> Report:
    return report_of(item)


def rolls_back(item: upgrades.Item) -> Report:
    return report_of(item, "failed", code="RolledBack", message="it said: no such option", stage="back")


def stays(item: upgrades.Item) -> Report:
    return report_of(item, current_version=item.from_version)


def is_busy(item: upgrades.Item) -> Report:
    return report_of(item, "failed", code="HostBusy", message="a backup runs", details={"deferred": True})


def refuses(item: upgrades.Item) -> Report:
    return report_of(item, "failed", code="ManagedElsewhere", message="dpkg has it")


@dataclass
class Fleet:
    """Everything happens at the environment's moment plus `at` seconds."""

    helpers: Helpers
    at: float = 0
    answers: dict[str, Answer] = field(default_factory=dict)  # by instance; others succeed
    silent: set[str] = field(default_factory=set)  # instances that fetch nothing
    worker: rollouts.Worker | None = None
    runs: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def env(self) -> Environment:
        return self.helpers.env

    @property
    def now(self) -> datetime:
        return self.helpers.moment(self.at)

    def grow(self, number: int, version: str = "1.0", **tags: str) -> list[str]:
        """Add hosts with a client each, and these tags; return the clients' ids."""
        made = []
        for _ in range(number):
            instance, client = self.env.host_with_client(version)
            made.append(client)
            if tags:
                with self.helpers.transaction() as tx:
                    fleet.set_tags(tx, self.helpers.account, REGION, "instance", [instance], tags)
        return made

    def instance_of(self, client_id: str) -> str:
        return self.helpers.client(client_id).instance_id

    def ask(self, action: str, caller: identity.Caller | None = None, **fields: Any) -> dict[str, Any]:
        """Call an operation of ours at the moment `at`; return the answer of a success."""
        status, body = self.try_to(action, caller, **fields)
        assert status == 200, body
        return body

    def try_to(self, action: str, caller: identity.Caller | None = None, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Call an operation of ours; return status and body."""
        before, self.env.now = self.env.now, self.now
        try:
            return self.env.ask(BACKFLEET.version, action, caller, **fields)
        finally:
            self.env.now = before

    def policy(self, more: str = "", *, hours: float = 240, text: str = POLICY) -> str:
        deadline = self.now + timedelta(hours=hours)
        return text.format(deadline=deadline.isoformat(), more=more)

    def roll_out(self, more: str = "", *, caller: identity.Caller | None = None, text: str = POLICY) -> str:
        """Create and start a rollout; return its id."""
        made = self.ask("CreateRollout", caller, Policy=self.policy(more, text=text), Start="true")
        found: str = made["RolloutId"]
        return found

    def show(self, rollout_id: str) -> dict[str, Any]:
        return self.ask("DescribeRollout", RolloutId=rollout_id)

    def members(self, rollout_id: str) -> dict[str, dict[str, Any]]:
        found = self.ask("DescribeRolloutMembers", RolloutId=rollout_id, PageSize="500")["Members"]
        return {member["ClientId"]: member for member in found}

    def decide(self) -> None:
        """Let the worker of rollouts run until it is through."""
        services = self.env.services
        if self.worker is None:
            self.worker = rollouts.Worker(
                services.database,
                services.settings,
                services.draw,
                operations.RolloutJudge,
                operations.witness(services),
            )
        while self.worker.run_once(self.now):
            pass

    def step(self, seconds: float = 20) -> None:
        """Let time pass, hosts be heard, and everything that is due happen once."""
        self.at += seconds
        self._hear()
        self.decide()
        self.helpers.run_worker(self.at)
        self._answer()
        self.helpers.run_worker(self.at)
        self.decide()

    def pass_time(self, seconds: float) -> None:
        """Let time pass in which nothing happens but that rollouts are decided as often as they are."""
        self.at += seconds
        with self.helpers.transaction() as tx:
            tx.run(sa.update(_tables.rollouts).values(decided_at=self.now))

    def run(self, rollout_id: str, steps: int = 40) -> dict[str, Any]:
        """Step until the rollout is over or stands still."""
        for _ in range(steps):
            self.step()
            found = self.show(rollout_id)
            if found["State"] not in ("running", "rolling_back"):
                return found
        return self.show(rollout_id)

    def back_up(self, client_id: str, result: str = "succeeded", *, ago: float = 1, version: str = "") -> None:
        """Have a client's host report a backup, of the version that it has unless another one is named."""
        client = self.helpers.client(client_id)
        begun = self.now - timedelta(seconds=ago)
        code = {"succeeded": 0, "failed": 1}.get(result)
        run = backups.ReportedRun(
            f"{next(self.runs):032x}",
            PACKAGE,
            version or client.version,
            begun,
            begun,
            result,
            code,
            "root",
            "cron",
            True,
        )
        with self.helpers.transaction() as tx:
            assert backups.note_runs(tx, client.instance_id, [run], now=self.now) == 1

    def _hear(self) -> None:
        with self.helpers.database.reading() as tx:
            known = fleet.clients_of_package(tx, self.helpers.account, REGION, PACKAGE)
        with self.helpers.transaction() as tx:
            beats = [
                fleet.Heartbeat(instance.id, self.now, reachable_at=self.now)
                for _, instance, _ in known
                if instance.id not in self.silent
            ]
            fleet.note_heartbeats(tx, beats)

    def _answer(self) -> None:
        with self.helpers.database.reading() as tx:
            waiting = commands.instances_with_work(tx, limit=1000)
        for instance_id in waiting:
            if instance_id not in self.silent:
                self._answer_for(instance_id)

    def _answer_for(self, instance_id: str) -> None:
        for command in self.helpers.claim(instance_id, self.at).run:
            item = self._item_of(command.task_id)
            self.report(instance_id, command.task_id, self.answers.get(instance_id, succeeds)(item))

    def report(self, instance_id: str, command_id: str, report: Report | None) -> None:
        """Have a host report of an order that it has fetched; None: only that it began."""
        with self.helpers.transaction() as tx:
            assert commands.record_output(tx, instance_id, command_id, b"", started_ms=1, now=self.now, lease=LEASE)
            if report is not None:
                final = FinalReport("finish", output=report.as_line().encode())
                assert commands.record_final_report(tx, instance_id, command_id, final, now=self.now)

    def _item_of(self, command_id: str) -> upgrades.Item:
        with self.helpers.database.reading() as tx:
            row = tx.first(sa.select(invocations.c.reference).where(invocations.c.id == command_id))
            assert row is not None
            return upgrades.find_items(tx, [row.reference])[row.reference]
