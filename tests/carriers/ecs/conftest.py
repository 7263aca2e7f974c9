"""An account of a cloud that a test scripts, on each engine in turn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from backfleet import commands, fleet
from backfleet.carriers import ecs
from backfleet.carriers.ecs import _store
from backfleet.carriers.ecs.model import (
    AgentStatus,
    Batch,
    CloudInstance,
    EcsAccount,
    EcsProblem,
    Page,
    Result,
    Selection,
    Source,
    Trouble,
)
from backfleet.carriers.ecs.round import Means
from backfleet.carriers.ecs.rounds import run_round
from backfleet.commands import NewInvocation, Outcome
from operations.environment import REGION, Environment

TOPIC = "tests"
LEASE = timedelta(seconds=90)
OUT_OF_REACH = EcsProblem("EcsUnreachable", "nobody answers", Trouble.PASSES)


@dataclass
class ScriptedCloud:
    """A cloud that does as the cloud's documentation says, and fails where a test says so."""

    instances_there: dict[str, CloudInstance] = field(default_factory=dict)
    agents_there: dict[str, AgentStatus] = field(default_factory=dict)
    invocations: dict[str, Batch] = field(default_factory=dict)  # by ClientToken
    ends: dict[str, Result] = field(default_factory=dict)  # by instance
    stopped: list[str] = field(default_factory=list)
    fail: dict[str, list[EcsProblem]] = field(default_factory=dict)  # by operation: before anything happens
    lose_answers: int = 0  # of RunCommand: it happens, and nobody hears of it
    before_call: Callable[[], None] = lambda: None
    page_size: int = 50
    sent: list[str] = field(default_factory=list)  # the token of each RunCommand

    def open(
        self, account: EcsAccount, region: str, now: datetime, before_call: Callable[[], None] = lambda: None
    ) -> "ScriptedCloud":
        self._act("open")
        self.before_call = before_call
        return self

    def _act(self, operation: str) -> None:
        if self.fail.get(operation):
            raise self.fail[operation].pop(0)

    def page(self, selection: Selection, token: str = "") -> Page:
        self._act("instances")
        wanted = selection.instance_ids
        found = [one for one in self.instances_there.values() if not wanted or one.remote_id in wanted]
        at = int(token or 0)
        following = str(at + self.page_size) if len(found) > at + self.page_size else ""
        return Page(tuple(found[at : at + self.page_size]), following)

    def listing(self, selection: Selection) -> Iterator[list[CloudInstance]]:
        yield list(self.page(selection).instances)

    def check_permission(self) -> None:
        self._act("permission")

    def agents(self, remote_ids: Sequence[str]) -> dict[str, AgentStatus]:
        self._act("agents")
        return {each: self.agents_there[each] for each in remote_ids if each in self.agents_there}

    def run(self, batch: Batch) -> str:
        self.sent.append(batch.token)
        self._act("run")
        for run in batch.runs:
            if run.remote_id not in self.instances_there:
                raise EcsProblem("EcsInstanceNotFound", "not found", Trouble.INSTANCE, "InvalidInstance.NotFound")
        self.invocations.setdefault(batch.token, batch)
        if self.lose_answers:
            self.lose_answers -= 1
            raise OUT_OF_REACH
        return f"t-{batch.token}"

    def results(self, invoke_id: str, open_ids: Sequence[str] = ()) -> list[Result]:
        self._act("results")
        batch = self.invocations[invoke_id.removeprefix("t-")]
        waits = Result("", "Running", None, "", "", b"", 0)
        return [replace(self.ends.get(run.remote_id, waits), remote_id=run.remote_id) for run in batch.runs]

    def stop(self, invoke_id: str, remote_ids: Sequence[str]) -> None:
        self._act("stop")
        self.stopped += remote_ids

    def boot(self, remote_id: str, *, status: str = "Running", agent: bool = True) -> None:
        """Have an instance with this id."""
        self.instances_there[remote_id] = CloudInstance(
            remote_id, f"name of {remote_id}", status, "linux", "Debian", "host", "10.0.0.1"
        )
        self.agents_there[remote_id] = AgentStatus(agent, "2.2.3", None)

    def runs_of(self, remote_id: str) -> int:
        """Return how often something ran on an instance, questions what it is left out."""
        return sum(
            any(run.remote_id == remote_id for run in batch.runs) and "uname" not in batch.command.content
            for batch in self.invocations.values()
        )


@dataclass
class Scene:
    """A cloud account, its cloud, and a sender of commands."""

    env: Environment
    cloud: ScriptedCloud
    now: datetime
    account: EcsAccount
    numbers: int = 0

    @property
    def database(self) -> Any:
        return self.env.services.database

    def means(self) -> Means:
        draw = self.env.services.draw
        every = timedelta(seconds=60)
        return Means(self.database, lambda: self.now, self.cloud, draw, REGION, every, LEASE, lambda: 1.0)

    def round(self, *, after: float = 11.0, pause: float = 0.0) -> float:
        """Let time pass, and do one round."""
        self.now += timedelta(seconds=after)
        return run_round(self.means(), self.account, pause)

    def import_all(self) -> None:
        """Import what the cloud has, and have it asked about at once."""
        with self.database.transaction() as tx:
            everything = Selection("cn-beijing")
            ecs.add_import(tx, self.account.account_id, "cloud", everything, now=self.now, draw=self.env.services.draw)
        self.round()

    def send(self, *instance_ids: str, content: str = "echo") -> None:
        asked = [
            NewInvocation(self.account.account_id, each, content, 60, f"c-{self.numbers}-{each}")
            for each in instance_ids
        ]
        self.numbers += 1
        with self.database.transaction() as tx:
            commands.send(tx, asked, topic=TOPIC, now=self.now, draw=self.env.services.draw)

    def news(self) -> dict[str, Outcome]:
        """Return the newest of each instance's commands, by instance."""
        with self.database.transaction() as tx:
            found = commands.outcomes(tx, TOPIC, limit=100)
            commands.mark_collected(tx, found)
        return {one.instance_id: one for one in found}

    def stop(self, instance_id: str) -> None:
        with self.database.transaction() as tx:
            commands.stop(tx, TOPIC, [f"c-{self.numbers - 1}-{instance_id}"], now=self.now)

    def host(self, instance_id: str) -> ecs.EcsHost | None:
        with self.database.reading() as tx:
            return ecs.find_host(tx, instance_id)

    def reachability(self, instance_id: str) -> str:
        """Return the validity code of an instance."""
        with self.database.reading() as tx:
            found = fleet.instance(tx, self.account.account_id, instance_id)
        within = timedelta(seconds=180)
        return fleet.reachability(found, now=self.now, reachable_within=within).value

    def account_problem(self) -> str:
        with self.database.reading() as tx:
            return ecs.find_account(tx, self.account.account_id, "cloud").problem_code

    def is_free(self) -> bool:
        """Whether another process may work on the account now."""
        with self.database.transaction() as tx:
            return bool(_store.take_accounts(tx, self.now + timedelta(days=1), self.now, 10))


@pytest.fixture
def scene(env: Environment) -> Scene:
    account = EcsAccount(env.root.account_id, "cloud", Source.KEY, env.now)
    with env.services.database.transaction() as tx:
        ecs.add_account(tx, account)
    return Scene(env, ScriptedCloud(), env.now, account)
