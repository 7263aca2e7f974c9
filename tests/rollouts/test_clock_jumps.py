"""A clock that is set back by hours forgets nobody: what waits for a moment that is too far away is due."""

from datetime import timedelta

from backfleet.rollouts import _answers, _store
from backfleet.rollouts.model import CheckAnswer
from rollouts.fleet import POLICY, Fleet, is_busy

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
        _answers.put_answers(tx, rollout, {(1, 0): CheckAnswer(True, "yes")}, hosts.now)
        within = timedelta(minutes=5)
        assert _answers.fresh_answers(tx, rollout, now=hosts.now, within=within)
        assert not _answers.fresh_answers(tx, rollout, now=hosts.now - timedelta(seconds=HOURS), within=within)


SOAKED = POLICY.replace('name = "rest"', 'name = "rest"\ngates = [{{ kind = "soak", hours = 2 }}]')
ACCEPTED = POLICY + '\n[verify]\nfirst_run_hours = 2\nwithout_run = "accept"\n'


def waits_for(hosts: Fleet, rollout: str) -> str:
    found: str = hosts.show(rollout)["WaitsFor"]
    return found


def test_a_clock_set_forward_ends_no_soak(hosts: Fleet) -> None:
    """Nor does a server that did not run for so long: nobody can tell which it was, and nobody looked."""
    clients = hosts.grow(4)
    rollout = hosts.roll_out(text=SOAKED)
    hosts.run(rollout, 4)
    assert hosts.show(rollout)["Rings"][0]["State"] == "finished"
    hosts.at += HOURS
    hosts.run(rollout, 4)
    assert hosts.show(rollout)["Rings"][1]["State"] == "pending"
    assert "5.0 h in which no server decided it do not count" in waits_for(hosts, rollout)
    hosts.worker = None  # the server starts again: it has forgotten nothing of that
    hosts.pass_time(1.5 * 3600)
    hosts.run(rollout, 2)
    assert hosts.show(rollout)["Rings"][1]["State"] == "pending"
    hosts.pass_time(0.5 * 3600)
    assert hosts.run(rollout)["State"] == "completed"
    assert {hosts.helpers.client(client).version for client in clients} == {"2.0"}


def test_a_clock_set_back_and_forward_again_ends_no_soak_and_leaves_none_for_hours(hosts: Fleet) -> None:
    """A ring that ended at a moment that is to come again ended now."""
    hosts.grow(4)
    rollout = hosts.roll_out(text=SOAKED)
    hosts.run(rollout, 4)
    hosts.at -= HOURS
    hosts.run(rollout, 2)
    hosts.pass_time(1.5 * 3600)
    hosts.at += HOURS
    hosts.run(rollout, 2)
    assert hosts.show(rollout)["Rings"][1]["State"] == "pending"
    hosts.pass_time(0.5 * 3600)
    assert hosts.run(rollout)["State"] == "completed"


def test_a_clock_set_forward_is_no_wait_for_a_first_backup(hosts: Fleet) -> None:
    """A policy that accepts members without one would let the next ring begin."""
    hosts.grow(4)
    rollout = hosts.roll_out(text=ACCEPTED)
    hosts.run(rollout, 4)
    hosts.at += HOURS
    hosts.run(rollout, 2)
    assert hosts.show(rollout)["Rings"][0]["Verifying"] == 2
    hosts.pass_time(2 * 3600)
    hosts.run(rollout, 2)
    assert hosts.show(rollout)["Rings"][0]["Succeeded"] == 2


def test_a_clock_set_forward_lets_no_second_hour_of_the_pace_begin(hosts: Fleet) -> None:
    """Two an hour are two in an hour that passed."""
    hosts.grow(6)
    rollout = hosts.roll_out(text=POLICY.replace('in_flight = "100%"', 'in_flight = "100%"\nper_hour = 2'))
    hosts.run(rollout, 3)
    hosts.at += HOURS
    hosts.run(rollout, 3)
    begun = sum(each["State"] != "pending" and each["State"] != "waiting" for each in hosts.members(rollout).values())
    assert begun == 2
    hosts.pass_time(3600)
    hosts.run(rollout, 2)
    begun = sum(each["State"] != "pending" and each["State"] != "waiting" for each in hosts.members(rollout).values())
    assert begun == 4


def test_a_clock_that_is_set_while_a_rollout_waits_for_its_window(hosts: Fleet) -> None:
    """Windows go with the clock: set back, nobody begins before it opens again; set forward, they do at once."""
    clients = hosts.grow(3)
    opens, shuts = (hosts.now + timedelta(hours=each) for each in (3, 6))
    window = f'[window]\ntimes = ["{opens:%H:%M}-{shuts:%H:%M}"]'
    rollout = hosts.roll_out(window)
    for jump in (20, -HOURS, HOURS / 2):
        hosts.at += jump
        hosts.run(rollout, 2)
        assert hosts.show(rollout)["Rings"][0]["Waiting"] == 2, jump
        assert "window" in waits_for(hosts, rollout), jump
    hosts.at = timedelta(hours=3, minutes=1).total_seconds()
    assert hosts.run(rollout)["State"] == "completed"
    assert {hosts.helpers.client(client).version for client in clients} == {"2.0"}


def test_a_clock_that_is_set_past_a_window_begins_nothing_there(hosts: Fleet) -> None:
    """Nor is a host moved in a window that the clock skipped; it waits for the next one."""
    hosts.grow(3)
    opens, shuts = (hosts.now + timedelta(hours=each) for each in (3, 6))
    rollout = hosts.roll_out(f'[window]\ntimes = ["{opens:%H:%M}-{shuts:%H:%M}"]')
    hosts.run(rollout, 2)
    hosts.at = timedelta(hours=7).total_seconds()
    hosts.run(rollout, 3)
    assert hosts.show(rollout)["Rings"][0]["Waiting"] == 2
    assert "window" in waits_for(hosts, rollout)
