"""A ring of 2,000 that halts while hundreds of orders are on their way: who gets one, and what becomes of each."""

from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from backfleet import commands
from backfleet.fleet._tables import clients, instances
from rollouts.fleet import Fleet, rolls_back, succeeds

HOSTS, AT_ONCE, BUDGET = 2000, 400, 10
RING = f"""
name = "courier to 2.0"
package = "courier"
version = "2.0"
deadline = "{{deadline}}"
[[ring]]
name = "all"
[pace]
in_flight = {AT_ONCE}
ramp = false
[failure]
max_failed = {BUDGET}
{{more}}
"""


def grow(hosts: Fleet, number: int) -> None:
    """Make so many hosts with a client each, like one that has enrolled."""
    (client,) = hosts.grow(1)
    with hosts.helpers.transaction() as tx:
        for table, first in ((instances, hosts.instance_of(client)), (clients, client)):
            row = tx.first(sa.select(table).where(table.c.id == first))
            assert row is not None
            tx.add(table, [copied(dict(row._mapping), at) for at in range(1, number)])


def copied(row: dict[str, Any], at: int) -> dict[str, Any]:
    own = {name: f"{row[name][:-4]}{at:04d}x" for name in ("id", "instance_id", "machine_id") if row.get(name)}
    return row | own


def with_work(hosts: Fleet) -> list[str]:
    with hosts.helpers.database.reading() as tx:
        return sorted(commands.instances_with_work(tx, limit=2 * HOSTS))


def states(hosts: Fleet, rollout: str) -> Counter[str]:
    ring = hosts.show(rollout)["Rings"][0]
    named = ("Succeeded", "RolledBack", "Upgrading", "Waiting", "Skipped", "Pending", "Failed", "Lost", "Expired")
    return Counter({name: ring[name] for name in named if ring[name]})


@pytest.fixture
def ring(hosts: Fleet) -> tuple[Fleet, str, list[str]]:
    """A rollout with orders for 400 of 2,000 hosts, which none of them has fetched yet."""
    grow(hosts, HOSTS)
    rollout = hosts.roll_out(text=RING)
    hosts._hear()
    hosts.decide()
    hosts.helpers.run_worker(hosts.at)
    waiting = with_work(hosts)
    assert (len(waiting), states(hosts, rollout)) == (AT_ONCE, {"Upgrading": AT_ONCE, "Waiting": HOSTS - AT_ONCE})
    return hosts, rollout, waiting


def test_a_halt_in_a_large_ring_reaches_no_more_hosts_than_the_budget_and_those_under_way(
    ring: tuple[Fleet, str, list[str]],
) -> None:
    """Eleven of 400 fail: 150 hosts have an order then, of which 40 fail later; 189 have not fetched theirs."""
    hosts, rollout, waiting = ring
    failed, good = waiting[: BUDGET + 1], waiting[BUDGET + 1 : 61]
    under_way, not_fetched = waiting[61:211], waiting[211:]
    hosts.answers = dict.fromkeys(failed, rolls_back)
    taken = {each: hosts.helpers.claim(each, hosts.at).run[0] for each in under_way}
    for each in (*failed, *good):
        hosts._answer_for(each)
    hosts.helpers.run_worker(hosts.at)
    hosts.decide()
    assert hosts.show(rollout)["State"] == "halted"

    assert with_work(hosts) == []
    assert not any(hosts.helpers.claim(each, hosts.at).run for each in not_fetched)
    for _ in range(3):
        hosts.at += 20
        hosts._hear()
        hosts.decide()
        hosts.helpers.run_worker(hosts.at)
    assert with_work(hosts) == []
    assert states(hosts, rollout) == {
        "RolledBack": len(failed), "Succeeded": len(good), "Upgrading": len(under_way),
        "Waiting": HOSTS - len(failed) - len(good) - len(under_way),
    }  # fmt: skip

    for number, (instance, command) in enumerate(taken.items()):
        report(hosts, instance, command, fails=number < 40)
    hosts.helpers.run_worker(hosts.at)
    hosts.decide()
    ended = {"RolledBack": len(failed) + 40, "Succeeded": len(good) + len(under_way) - 40}
    assert states(hosts, rollout) == ended | {"Waiting": HOSTS - sum(ended.values())}
    assert ended["RolledBack"] <= BUDGET + 1 + len(under_way)
    assert with_work(hosts) == []

    hosts.ask("CancelRollout", RolloutId=rollout)
    hosts.decide()
    assert states(hosts, rollout) == ended | {"Skipped": HOSTS - sum(ended.values())}
    assert [each["Reason"] for each in events(hosts, rollout) if each["Change"] == "halted"] == [
        "11 members of the rollout had failed by then; the budget allows 10"
    ]


def events(hosts: Fleet, rollout: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while more := hosts.ask("DescribeRolloutEvents", RolloutId=rollout, After=str(len(found)), MaxResults="500"):
        if not more["Events"]:
            break
        found += more["Events"]
    return found


def report(hosts: Fleet, instance: str, command: Any, *, fails: bool) -> None:
    """Have a host report of an order that it fetched before."""
    item = hosts._item_of(command.task_id)
    hosts.report(instance, command.task_id, rolls_back(item) if fails else succeeds(item))
