"""The gateway as a carrier: how orders reach hosts, what comes back, and what is sent again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from backfleet import carriers, commands, fleet
from backfleet.carriers import Bootstrap, Carrier, Delivery, News, State, through_gateway
from backfleet.carriers.dispatching import MOST_REPEATS, read_reference, reference_of
from backfleet.commands import FinalReport, HandedInvocation
from backfleet.fleet import AgentKind, Heartbeat
from backfleet_host.contract import Order, is_order, read_order
from operations.environment import Environment

TOPIC = "tests"
BOOTSTRAP = Bootstrap("server:8443", "PEM", "0" * 64)
LEASE = timedelta(seconds=90)
OURS, OFFICIAL = "backfleet-0.1.0", "2.2.3.578"


@dataclass
class Sender:
    """A module that sends orders by one carrier."""

    env: Environment
    carrier: Carrier

    def delivery(self, instance_id: str, number: int = 1) -> Delivery:
        order = Order(f"u-{number}", "status", "courier")
        return Delivery(self.env.root.account_id, instance_id, order, 60, f"u-{number}")

    def send(self, *deliveries: Delivery) -> None:
        with self.env.services.database.transaction() as tx:
            self.carrier.send(tx, deliveries, topic=TOPIC, now=self.env.now, draw=self.env.services.draw)

    def repeat(self, *lost: Delivery) -> None:
        with self.env.services.database.transaction() as tx:
            self.carrier.repeat(tx, lost, topic=TOPIC, now=self.env.now, draw=self.env.services.draw)

    def cancel(self, *references: str) -> None:
        with self.env.services.database.transaction() as tx:
            carriers.cancel(tx, TOPIC, references, now=self.env.now)

    def news(self) -> list[News]:
        with self.env.services.database.transaction() as tx:
            found = self.carrier.news(tx, TOPIC, limit=100)
            self.carrier.mark_collected(tx, found)
        return found

    def fetch(self, instance_id: str) -> Sequence[HandedInvocation]:
        """What the host's agent is given to run."""
        with self.env.services.database.transaction() as tx:
            return commands.claim(tx, instance_id, now=self.env.now, lease=LEASE).run

    def end(self, instance_id: str, task_id: str) -> None:
        with self.env.services.database.transaction() as tx:
            assert commands.record_final_report(tx, instance_id, task_id, FinalReport("finish"), now=self.env.now)


@pytest.fixture
def sender(env: Environment) -> Sender:
    return Sender(env, through_gateway(BOOTSTRAP))


def test_our_own_agent_gets_the_order_as_it_is(sender: Sender) -> None:
    """And beside it another one gets a shell command that carries the order."""
    ours, other = sender.env.host(agent=OURS), sender.env.host(agent=OFFICIAL)
    sender.send(sender.delivery(ours, 1), sender.delivery(other, 2))
    (plain,), (command,) = sender.fetch(ours), sender.fetch(other)
    assert read_order(plain.content).order_id == "u-1"
    assert command.content.startswith("#!/bin/sh\n# Backfleet order u-2.")
    assert not is_order(command.content)
    assert {plain.timeout_seconds, command.timeout_seconds} == {60}


def test_without_a_bootstrap_every_agent_gets_the_order_as_it_is(env: Environment) -> None:
    """An agent that is not ours then refuses it."""
    sender, other = Sender(env, through_gateway()), env.host(agent=OFFICIAL)
    sender.send(sender.delivery(other))
    (plain,) = sender.fetch(other)
    assert is_order(plain.content)


def test_an_order_that_is_sent_twice_runs_once(sender: Sender) -> None:
    """Under one topic its reference is its name."""
    host = sender.env.host()
    sender.send(sender.delivery(host))
    sender.send(sender.delivery(host))
    assert len(sender.fetch(host)) == 1
    assert sender.fetch(host) == []


def test_news_is_read_once(sender: Sender) -> None:
    """Under the sender's own reference."""
    host = sender.env.host()
    sender.send(sender.delivery(host))
    assert sender.news() == []
    (handed,) = sender.fetch(host)
    sender.end(host, handed.task_id)
    (news,) = sender.news()
    assert (news.reference, news.repeats, news.outcome.state) == ("u-1", 0, State.FINISHED)
    assert sender.news() == []


def test_a_lost_order_is_sent_again_to_another_agent_only(sender: Sender) -> None:
    """Our own agent reports until it is heard. What is sent again is the same order, with the number of the repeat."""
    ours, other = sender.env.host(agent=OURS), sender.env.host(agent=OFFICIAL)
    lost = [sender.delivery(ours, 1), sender.delivery(other, 2)]
    sender.send(*lost)
    (first,) = sender.fetch(other)
    sender.fetch(ours)
    sender.repeat(*lost)
    assert sender.fetch(ours) == []
    (again,) = sender.fetch(other)
    asks_as = first.content.replace(f"'{TOPIC}/u-2'", f"'{TOPIC}/u-2+1'")
    assert (again.content, again.task_id != first.task_id) == (asks_as, True)
    sender.end(other, again.task_id)
    (news,) = sender.news()
    assert (news.reference, news.repeats) == ("u-2", 1)


