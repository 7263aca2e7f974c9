"""Publish/subscribe between processes, on a real NATS server that stops and starts."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import nats
import pytest

from backfleet.pubsub import InProcessPubSub, PubSub, open_pubsub
from backfleet.pubsub._nats import SUBJECT, NatsPubSub
from nats_server import NatsServer

AT_ONCE, SOON, NEVER = timedelta(0), timedelta(seconds=5), timedelta(seconds=0.3)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    found = NatsServer(tmp_path).start()
    yield found
    found.stop()


@pytest.fixture
def node() -> Iterator[Callable[[str], NatsPubSub]]:
    """Open publish/subscribe as another process would."""
    with ExitStack() as ends:

        def start(url: str) -> NatsPubSub:
            pubsub = open_pubsub(url)
            assert isinstance(pubsub, NatsPubSub)
            ends.callback(pubsub.close)
            return pubsub

        yield start


Node = Callable[[str], NatsPubSub]


def wait_until_connected(*nodes: NatsPubSub) -> None:
    until = time.monotonic() + 10
    while not all(pubsub.is_connected for pubsub in nodes):
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.1)  # the subscription is still travelling to the server


def test_a_notification_arrives_in_both_processes(server: NatsServer, node: Node) -> None:
    """Subscriptions of the topic are notified, and callbacks for its family are called."""
    here, there = node(server.url), node(server.url)
    wait_until_connected(here, there)
    subscriptions = [pubsub.subscription("upgrades") for pubsub in (here, there)]
    other, received = there.subscription("others"), list[str]()
    for subscription in [*subscriptions, other]:
        subscription.wait(AT_ONCE)
    unsubscribe = there.subscribe("instance/", received.append)
    here.publish("upgrades")
    here.publish("instance/mi-1")
    assert all(subscription.wait(SOON) for subscription in subscriptions)
    assert not other.wait(NEVER)
    assert received == ["instance/mi-1"]
    unsubscribe()


def test_many_notifications_leave_together_and_all_arrive(server: NatsServer, node: Node) -> None:
    """A large task publishes on ten thousand topics within a moment."""
    here, there = node(server.url), node(server.url)
    wait_until_connected(here, there)
    received = set[str]()
    there.subscribe("instance/", received.add)
    wanted = {f"instance/mi-{number}" for number in range(10_000)}
    for topic in wanted:
        here.publish(topic)
    until = time.monotonic() + 5
    while received != wanted and time.monotonic() < until:
        time.sleep(0.02)
    assert received == wanted


def test_without_nats_the_own_process_is_notified_and_nothing_fails(tmp_path: Path, node: Node) -> None:
    """NATS may start later: then every subscription is notified once, and notifications travel between processes."""
    server = NatsServer(tmp_path)
    here, there = node(server.url), node(server.url)
    near, far = here.subscription("upgrades"), there.subscription("upgrades")
    here.publish("upgrades")
    assert near.wait(SOON)
    assert not far.wait(NEVER)
    server.start()
    try:
        wait_until_connected(here, there)
        assert far.wait(SOON), "what was published before NATS was reachable may have been for this process"
        here.publish("upgrades")
        assert far.wait(SOON)
    finally:
        server.stop()


def test_nats_stops_and_starts_again(server: NatsServer, node: Node) -> None:
    """The own process is notified meanwhile, and every process again afterwards, without a restart."""
    here, there = node(server.url), node(server.url)
    wait_until_connected(here, there)
    near, far = here.subscription("upgrades"), there.subscription("upgrades")
    server.stop()
    near.wait(AT_ONCE)
    here.publish("upgrades")
    assert near.wait(SOON)
    far.wait(AT_ONCE)
    server.start()
    wait_until_connected(here, there)
    far.wait(AT_ONCE)
    here.publish("upgrades")
    assert far.wait(SOON)


def test_malformed_messages_are_ignored(server: NatsServer, node: Node) -> None:
    """Odd bytes, endless names and too many lines: only what can be a topic is published."""
    pubsub = node(server.url)
    wait_until_connected(pubsub)
    received = list[str]()
    pubsub.subscribe("", received.append)

    async def send() -> None:
        other = await nats.connect(server.url)
        for content in (b"", b"\xff\xfe", b"x\n\n\x00", b"x\n" + b"y" * 1000, b"x\n" + b"z\n" * 5000, b"x\nlast"):
            await other.publish(SUBJECT, content)
        await other.drain()

    asyncio.run(send())
    until = time.monotonic() + 5
    while "last" not in received and time.monotonic() < until:
        time.sleep(0.02)
    assert set(received) == {"z", "last"}
    assert len(received) <= 1001


def test_closing_is_quick_without_a_server(tmp_path: Path) -> None:
    """What is published afterwards still reaches the own process."""
    pubsub: PubSub = open_pubsub(NatsServer(tmp_path).url)
    near = pubsub.subscription("x")
    began = time.monotonic()
    pubsub.close()
    assert time.monotonic() - began < 4
    pubsub.publish("x")
    assert near.wait(AT_ONCE)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:4222", "nats://a:1,http://b:2"])
def test_a_malformed_address_is_refused_without_showing_it(url: str) -> None:
    """The address may hold a password."""
    with pytest.raises(ValueError, match="nats://HOST:PORT") as refusal:
        open_pubsub(url)
    assert url not in str(refusal.value)


def test_without_an_address_nats_is_not_used() -> None:
    """The default."""
    assert isinstance(open_pubsub(""), InProcessPubSub)
