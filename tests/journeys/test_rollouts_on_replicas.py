"""A rollout in rings by two replicas while a replica, NATS or PostgreSQL is away: all real but the hosts' work."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import pytest

from backfleet_sim import Server
from backfleet_sim.seeding import NEW, offer_release
from journeys.counting_hosts import Host, World, until, world
from journeys.installation import LONG
from journeys.replicas import Pair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

HOSTS, CANARIES, EARLY = 8, 2, 3
BEGUN_BEFORE_THE_REST = CANARIES + EARLY
EVERYTHING_BUT_WORKERS = "openapi,agents,downloads"

RINGS = f"""
[[ring]]
name = "canary"
count = {CANARIES}

[[ring]]
name = "early"
count = {EARLY}

[[ring]]
name = "rest"
"""
ONE_RING = '[[ring]]\nname = "all"'


@asynccontextmanager
async def amid_the_second_ring(pair: Pair, name: str) -> AsyncIterator[World]:
    """Give a world whose canaries are through, and of whose second ring one has ended and the others are at work."""
    async with world(pair, name) as made:
        await made.grow(HOSTS)
        made.give_turns(CANARIES + 1)
        await made.roll_out(RINGS)
        await made.wait_for(begun=BEGUN_BEFORE_THE_REST, ended=CANARIES + 1)
        yield made


async def completes(made: World) -> None:
    """Give every order its turn: each member succeeds, and no host was ever given a second order."""
    made.give_turns(HOSTS)
    found = await made.over()
    assert found["State"] == "completed", (found, made.pair.logs())
    members = await made.members()
    assert {instance: each["State"] for instance, each in members.items()} == {
        host.instance_id: "succeeded" for host in made.hosts
    }
    assert {each["Attempts"] for each in members.values()} == {1}
    assert [len(host.begun) for host in made.hosts] == [1] * HOSTS
    assert set(made.simulation.begun.values()) == {1}
    assert made.simulation.lost == 0
    assert made.versions() == {NEW: HOSTS}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two replicas, of which every test leaves both running."""
    with ExitStack() as ends:
        found = Pair(tmp_path_factory.mktemp("pair"))
        ends.callback(found.end)
        found.start()
        found.start()
        offer_release(found.services)
        yield found


@contextmanager
def decided_by_the_first(pair: Pair) -> Iterator[None]:
    """Let the second replica hand out orders and take in reports, and decide nothing."""
    port = pair.ports[1]
    pair.kill(1)
    pair.start(port, only=EVERYTHING_BUT_WORKERS)
    try:
        yield
    finally:
        pair.kill(1)
        pair.start(port)


def test_a_replica_that_is_killed_amid_a_ring_leaves_its_members_to_the_other(pair: Pair) -> None:
    """It is away while the ring ends and the next one begins."""

    async def journey() -> None:
        async with amid_the_second_ring(pair, "killed") as made:
            port = pair.ports[0]
            await asyncio.to_thread(pair.kill, 0)
            made.give_turns(EARLY - 1)
            await made.wait_for(begun=HOSTS)
            await asyncio.to_thread(pair.start, port)
            await completes(made)

    asyncio.run(journey())


def test_a_replica_that_dies_with_its_decision_just_stored_leaves_the_orders_to_the_other(pair: Pair) -> None:
    """It decides alone, and is killed between what it stored and what it does next. It stays away to the end."""

    async def journey() -> None:
        async with world(pair, "decided") as made:
            await made.grow(HOSTS)
            made.give_turns(CANARIES)
            await made.roll_out(RINGS)
            assert await asyncio.to_thread(pair.servers[0].wait, LONG) == -signal.SIGKILL
            await asyncio.to_thread(pair.kill, 1)
            await asyncio.to_thread(pair.start, pair.ports[1])
            await made.wait_for(begun=BEGUN_BEFORE_THE_REST)
            await completes(made)

    first = pair.ports[0]
    pair.kill(0)
    with decided_by_the_first(pair):
        pair.start(first, die_at="rollout decided")
        asyncio.run(journey())
        pair.start(first)