@pytest.mark.parametrize("agent", [OURS, OFFICIAL])
def test_a_shell_that_ends_without_the_orders_report_has_lost_it(sender: Sender, agent: str) -> None:
    """Where it can be sent again, and not for ever: the upgrader was killed, and only its host knows what it did."""
    sent = sender.delivery(sender.env.host(agent=agent))
    sender.send(sent)
    for repeats in range(MOST_REPEATS + 1):
        (handed,) = sender.fetch(sent.instance_id)
        sender.end(sent.instance_id, handed.task_id)
        (news,) = sender.news()
        is_lost = agent == OFFICIAL and repeats < MOST_REPEATS
        assert news.outcome.state is (State.LOST if is_lost else State.FINISHED)
        if not is_lost:
            return
        sender.repeat(replace(sent, repeats=repeats))


def test_a_host_can_ask_whether_its_order_was_withdrawn(sender: Sender) -> None:
    """By the name that the command has: fetched or not, and each repeat by its own."""
    other = sender.env.host(agent=OFFICIAL)
    waiting, fetched = sender.delivery(other, 1), sender.delivery(other, 2)
    sender.send(fetched)
    sender.fetch(other)
    sender.send(waiting)

    def withdrawn(reference: str) -> bool:
        with sender.env.services.database.reading() as tx:
            return commands.is_withdrawn(tx, TOPIC, reference)

    assert not any(map(withdrawn, ("u-1", "u-2", "u-3")))
    sender.cancel("u-1", "u-2", "u-3")
    assert list(map(withdrawn, ("u-1", "u-2", "u-3"))) == [True, True, False]


def test_a_lost_order_is_sent_again_a_few_times_only(sender: Sender) -> None:
    """Each loss leads to one more, up to the limit."""
    lost = sender.delivery(sender.env.host(agent=OFFICIAL))
    sender.send(lost)
    for repeats in range(MOST_REPEATS + 2):
        sender.repeat(replace(lost, repeats=repeats))
    assert len(sender.fetch(lost.instance_id)) == 1 + MOST_REPEATS


def test_a_cancel_ends_repeats_too(sender: Sender) -> None:
    """What no agent has fetched is cancelled."""
    lost = sender.delivery(sender.env.host(agent=OFFICIAL))
    sender.send(lost)
    sender.repeat(lost)
    sender.cancel("u-1")
    assert sender.fetch(lost.instance_id) == []
    assert {(news.repeats, news.outcome.state) for news in sender.news()} == {
        (0, State.CANCELLED),
        (1, State.CANCELLED),
    }


def test_old_orders_are_forgotten(sender: Sender) -> None:
    """Those of this sender only."""
    host = sender.env.host()
    sender.send(sender.delivery(host))
    with sender.env.services.database.transaction() as tx:
        carriers.forget(tx, "others", before=sender.env.now + LEASE)
        assert commands.oldest_work_for(tx, host) is not None
        carriers.forget(tx, TOPIC, before=sender.env.now + LEASE)
        assert commands.oldest_work_for(tx, host) is None


@pytest.mark.parametrize(
    ("reference", "repeats", "name"),
    [
        pytest.param("u-1", 0, "u-1", id="the first sending has the sender's own reference"),
        pytest.param("u-1", 1, "u-1+1", id="a repeat has its number"),
        pytest.param("c-1+1767323045000", 0, "c-1+1767323045000", id="a checkup's reference ends with a moment"),
        pytest.param("c-1+1767323045000", 5, "c-1+1767323045000+5", id="and can be repeated"),
    ],
)
def test_references_are_read_back(reference: str, repeats: int, name: str) -> None:
    """Names that were stored by earlier versions are the same."""
    assert reference_of(reference, repeats) == name
    assert read_reference(name) == (reference, repeats)


@pytest.mark.parametrize(
    ("agent", "platform", "takes"),
    [
        pytest.param(OURS, "linux-amd64", True, id="our own agent takes orders"),
        pytest.param(OURS, "", True, id="our own agent takes orders on a platform that it does not name"),
        pytest.param(OFFICIAL, "linux-arm64", True, id="another agent on Linux runs the bootstrap"),
        pytest.param(OFFICIAL, "windows-amd64", False, id="there is no host program for other systems"),
        pytest.param("", "", False, id="nothing is known of the host"),
    ],
)
def test_which_instances_can_be_sent_orders(env: Environment, agent: str, platform: str, takes: bool) -> None:
    """By the kind of the agent and the platform."""
    with env.services.database.reading() as tx:
        instance = fleet.instance(tx, env.root.account_id, env.host())
    assert instance is not None
    kind = AgentKind.BACKFLEET if agent == OURS else AgentKind.OFFICIAL
    assert carriers.takes_orders(replace(instance, agent_kind=kind, platform=platform)) is takes


def test_an_agent_that_was_replaced_is_known_by_its_next_heartbeat(sender: Sender, now: datetime) -> None:
    """Somebody replaced the official agent by ours: the next order goes to ours as it is."""
    host = sender.env.host(agent=OFFICIAL)
    with sender.env.services.database.transaction() as tx:
        fleet.note_heartbeats(tx, [Heartbeat(host, now)])
        assert fleet.agent_kinds(tx, [host, "mi-unknown"]) == {host: AgentKind.OFFICIAL}
        fleet.note_heartbeats(tx, [Heartbeat(host, now, agent_version=OURS)])
        assert fleet.agent_kinds(tx, [host]) == {host: AgentKind.BACKFLEET}
    sender.send(sender.delivery(host))
    (handed,) = sender.fetch(host)
    assert is_order(handed.content)
