"""Outcomes that another agent lost: the host is asked again, and its journal tells. Nothing is guessed."""

from datetime import timedelta

from backfleet import commands, upgrades
from backfleet.carriers.bootstrap import MOST_ASKED, read_reference, reference_of
from backfleet.commands import FinalReport
from backfleet.upgrades import Bootstrap, ItemState
from backfleet_host.contract import Report
from operations.environment import Environment

BRINGS = Bootstrap("server:8443", "PEM", "0" * 64)
LEASE = timedelta(seconds=90)


class Walk:
    """One upgrade of one host, and the server's loops by hand."""

    def __init__(self, env: Environment, agent: str) -> None:
        self.env, self.now = env, env.now
        env.release("2.0")
        self.instance = env.host(agent=agent)
        env.client(self.instance)
        _, answer = env.ask("2017-09-08", "UpgradeBackupClients", InstanceIds=[self.instance])
        self.task_id = answer["TaskId"]
        self.look()

    def look(self) -> None:
        while upgrades.run_once(self.env.services.database, now=self.now, draw=self.env.services.draw, bringing=BRINGS):
            pass

    def fetched(self) -> list[commands.HandedInvocation]:
        with self.env.services.database.transaction() as tx:
            return commands.claim(tx, self.instance, now=self.now, lease=LEASE).run

    def lost(self, task_id: str) -> None:
        """It began, and then its agent was silent for longer than the lease."""
        with self.env.services.database.transaction() as tx:
            commands.record_output(tx, self.instance, task_id, b"", started_ms=1, now=self.now, lease=LEASE)
        self.now += LEASE + timedelta(seconds=1)
        commands.run_once(self.env.services.database, now=self.now)
        self.look()

    def told(self, task_id: str, item_id: str) -> None:
        report = Report(item_id, "upgrade", "courier", "succeeded", to_version="2.0", current_version="2.0")
        ending = FinalReport("finish", exit_code=0, output=report.as_line().encode())
        with self.env.services.database.transaction() as tx:
            commands.record_final_report(tx, self.instance, task_id, ending, now=self.now)
        self.look()

    def item(self) -> upgrades.Item:
        with self.env.services.database.reading() as tx:
            task = upgrades.read(tx, self.env.root.account_id, self.task_id, now=self.now)
        assert task is not None
        return task.items[0]


def test_another_agents_host_is_asked_again_with_the_same_order(env: Environment) -> None:
    """Under a new task id, for the agent would not run the old one; what it tells is the outcome."""
    walk = Walk(env, "2.2.3.578")
    (first,) = walk.fetched()
    assert "bring" in first.content
    walk.lost(first.task_id)
    assert walk.item().state is ItemState.LOST
    (second,) = walk.fetched()
    assert (second.task_id != first.task_id, second.content) == (True, first.content)
    walk.told(second.task_id, walk.item().id)
    assert walk.item().state is ItemState.SUCCEEDED
    walk.told(first.task_id, walk.item().id)  # the first one's report, after all
    assert walk.item().state is ItemState.SUCCEEDED
    assert walk.fetched() == []


def test_it_is_not_asked_for_ever(env: Environment) -> None:
    """A few times, then the deadline decides."""
    walk = Walk(env, "2.2.3.578")
    asked = 0
    while found := walk.fetched():
        asked += 1
        walk.lost(found[0].task_id)
    assert asked <= MOST_ASKED + 1
    assert asked > 1


def test_our_own_agent_is_not_asked(env: Environment) -> None:
    """It reports until it is heard."""
    walk = Walk(env, "backfleet-0.1.0")
    (first,) = walk.fetched()
    assert "bring" not in first.content
    walk.lost(first.task_id)
    assert walk.fetched() == []


def test_names_of_commands() -> None:
    """There and back."""
    assert [read_reference(reference_of("u-1", again)) for again in (0, 1, 5)] == [("u-1", 0), ("u-1", 1), ("u-1", 5)]