def test_a_ring_ends_and_the_next_begins_without_nats(pair: Pair) -> None:
    """Notifications are late, and none is missed. NATS comes back before the end."""

    async def journey() -> None:
        async with amid_the_second_ring(pair, "nats") as made:
            await asyncio.to_thread(pair.nats.stop)
            try:
                made.give_turns(EARLY - 1)
                await made.wait_for(begun=HOSTS)
            finally:
                await asyncio.to_thread(pair.nats.start)
            await completes(made)

    asyncio.run(journey())


def test_reports_that_hosts_send_while_postgresql_is_away_are_decided_on_afterwards(pair: Pair) -> None:
    """The replicas take them in, and store them once it is back."""

    async def journey() -> None:
        async with amid_the_second_ring(pair, "away") as made:
            await asyncio.to_thread(pair.stop_postgresql)
            try:
                made.give_turns(EARLY - 1)
                await made.wait_for(begun=BEGUN_BEFORE_THE_REST, ended=BEGUN_BEFORE_THE_REST)
            finally:
                await asyncio.to_thread(pair.start_postgresql)
            await completes(made)

    asyncio.run(journey())


def test_reports_that_nobody_answered_while_postgresql_hung_are_counted_once(pair: Pair) -> None:
    """It keeps its connections and answers nothing, so hosts report again what the replicas have already."""

    async def journey() -> None:
        async with amid_the_second_ring(pair, "hangs") as made:
            reporting = [host for host in made.hosts if host.begun and not host.ended]
            assert len(reporting) == EARLY - 1
            await asyncio.to_thread(pair.freeze_postgresql)
            try:
                made.give_turns(EARLY - 1)
                await until(partial(unanswered, reporting))
            finally:
                await asyncio.to_thread(pair.thaw_postgresql)
            await completes(made)

    async def unanswered(hosts: list[Host]) -> bool:
        return all(host.has_waited_in_vain for host in hosts)

    asyncio.run(journey())


def test_no_order_leaves_by_one_replica_after_the_other_wrote_the_halt(pair: Pair) -> None:
    """All decisions are the first one's; some hosts fetch from the second one while it halts, others afterwards."""

    async def journey() -> None:
        async with world(pair, "halted") as made:
            made.simulation.servers = made.simulation.servers[:1]
            bad = (await made.grow(1))[0]
            bad.fails = True
            made.simulation.servers = [Server("127.0.0.1", pair.ports[1])]
            quick, racing, late = await made.grow(2), await made.grow(3), await made.grow(2)
            for host in (*racing, *late):
                host.may_fetch.clear()
            await made.roll_out(ONE_RING)
            await made.wait_for(begun=3)
            made.give_turns(HOSTS)
            for host in racing:
                host.may_fetch.set()
            halted = await made.over()
            assert halted["State"] == "halted", (halted, pair.logs())
            for host in (*racing, *late):
                host.may_fetch.set()
                await host.fetch()
            await made.wait_for(begun=3, ended=made.begun())
            assert [len(host.begun) for host in (bad, *quick, *late)] == [1, 1, 1, 0, 0]
            await settled(made)

    with decided_by_the_first(pair):
        asyncio.run(journey())


async def settled(made: World) -> None:
    """Wait until no member is under way: each host that began ended its one order, and the others have none."""

    async def poll() -> dict[str, Any] | None:
        members = await made.members()
        return None if any(each["State"] == "upgrading" for each in members.values()) else members

    members = await until(poll)
    expected = {
        host.instance_id: ("rolled_back" if host.fails else "succeeded") if host.begun else "waiting"
        for host in made.hosts
    }
    assert {instance: each["State"] for instance, each in members.items()} == expected
    assert set(made.simulation.begun.values()) == {1}
    assert max(len(host.begun) for host in made.hosts) == 1
    assert (await made.show())["State"] == "halted"
