"""Several processes decide one rollout at once, and what is left of it in the end."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from backfleet import operations, rollouts
from backfleet.operations.catalogue import BACKFLEET
from backfleet.rollouts._tables import answers, approvals, events, members
from backfleet.rollouts._tables import rollouts as table
from backfleet.upgrades._tables import items
from rollouts.fleet import POLICY, Fleet


def replicas(hosts: Fleet, number: int = 2) -> list[rollouts.Worker]:
    services = hosts.env.services
    return [
        rollouts.Worker(
            services.database, services.settings, services.draw, operations.RolloutJudge, operations.witness(services)
        )
        for _ in range(number)
    ]


def decide_at_once(hosts: Fleet, workers: list[rollouts.Worker]) -> None:
    together = Barrier(len(workers))

    def decide(worker: rollouts.Worker) -> None:
        together.wait()
        worker.run_once(hosts.now)

    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(decide, workers))


def orders(hosts: Fleet) -> Counter[str]:
    with hosts.helpers.database.reading() as tx:
        return Counter(row.client_id for row in tx.rows(sa.select(items.c.client_id)))


def test_two_replicas_that_decide_at_once_move_nobody_twice(hosts: Fleet) -> None:
    """Each member gets one order, and none is forgotten."""
    clients = hosts.grow(10)
    rollout = hosts.roll_out()
    workers = replicas(hosts)
    for _ in range(6):
        decide_at_once(hosts, workers)
        hosts.step()
    assert hosts.show(rollout)["State"] == "completed"
    assert orders(hosts) == Counter(clients)
    found = hosts.ask("DescribeRolloutEvents", RolloutId=rollout, MaxResults="500")["Events"]
    assert [event["Number"] for event in found] == list(range(1, len(found) + 1))


@pytest.mark.parametrize("names", [("one", "one"), ("one", "two")])
def test_two_replicas_that_create_at_once_make_no_member_twice(hosts: Fleet, names: tuple[str, str]) -> None:
    """The same policy is one rollout; another one is told whose members the clients are."""
    clients = hosts.grow(10)
    together = Barrier(2)

    def create(name: str) -> tuple[int, dict[str, Any]]:
        text = hosts.policy(text=POLICY.replace("courier to 2.0", name))
        together.wait()
        return hosts.env.ask(BACKFLEET.version, "CreateRollout", Policy=text, Start="true")

    with ThreadPoolExecutor(2) as pool:
        created = list(pool.map(create, names))
    made = {body["RolloutId"] for status, body in created if status == 200}
    refused = [body["Message"] for status, body in created if status != 200]
    assert (len(made), len(refused)) == (1, len(set(names)) - 1), created
    assert all("10 clients are members of rollout" in each for each in refused)
    assert hosts.run(made.pop())["State"] == "completed"
    assert orders(hosts) == Counter(clients)


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_jumps_by_hours_moves_nobody_twice(hosts: Fleet, hours: int) -> None:
    """Backwards and forwards, within the deadline. Orders under way may count as lost then, which halts it.

    No resume gets round that: the failures count until somebody has them tried again.
    """
    clients = hosts.grow(6)
    rollout = hosts.roll_out()
    hosts.step()
    hosts.at += hours * 3600
    hosts.run(rollout)
    hosts.at += max(0, -hours) * 3600
    if hosts.run(rollout)["State"] == "halted":
        assert hosts.try_to("ResumeRollout", RolloutId=rollout)[0] == 409
        hosts.run(rollout)
    assert set(orders(hosts).values()) == {1}
    assert hosts.members(rollout).keys() == set(clients)
    assert all(member["Reason"] for member in hosts.members(rollout).values())


def test_rollouts_that_ended_long_ago_are_deleted_whole(hosts: Fleet) -> None:
    """With members, events and all; one that runs is kept, however old."""
    hosts.grow(4)
    ended = hosts.roll_out()
    hosts.run(ended)
    hosts.grow(4)
    runs = hosts.roll_out()
    before = hosts.now + timedelta(days=100)
    with hosts.helpers.transaction() as tx:
        rollouts.purge(tx, before=before, now=before)
    with hosts.helpers.database.reading() as tx:
        assert [row.id for row in tx.rows(sa.select(table.c.id))] == [runs]
        for belongs in (members, events, approvals, answers):
            assert {row.rollout_id for row in tx.rows(sa.select(belongs.c.rollout_id))} <= {runs}


def test_a_rollout_that_cannot_be_decided_does_not_hold_up_others(hosts: Fleet) -> None:
    """The worker notes it, goes on, and tries again later."""
    services, alice = hosts.env.services, hosts.env.user("alice", "AdministratorAccess")

    def broken_for_alice(tx: Any, caller: Any, region: str, now: Any) -> Any:
        if caller == alice:
            raise KeyError("what nobody foresaw")
        return operations.RolloutJudge(tx, caller, region, now)

    hosts.grow(4, team="a")
    hosts.grow(4, team="b")
    stuck = hosts.roll_out('[select]\ntags = { team = "a" }', caller=alice)
    text = hosts.policy('[select]\ntags = { team = "b" }').replace("courier to 2.0", "others")
    other = hosts.ask("CreateRollout", Policy=text, Start="true")["RolloutId"]
    hosts.worker = rollouts.Worker(
        services.database, services.settings, services.draw, broken_for_alice, operations.witness(services)
    )
    assert hosts.run(other)["State"] == "completed"
    assert hosts.show(stuck)["State"] == "running"
