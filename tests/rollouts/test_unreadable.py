"""A policy that is stored, and that another version's reader refuses: shown, kept still, and nobody else's concern."""

from typing import Any

import pytest
import sqlalchemy as sa

from backfleet.rollouts import _store
from backfleet.rollouts._tables import rollouts as table
from backfleet.rollouts.outside.asking import questions_of
from backfleet.storage import Transaction
from rollouts.fleet import POLICY, Fleet

OF_ANOTHER_VERSION = {
    "a key that is not known": lambda text: text.replace("ramp = false", "ramp = false\nsurge = 3"),
    "a kind that is not known": lambda text: 'kind = "freeze"\n' + text,
    "a value that is no longer taken": lambda text: text.replace('in_flight = "100%"', 'in_flight = "as many as can"'),
    "no policy at all": lambda text: "{" + text,
}


def store(hosts: Fleet, rollout: str, text: str) -> None:
    """Put a policy into the table as the version that took it did."""
    with hosts.helpers.transaction() as tx:
        tx.run(sa.update(table).where(table.c.id == rollout).values(policy=text, decide_at=hosts.now))


def policy_of(hosts: Fleet, rollout: str) -> str:
    found: str = hosts.show(rollout)["Policy"]
    return found


@pytest.mark.parametrize("change", OF_ANOTHER_VERSION.values(), ids=OF_ANOTHER_VERSION)
def test_a_rollout_whose_policy_cannot_be_read_is_halted_and_shown_with_the_fault(hosts: Fleet, change: Any) -> None:
    """Its orders that no host has are withdrawn; what is listed beside it goes on to its end."""
    old = hosts.grow(3, team="a")
    hosts.grow(3, team="b")
    rollout = hosts.roll_out('[select]\ntags = { team = "a" }')
    hosts.decide()  # the canaries' orders are there, and no host has fetched them
    store(hosts, rollout, change(policy_of(hosts, rollout)))
    text = hosts.policy('[select]\ntags = { team = "b" }').replace("courier to 2.0", "others")
    other = hosts.ask("CreateRollout", Policy=text, Start="true")["RolloutId"]
    assert hosts.run(other)["State"] == "completed"
    found = hosts.show(rollout)
    assert found["State"] == "halted"
    assert "cannot read its policy" in found["Reason"]
    assert {each["RolloutId"] for each in hosts.ask("ListRollouts")["Rollouts"]} == {other, rollout}
    assert [hosts.helpers.client(client).version for client in old] == ["1.0"] * 3
    assert hosts.members(rollout).keys() == set(old)
    event = hosts.ask("DescribeRolloutEvents", RolloutId=rollout)["Events"][-1]
    assert (event["What"], event["Change"]) == ("rollout", "halted")


def test_the_fault_names_line_key_and_what_was_found(sqlite_hosts: Fleet) -> None:
    """And says what to do."""
    sqlite_hosts.grow(3)
    rollout = sqlite_hosts.roll_out()
    store(sqlite_hosts, rollout, OF_ANOTHER_VERSION["a key that is not known"](policy_of(sqlite_hosts, rollout)))
    sqlite_hosts.decide()
    reason = sqlite_hosts.show(rollout)["Reason"]
    assert "pace.surge" in reason
    assert "line" in reason
    assert "cancel it and apply" in reason


def test_it_can_be_cancelled_and_nothing_else_is_done_with_it(sqlite_hosts: Fleet) -> None:
    """What would need its policy is refused with the same reason."""
    sqlite_hosts.grow(3)
    rollout = sqlite_hosts.roll_out()
    store(sqlite_hosts, rollout, OF_ANOTHER_VERSION["no policy at all"](policy_of(sqlite_hosts, rollout)))
    sqlite_hosts.decide()
    for action in ("ResumeRollout", "RollBackRollout", "ApproveRollout"):
        status, body = sqlite_hosts.try_to(action, RolloutId=rollout)
        assert (status, body["Code"]) == (409, "IncorrectRolloutState")
        assert "cannot read its policy" in body["Message"]
    assert sqlite_hosts.ask("CancelRollout", RolloutId=rollout)["State"] == "cancelled"
    assert "cannot read its policy" in sqlite_hosts.show(rollout)["Reason"]


def test_a_draft_stays_a_draft(sqlite_hosts: Fleet) -> None:
    """It is shown with the fault, and cannot be started."""
    sqlite_hosts.grow(3)
    made = sqlite_hosts.ask("CreateRollout", Policy=sqlite_hosts.policy())["RolloutId"]
    store(sqlite_hosts, made, OF_ANOTHER_VERSION["a kind that is not known"](policy_of(sqlite_hosts, made)))
    sqlite_hosts.decide()
    assert sqlite_hosts.show(made)["State"] == "draft"
    assert "kind" in sqlite_hosts.show(made)["Reason"]
    assert sqlite_hosts.try_to("StartRollout", RolloutId=made)[0] == 409


