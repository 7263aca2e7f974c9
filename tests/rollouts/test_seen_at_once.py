"""Nobody waits for a server to look again: what ends leads on at once, also where a rollout is stopped or goes back."""

from rollouts.fleet import Fleet
from rollouts.test_halts import AT_ONCE


def started(hosts: Fleet, number: int) -> str:
    """Return a rollout whose orders wait for their hosts."""
    clients = hosts.grow(number)
    hosts.silent = {hosts.instance_of(client) for client in clients}
    rollout = hosts.roll_out(text=AT_ONCE)
    hosts._hear()
    hosts.decide()
    hosts.helpers.run_worker(hosts.at)
    return rollout


def states(hosts: Fleet, rollout: str) -> list[str]:
    return sorted(each["State"] for each in hosts.members(rollout).values())


def test_an_order_that_is_withdrawn_wakes_whoever_decides_its_rollout(hosts: Fleet) -> None:
    """Although another host of the same task has begun, and its task goes on."""
    rollout = started(hosts, 3)
    begun = hosts.instance_of(next(iter(hosts.members(rollout))))
    hosts.answers[begun] = lambda item: None
    hosts._answer_for(begun)
    hosts.ask("PauseRollout", RolloutId=rollout)
    hosts.decide()
    hosts.helpers.published.clear()
    hosts.helpers.run_worker(hosts.at)
    assert "rollouts" in hosts.helpers.published
    hosts.decide()
    assert states(hosts, rollout) == ["upgrading", "waiting", "waiting"]


def test_a_roll_back_goes_on_at_once_when_its_last_order_has_ended(hosts: Fleet) -> None:
    """The round that sees the end asks for another one: no notification would come any more."""
    rollout = started(hosts, 2)
    hosts.silent = set()
    hosts.run(rollout)
    hosts.ask("RollBackRollout", RolloutId=rollout)
    hosts.decide()
    hosts.helpers.run_worker(hosts.at)
    hosts._answer()
    hosts.helpers.run_worker(hosts.at)
    assert hosts.worker is not None
    assert hosts.worker.run_once(hosts.now), "members have ended, and the rollout is to be looked at again"
    hosts.decide()
    assert (hosts.show(rollout)["State"], states(hosts, rollout)) == ("rolled_back", ["rolled_back"] * 2)
    assert not hosts.worker.run_once(hosts.now)
