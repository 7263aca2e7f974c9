"""A clock that is set back by hours forgets nobody: what waits for a moment that is too far away is due."""

from datetime import timedelta

from backfleet.rollouts import _store
from backfleet.rollouts.model import CheckAnswer
from rollouts.fleet import Fleet, is_busy

HOURS = 5 * 3600


def test_a_rollout_goes_on_after_the_clock_was_set_back(hosts: Fleet) -> None:
    """A member whose host was busy is asked again, and nobody gets a second order."""
    clients = hosts.grow(4)
    hosts.answers[hosts.instance_of(clients[0])] = is_busy
    rollout = hosts.roll_out()
    hosts.run(rollout, 8)
    assert hosts.members(rollout)[clients[0]]["State"] == "waiting"
    hosts.answers.clear()
    hosts.at -= HOURS
    found = hosts.run(rollout, 8)
    assert (found["State"], sum(ring["Succeeded"] for ring in found["Rings"])) == ("completed", 4)
    assert {hosts.helpers.client(client).version for client in clients} == {"2.0"}


def test_a_rollout_of_which_nothing_moves_is_still_decided_after_it(hosts: Fleet) -> None:
    """No order of it is under way, which is what else would have it looked at."""
    hosts.grow(4)
    rollout = hosts.roll_out()
    hosts.ask("PauseRollout", RolloutId=rollout)
    hosts.step()
    with hosts.helpers.database.reading() as tx:
        before = hosts.now - timedelta(seconds=HOURS)
        assert _store.due(tx, before, 10, longest=timedelta(minutes=5)) == [rollout]
        assert _store.due(tx, hosts.now, 10, longest=timedelta(minutes=5)) == []


def test_an_answer_of_an_outside_check_from_before_the_clock_was_set_back_opens_no_gate(hosts: Fleet) -> None:
    """How old it is, nobody knows: the check is asked again."""
    hosts.grow(4)
    rollout = hosts.roll_out()
    with hosts.helpers.transaction() as tx:
        _store.put_answers(tx, rollout, {(1, 0): CheckAnswer(True, "yes")}, hosts.now)
        within = timedelta(minutes=5)
        assert _store.fresh_answers(tx, rollout, now=hosts.now, within=within)
        assert not _store.fresh_answers(tx, rollout, now=hosts.now - timedelta(seconds=HOURS), within=within)