def test_a_version_that_reads_the_policy_again_goes_on_when_somebody_resumes_it(hosts: Fleet) -> None:
    """Every member gets there."""
    clients = hosts.grow(4)
    rollout = hosts.roll_out()
    text = policy_of(hosts, rollout)
    hosts.step()
    store(hosts, rollout, OF_ANOTHER_VERSION["a key that is not known"](text))
    hosts.step()
    assert hosts.show(rollout)["State"] == "halted"
    store(hosts, rollout, text)
    assert "cannot read" in hosts.show(rollout)["Reason"]
    hosts.ask("ResumeRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "completed"
    assert [hosts.helpers.client(client).version for client in clients] == ["2.0"] * 4


def test_rings_keep_their_names_where_the_text_still_has_them(sqlite_hosts: Fleet) -> None:
    """And are numbered where it has none."""
    sqlite_hosts.grow(3)
    rollout = sqlite_hosts.roll_out()
    text = policy_of(sqlite_hosts, rollout)
    store(sqlite_hosts, rollout, 'kind = "freeze"\n' + text)
    assert [ring["Name"] for ring in sqlite_hosts.show(rollout)["Rings"]] == ["canary", "rest"]
    assert len(sqlite_hosts.ask("DescribeRolloutMembers", RolloutId=rollout, Ring="rest")["Members"]) == 1
    store(sqlite_hosts, rollout, "")
    assert [ring["Name"] for ring in sqlite_hosts.show(rollout)["Rings"]] == ["ring 1", "ring 2"]


def test_outside_checks_and_calendars_of_others_are_not_held_up(sqlite_hosts: Fleet) -> None:
    """It asks nothing, and keeps only the calendars that its text names."""
    sqlite_hosts.grow(3)
    rollout = sqlite_hosts.roll_out()
    for name in ("used", "other"):
        ics = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nEND:VCALENDAR\r\n"
        sqlite_hosts.ask("PutCalendar", Name=name, Ics=ics)
    store(sqlite_hosts, rollout, policy_of(sqlite_hosts, rollout) + '\nsurge = 3\n[window]\ncalendars = ["used"]\n')
    sqlite_hosts.ask("DeleteCalendar", Name="other")
    assert sqlite_hosts.try_to("DeleteCalendar", Name="used")[0] == 409
    with sqlite_hosts.helpers.database.reading() as tx:
        assert list(questions_of(_record(tx, rollout))) == []


def _record(tx: Transaction, rollout: str) -> Any:
    found = _store.lock(tx, rollout)
    assert found is not None
    return found


def test_one_that_goes_back_goes_on_back_once_its_policy_can_be_read(hosts: Fleet) -> None:
    """Nobody has to resume it: that would be forwards. Meanwhile it says what it waits for."""
    hosts.grow(6)
    text = POLICY.replace('in_flight = "100%"', "in_flight = 2")
    rollout = hosts.roll_out(text=text)
    hosts.run(rollout)
    hosts.ask("RollBackRollout", RolloutId=rollout)
    hosts.step()
    good = policy_of(hosts, rollout)
    store(hosts, rollout, OF_ANOTHER_VERSION["a key that is not known"](good))
    hosts.worker = None
    hosts.step()
    found = hosts.show(rollout)
    assert (found["State"], found["WaitsFor"]) == ("rolling_back", "a version that can read its policy")
    assert "cannot read its policy" in found["Reason"]
    store(hosts, rollout, good)
    hosts.at += 300
    assert hosts.run(rollout)["State"] == "rolled_back"
    assert {hosts.helpers.client(each).version for each in hosts.members(rollout)} == {"1.0"}


def test_one_that_goes_back_can_be_cancelled_only_where_nobody_reads_its_policy(sqlite_hosts: Fleet) -> None:
    """Otherwise it would be neither here nor there."""
    hosts = sqlite_hosts
    hosts.grow(4)
    rollout = hosts.roll_out()
    hosts.run(rollout)
    hosts.ask("RollBackRollout", RolloutId=rollout)
    assert "wait until it has gone back" in hosts.try_to("CancelRollout", RolloutId=rollout)[1]["Message"]
    store(hosts, rollout, OF_ANOTHER_VERSION["a key that is not known"](policy_of(hosts, rollout)))
    assert hosts.ask("CancelRollout", RolloutId=rollout)["State"] == "cancelled"
