"""Outages: rollouts over thousands of members while replicas, NATS, PostgreSQL and clocks fail, one after the other.

    .venv/bin/python bench/outages.py [--hosts 10000] [--away 60] [--soak 60] [--seed 13]

Two real servers, a PostgreSQL and a NATS of the run's own, and simulated agents with the real protocol, which keep
their reports until a server has them, as our agent does. A good release goes through four rings (a soak, a gate that a
person opens). Meanwhile the database's clock is set forward and back by hours, each replica is killed and comes back
with a clock that is off by hours, PostgreSQL hangs, NATS is away, and PostgreSQL ends. Then a release that fails on 3 %
of the hosts, with NATS, PostgreSQL and a replica away, until its rollout halts. What the API says is compared with what
the agents saw: nobody was moved twice, nobody forgotten, no ring began early, nothing left after the halt. The exit
code is 1 if not.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT / "src"), str(PROJECT / "tests")]

import sqlalchemy as sa  # noqa: E402

from backfleet_sim.seeding import NEW, offer_release  # noqa: E402
from journeys.outages import BAD, CLOCK, RINGS, World  # noqa: E402
from journeys.replicas import Pair  # noqa: E402

ENDS = {"succeeded", "already_there", "skipped", "failed", "rolled_back", "expired", "lost"}
HAD_ORDERS = {"succeeded", "rolled_back", "failed", "lost"}

Row = tuple[str, object, bool]
"""What was looked at, what was found, and whether it is as it must be."""


async def checked_good(world: World) -> list[Row]:
    """Compare what the API says of the good release with what its hosts saw."""
    found = await world.show()
    members = {each["InstanceId"]: each for each in await world.pages("DescribeRolloutMembers", "Members")}
    events = await world.pages("DescribeRolloutEvents", "Events")
    states = Counter(each["State"] for each in members.values())
    hosts = len(world.hosts)
    early, middle = first_of(world, members, "early"), first_of(world, members, "middle")
    canaries = max(host.reported for host in world.hosts if members[host.instance_id]["Ring"] == RINGS[0])
    return [
        ("good release: state", found["State"], found["State"] == "completed"),
        ("members", len(members), len(members) == hosts),
        ("members by state", dict(states), states == {"succeeded": hosts}),
        *one_order_each(world, members, NEW, everybody=True),
        ("orders that left before their ring began, or its gate opened", *nothing(out_of_turn(members, events))),
        (f"seconds from the last canary's report to the next ring, of {world.asked.soak:g} at least",
         round(early - canaries), early - canaries >= world.asked.soak),
        ("seconds from the opened gate to the ring behind it", round(middle - world.opened), middle >= world.opened),
    ]  # fmt: skip


async def checked_bad(world: World) -> list[Row]:
    """Compare what the API says of the release that was halted with what its hosts saw."""
    members = {each["InstanceId"]: each for each in await world.pages("DescribeRolloutMembers", "Members")}
    events = await world.pages("DescribeRolloutEvents", "Events")
    halt = next((each for each in events if (each["What"], each["Change"]) == ("rollout", "halted")), None)
    number = halt["Number"] if halt else 0
    left = [each for each in events if each["Change"] == "upgrading" and each["Number"] > number]
    late = [each for each in world.handed if each.version == BAD and each.asked > world.halted]
    states = Counter(each["State"] for each in members.values())
    fails = {host.instance_id for host in world.hosts if host.fails}
    begun = {each.instance for each in world.handed if each.version == BAD}
    wrong = [
        instance
        for instance, each in members.items()
        if each["State"]
        != ("skipped" if instance not in begun else "rolled_back" if instance in fails else "succeeded")
    ]
    return [
        ("bad release: state", world.state, world.state == "halted"),
        ("members", len(members), len(members) == len(world.hosts)),
        ("members by state, after it was cancelled", dict(states), states.keys() <= ENDS),
        *one_order_each(world, members, BAD, everybody=False),
        ("members whose state is not what their host saw", *nothing(wrong)),
        ("orders that left after the halt was written", *nothing(left)),
        ("orders that hosts got when they asked after the halt was seen", *nothing(late)),
    ]


def nothing(found: list[Any]) -> tuple[object, bool]:
    """Return how much there is of what must not be, with the first ones."""
    return (f"{len(found)}: {found[:3]}" if found else 0), not found


def one_order_each(world: World, members: dict[str, Any], version: str, *, everybody: bool) -> list[Row]:
    """Return whether no host was moved twice, and none that was to be moved was forgotten."""
    orders: dict[str, set[str]] = {host.instance_id: set() for host in world.hosts}
    for each in world.handed:
        if each.version == version:
            orders[each.instance].add(each.order)
    begun_twice = [order for order, times in world.simulation.begun.items() if times > 1]
    several = [instance for instance, found in orders.items() if len(found) > 1]
    tried_again = [instance for instance, each in members.items() if each["Attempts"] > 1]
    unfinished = [each["InstanceId"] for each in members.values() if each["State"] not in ENDS]
    forgotten = [instance for instance, found in orders.items() if not found] if everybody else []
    return [
        ("hosts with more than one order", *nothing(several)),
        ("orders that were begun twice", *nothing(begun_twice)),
        ("members tried more than once", *nothing(tried_again)),
        ("members forgotten: without an order or an end", *nothing(forgotten + unfinished)),
    ]


def first_of(world: World, members: dict[str, Any], ring: str) -> float:
    """Return when the first host of a ring got the order to the good release."""
    return min(each.got for each in world.handed if each.version == NEW and members[each.instance]["Ring"] == ring)


def out_of_turn(members: dict[str, Any], events: list[dict[str, Any]]) -> list[str]:
    """Return what happened in another order than rings allow: by the order of events, clocks do not matter.

    The events of one decision have one time: a ring that begins and its first orders are among them in any order.
    """
    rings = {each["ClientId"]: each["Ring"] for each in members.values()}
    open_in = Counter(rings.values())
    begun: set[str] = set()
    wrong = []
    decisions = (sorted(together, key=turn_of) for _, together in groupby(events, key=itemgetter("TimeMilliseconds")))
    for event in chain.from_iterable(decisions):
        name, change = event["Name"], event["Change"]
        if event["What"] == "ring" and change == "running":
            begun.add(name)
            before = RINGS[: RINGS.index(name)]
            wrong += [f"{name} began before {ring} ended" for ring in before if open_in[ring]]
        elif event["What"] == "member" and change == "upgrading" and rings[name] not in begun:
            wrong.append(f"{name} of {rings[name]} moved before its ring began")
        elif event["What"] == "member" and change in ENDS:
            open_in[rings[name]] -= 1
    return wrong


def turn_of(event: dict[str, Any]) -> int:
    """Return the place of an event in its decision: what ended, the rings, the orders that leave."""
    return 1 if event["What"] == "ring" else 2 if event["Change"] == "upgrading" else 0


async def run(pair: Pair, asked: argparse.Namespace) -> tuple[World, list[Row]]:
    world = World(pair, asked)
    try:
        await world.grow()
        await world.good_release()
        rows = await checked_good(world)
        print_rows(rows)
        await world.bad_release()
        return world, rows + await checked_bad(world)
    finally:
        await world.simulation.end()


def print_rows(rows: list[Row]) -> None:
    for name, value, is_right in rows:
        print(f"| {name} | {value} | {'yes' if is_right else '**no**'} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--away", type=float, default=60.0, help="seconds that PostgreSQL and NATS are away each time")
    parser.add_argument("--soak", type=float, default=60.0, help="seconds of the soak after the canaries")
    parser.add_argument("--seed", type=int, default=13, help="which hosts the bad release fails on")
    asked = parser.parse_args()
    if asked.hosts < 50 or asked.away <= 0 or asked.soak < 0:
        parser.error("--hosts must be at least 50: four rings need them; --away and --soak are seconds")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="backfleet-outages-") as folder:
        pair = Pair(Path(folder))
        try:
            with pair.services.database.engine.begin() as connection:
                connection.execute(sa.text(CLOCK))
            for _ in range(2):
                pair.start()
            for version in (NEW, BAD):
                offer_release(pair.services, version)
            began = time.monotonic()
            world, rows = asyncio.run(run(pair, asked))
        finally:
            pair.end()
    print_rows(rows)
    print(f"\n{asked.hosts} hosts, {time.monotonic() - began:.0f} s, load {os.getloadavg()[1]:.0f}")
    for name, seconds, orders in world.faults:
        print(f"| {name} | {seconds:.0f} s | {orders} |")
    return 0 if all(is_right for _, _, is_right in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
