"""Outcomes that another agent lost: the order is sent again, and the host answers from its journal."""

import base64
import re
from datetime import timedelta

from backfleet import commands, upgrades
from backfleet.carriers import Bootstrap, through_gateway
from backfleet.carriers.dispatching import MOST_REPEATS
from backfleet.commands import FinalReport
from backfleet.upgrades import ItemState
from backfleet_host.contract import Report, read_order
from operations.environment import Environment

GATEWAY = through_gateway(Bootstrap("server:8443", "PEM", "0" * 64))
LEASE = timedelta(seconds=90)


class Scenario:
    """One upgrade of one host, and the server's loops by hand."""

    def __init__(self, env: Environment, agent: str) -> None:
        self.env, self.now = env, env.now
        env.release("2.0")
        self.instance = env.host(agent=agent)
        env.client(self.instance)
        _, answer = env.ask("2017-09-08", "UpgradeBackupClients", InstanceIds=[self.instance])
        self.task_id = answer["TaskId"]
        self.run_worker()

    def run_worker(self) -> None:
        while upgrades.run_once(self.env.services.database, now=self.now, draw=self.env.services.draw, carrier=GATEWAY):
            pass

    def fetch(self) -> list[commands.HandedInvocation]:
        with self.env.services.database.transaction() as tx:
            return commands.claim(tx, self.instance, now=self.now, lease=LEASE).run

    def lose(self, task_id: str) -> None:
        """It began, and then its agent sent nothing for longer than the lease."""
        with self.env.services.database.transaction() as tx:
            commands.record_output(tx, self.instance, task_id, b"", started_ms=1, now=self.now, lease=LEASE)
        self.now += LEASE + timedelta(seconds=1)
        commands.run_once(self.env.services.database, now=self.now)
        self.run_worker()

    def report(self, task_id: str, item_id: str) -> None:
        succeeded = Report(item_id, "upgrade", "courier", "succeeded", to_version="2.0", current_version="2.0")
        final = FinalReport("finish", exit_code=0, output=succeeded.as_line().encode())
        with self.env.services.database.transaction() as tx:
            commands.record_final_report(tx, self.instance, task_id, final, now=self.now)
        self.run_worker()

    def item(self) -> upgrades.Item:
        with self.env.services.database.reading() as tx:
            task = upgrades.read(tx, self.env.root.account_id, self.task_id, now=self.now)
        assert task is not None
        return task.items[0]


def test_a_lost_order_is_sent_again_to_a_host_with_another_agent(env: Environment) -> None:
    """Under a new task id, as the agent would not run the old one again. The report of either is the outcome."""
    scenario = Scenario(env, "2.2.3.578")
    (first,) = scenario.fetch()
    assert "bring" in first.content
    scenario.lose(first.task_id)
    assert scenario.item().state is ItemState.LOST
    (second,) = scenario.fetch()
    name = f"'upgrades/{scenario.item().id}"
    assert (second.task_id != first.task_id, second.content) == (True, first.content.replace(f"{name}'", f"{name}+1'"))
    scenario.report(second.task_id, scenario.item().id)
    assert scenario.item().state is ItemState.SUCCEEDED
    scenario.report(first.task_id, scenario.item().id)  # the report of the first sending, late
    assert scenario.item().state is ItemState.SUCCEEDED
    assert scenario.fetch() == []


def test_a_lost_order_is_sent_again_a_few_times_only(env: Environment) -> None:
    """Then the deadline decides."""
    scenario = Scenario(env, "2.2.3.578")
    sent = 0
    while found := scenario.fetch():
        sent += 1
        scenario.lose(found[0].task_id)
    assert sent <= MOST_REPEATS + 1
    assert sent > 1


def test_a_lost_order_is_not_sent_again_to_our_own_agent(env: Environment) -> None:
    """It reports until the server has its report."""
    scenario = Scenario(env, "backfleet-0.1.0")
    (first,) = scenario.fetch()
    assert "bring" not in first.content
    scenario.lose(first.task_id)
    assert scenario.fetch() == []


def test_the_host_of_a_cancelled_order_is_asked_what_came_of_it(env: Environment) -> None:
    """Its agent says only that it stopped its own shell. The question cannot begin the order."""
    scenario = Scenario(env, "2.2.3.578")
    (first,) = scenario.fetch()
    with env.services.database.transaction() as tx:
        commands.record_output(tx, scenario.instance, first.task_id, b"", started_ms=1, now=scenario.now, lease=LEASE)
        assert upgrades.cancel(tx, env.root.account_id, scenario.task_id, now=scenario.now)
    with env.services.database.transaction() as tx:
        commands.record_final_report(tx, scenario.instance, first.task_id, FinalReport("stopped"), now=scenario.now)
    scenario.run_worker()
    (question,) = scenario.fetch()
    item = scenario.item()
    encoded = re.search(r"CA, ORDER, BEGAN = .*, '([A-Za-z0-9+/=]{40,})', ", question.content)
    assert encoded is not None
    asked = read_order(base64.b64decode(encoded[1]).decode())
    assert asked.kind == "recover"
    assert f"\nset -- '{item.id}' " in question.content, "the head sets the order's id"
    scenario.report(question.task_id, item.id)
    item = scenario.item()
    assert (item.state, item.current_version) == (ItemState.CANCELLED, "2.0")
    assert item.message.endswith("; its host reported later: the order succeeded, 2.0 is installed")
    assert scenario.fetch() == []
