"""No order leaves after a halt was written: replicas that decide at once, hosts that fetch meanwhile, a dying server.

A halt and the withdrawal of orders are one transaction; fetching takes the same rows.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from backfleet import commands, operations, rollouts
from rollouts.fleet import Fleet, rolls_back

AT_ONCE = """
name = "courier to 2.0"
package = "courier"
version = "2.0"
deadline = "{deadline}"
[[ring]]
name = "all"
[pace]
in_flight = "100%"
ramp = false
{more}
"""
HOSTS = 12


def replica(hosts: Fleet) -> rollouts.Worker:
    services = hosts.env.services
    return rollouts.Worker(
        services.database, services.settings, services.draw, operations.RolloutJudge, operations.witness(services)
    )


def sent_to_all(hosts: Fleet) -> tuple[str, list[str]]:
    """Return a rollout whose orders wait for every host, and the instances; one of them has failed."""
    clients = hosts.grow(HOSTS)
    instances = [hosts.instance_of(client) for client in clients]
    rollout = hosts.roll_out(text=AT_ONCE)
    hosts._hear()
    hosts.decide()
    hosts.helpers.run_worker(hosts.at)
    hosts.answers[instances[0]] = rolls_back
    hosts._answer_for(instances[0])
    hosts.helpers.run_worker(hosts.at)
    return rollout, instances[1:]


def at_once(*actions: Callable[[], object]) -> list[object]:
    """Run these together; return what each returned."""
    together = Barrier(len(actions))

    def run(action: Callable[[], object]) -> object:
        together.wait()
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


def fetch(hosts: Fleet, instances: list[str]) -> set[str]:
    """Let hosts fetch what waits for them; return those that got an order."""
    return {each for each in instances if hosts.helpers.claim(each, hosts.at).run}


def test_hosts_that_fetch_while_two_replicas_halt_get_their_order_or_it_is_withdrawn(hosts: Fleet) -> None:
    """Never both, and nobody gets one afterwards: not by a further decision either."""
    rollout, instances = sent_to_all(hosts)
    one, other = replica(hosts), replica(hosts)
    half = len(instances) // 2
    found = at_once(
        lambda: one.run_once(hosts.now),
        lambda: fetch(hosts, instances[:half]),
        lambda: other.run_once(hosts.now),
        lambda: fetch(hosts, instances[half:]),
    )
    fetched = set().union(*(each for each in found if isinstance(each, set)))
    hosts.decide()
    assert hosts.show(rollout)["State"] == "halted"
    assert fetch(hosts, instances) == set()
    for _ in range(3):
        hosts.at += 20
        hosts.decide()
        hosts.helpers.run_worker(hosts.at)
    assert fetch(hosts, instances) == set()
    members = {each["InstanceId"]: each["State"] for each in hosts.members(rollout).values()}
    assert {each for each in instances if members[each] == "upgrading"} == fetched
    assert {members[each] for each in instances if each not in fetched} <= {"waiting", "pending"}
    changes = [each["Change"] for each in hosts.ask("DescribeRolloutEvents", RolloutId=rollout)["Events"]]
    assert changes.count("halted") == 1


@pytest.mark.parametrize("action", ["PauseRollout", "CancelRollout"])
def test_a_replica_that_read_the_rollout_before_sends_nothing_after_a_stop(hosts: Fleet, action: str) -> None:
    """What it keeps in memory is of an earlier revision."""
    hosts.grow(4)
    rollout = hosts.roll_out()
    old = replica(hosts)
    old.run_once(hosts.now)
    hosts.ask(action, RolloutId=rollout)
    hosts.at += 20
    hosts.helpers.run_worker(hosts.at)
    old.run_once(hosts.now)
    hosts.helpers.run_worker(hosts.at)
    with hosts.helpers.database.reading() as tx:
        assert commands.instances_with_work(tx, limit=100) == []
    assert "upgrading" not in {each["State"] for each in hosts.members(rollout).values()}


def test_a_server_that_dies_while_it_halts_has_written_all_of_it_or_nothing(
    hosts: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one decides the same again."""
    rollout, instances = sent_to_all(hosts)

    class Died(BaseException):
        """The process is gone."""

    def dies(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as patched, pytest.raises(Died):
        patched.setattr("backfleet.rollouts.worker.sign_head", dies)
        replica(hosts).run_once(hosts.now)
    assert hosts.show(rollout)["State"] == "running"
    first = fetch(hosts, instances[:1])
    replica(hosts).run_once(hosts.now)
    assert hosts.show(rollout)["State"] == "halted"
    assert (first, fetch(hosts, instances)) == (set(instances[:1]), set())
