"""PubSub between processes, on a real NATS server that comes and goes."""

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
    """Another process's pubsub."""
    with ExitStack() as ends:

        def start(url: str) -> NatsPubSub:
            pubsub = open_pubsub(url)
            assert isinstance(pubsub, NatsPubSub)
            ends.callback(pubsub.close)
            return pubsub

        yield start


Node = Callable[[str], NatsPubSub]


def connected(*all_bells: NatsPubSub) -> None:
    until = time.monotonic() + 10
    while not all(pubsub.is_connected for pubsub in all_bells):
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.1)  # the subscription is on its way


def test_a_ring_is_heard_in_the_other_process(server: NatsServer, node: Node) -> None:
    """By those who listen to the topic, and those who subscribe to its family; here too."""
    here, there = node(server.url), node(server.url)
    connected(here, there)
    ears = [pubsub.listen("upgrades") for pubsub in (here, there)]
    other, heard = there.listen("others"), list[str]()
    for ear in [*ears, other]:
        ear.wait(AT_ONCE)
    leave = there.subscribe("instance/", heard.append)
    here.publish("upgrades")
    here.publish("instance/mi-1")
    assert all(ear.wait(SOON) for ear in ears)
    assert not other.wait(NEVER)
    assert heard == ["instance/mi-1"]
    leave()


def test_many_rings_leave_together_and_all_arrive(server: NatsServer, node: Node) -> None:
    """A wave rings ten thousand pubsub within a moment."""
    here, there = node(server.url), node(server.url)
    connected(here, there)
    heard = set[str]()
    there.subscribe("instance/", heard.add)
    wanted = {f"instance/mi-{number}" for number in range(10_000)}
    for topic in wanted:
        here.publish(topic)
    until = time.monotonic() + 5
    while heard != wanted and time.monotonic() < until:
        time.sleep(0.02)
    assert heard == wanted


def test_without_nats_the_own_process_hears_and_nothing_fails(tmp_path: Path, node: Node) -> None:
    """It need not be there at the start; when it comes, everybody looks once, and rings cross."""
    server = NatsServer(tmp_path)
    here, there = node(server.url), node(server.url)
    ear, far = here.listen("upgrades"), there.listen("upgrades")
    here.publish("upgrades")
    assert ear.wait(SOON)
    assert not far.wait(NEVER)
    server.start()
    try:
        connected(here, there)
        assert far.wait(SOON), "what rang before NATS was there may have been for us"
        here.publish("upgrades")
        assert far.wait(SOON)
    finally:
        server.stop()


def test_nats_goes_and_comes_back(server: NatsServer, node: Node) -> None:
    """Rings are heard here meanwhile, and everywhere again afterwards, without anybody's doing."""
    here, there = node(server.url), node(server.url)
    connected(here, there)
    ear, far = here.listen("upgrades"), there.listen("upgrades")
    server.stop()
    ear.wait(AT_ONCE)
    here.publish("upgrades")
    assert ear.wait(SOON)
    far.wait(AT_ONCE)
    server.start()
    connected(here, there)
    far.wait(AT_ONCE)
    here.publish("upgrades")
    assert far.wait(SOON)


def test_what_strangers_send_costs_nothing(server: NatsServer, node: Node) -> None:
    """Odd bytes, endless names, too many: those that are no topics are passed over."""
    pubsub = node(server.url)
    connected(pubsub)
    heard = list[str]()
    pubsub.subscribe("", heard.append)

    async def send() -> None:
        stranger = await nats.connect(server.url)
        for content in (b"", b"\xff\xfe", b"x\n\n\x00", b"x\n" + b"y" * 1000, b"x\n" + b"z\n" * 5000, b"x\nlast"):
            await stranger.publish(SUBJECT, content)
        await stranger.drain()

    asyncio.run(send())
    until = time.monotonic() + 5
    while "last" not in heard and time.monotonic() < until:
        time.sleep(0.02)
    assert set(heard) == {"z", "last"}
    assert len(heard) <= 1001


def test_an_end_is_quick_and_quiet(tmp_path: Path) -> None:
    """Also without a server; a ring after it is heard at home."""
    pubsub: PubSub = open_pubsub(NatsServer(tmp_path).url)
    ear = pubsub.listen("x")
    began = time.monotonic()
    pubsub.close()
    assert time.monotonic() - began < 4
    pubsub.publish("x")
    assert ear.wait(AT_ONCE)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:4222", "nats://a:1,http://b:2"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Without showing it: it may hold a password."""
    with pytest.raises(ValueError, match="nats://HOST:PORT") as told:
        open_pubsub(url)
    assert url not in str(told.value)


def test_alone_it_needs_no_nats() -> None:
    """The default."""
    assert isinstance(open_pubsub(""), InProcessPubSub)
