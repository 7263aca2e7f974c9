"""A rollout of which only members are left that wait for more than their turn: it says so, and foresees no end."""

from datetime import timedelta

from backfleet import fleet, rollouts
from rollouts.fleet import POLICY, Fleet, is_busy

ONE_RING = POLICY.replace('name = "canary"\ncount = 2\n[[ring]]\n', "")


def test_hosts_that_are_away_and_hosts_that_are_busy_are_counted_and_no_end_is_foreseen(hosts: Fleet) -> None:
    """Until they come back: what is left then is done, and the rollout is over."""
    clients = hosts.grow(8)
    away = {hosts.instance_of(each) for each in clients[:2]}
    busy = hosts.instance_of(clients[2])
    hosts.silent |= away
    hosts.answers[busy] = is_busy
    hosts.step(1000)
    rollout = hosts.roll_out(text=ONE_RING)
    for _ in range(3):
        hosts.step()
    found = hosts.show(rollout)
    assert (found["State"], found["Rings"][0]["Succeeded"], found["Rings"][0]["Waiting"]) == ("running", 5, 3)
    assert found["Waits"] == [{"For": "away", "Members": 2}, {"For": "busy", "Members": 1}]
    said = "2 hosts that cannot be reached, 1 busy host"
    assert (found["WaitsFor"], found["ExpectedEndReason"]) == (said, f"nobody can begin now: {said}")
    assert "ExpectedEndTime" not in found

    hosts.answers.clear()
    hosts.step(3600)  # the host that was busy is asked again
    found = hosts.show(rollout)
    assert (found["WaitsFor"], found["Waits"]) == (
        "2 hosts that cannot be reached", [{"For": "away", "Members": 2}],
    )  # fmt: skip
    hosts.silent.clear()
    found = hosts.run(rollout)
    assert (found["State"], found["Waits"], found["ExpectedEndReason"]) == ("completed", [], "")


def test_one_that_is_paused_waits_for_a_person(sqlite_hosts: Fleet) -> None:
    """Why it stopped is its reason, and said once."""
    hosts = sqlite_hosts
    hosts.grow(3)
    rollout = hosts.roll_out()
    hosts.ask("PauseRollout", RolloutId=rollout)
    hosts.step()
    found = hosts.show(rollout)
    assert (found["Reason"][:9], found["WaitsFor"]) == ("paused by", "somebody who resumes or cancels it")


def test_what_members_wait_for_changes_no_revision(sqlite_hosts: Fleet) -> None:
    """Another replica would read every member anew whenever a host goes, or is pinned."""
    hosts = sqlite_hosts
    clients = hosts.grow(4)
    away = [hosts.instance_of(each) for each in clients[:2]]
    hosts.silent |= set(away)
    hosts.step(1000)
    rollout = hosts.roll_out(text=ONE_RING)
    hosts.run(rollout, 3)
    before = stored(hosts, rollout)
    until = (hosts.now + timedelta(days=1)).isoformat()
    hosts.ask("PutPin", ClientId=clients[0], Reason="the audit", Until=until)
    hosts.step()
    after = stored(hosts, rollout)
    assert (before.waiting, after.waiting) == ({"away": 2}, {"away": 1, "pinned": 1})
    assert after.revision == before.revision


def stored(hosts: Fleet, rollout: str) -> rollouts.RolloutRecord:
    with hosts.helpers.database.reading() as tx:
        return rollouts.find(tx, hosts.helpers.account, rollout)


def test_a_lost_member_whose_host_tells_its_version_says_what_was_heard(sqlite_hosts: Fleet) -> None:
    """And no longer that nobody has heard of it."""
    hosts = sqlite_hosts
    clients = hosts.grow(1)
    hosts.answers[hosts.instance_of(clients[0])] = lambda item: None  # it begins, and is never heard again
    rollout = hosts.roll_out(text=ONE_RING)
    for _ in range(60):
        hosts.step(60)
    (member,) = hosts.members(rollout).values()
    assert member["State"] == "lost"
    hosts.at += 60
    with hosts.helpers.transaction() as tx:
        fleet.set_clients(tx, [fleet.Change(clients[0], status=fleet.ClientStatus.ACTIVATED, version="2.0")],
                          now=hosts.now)  # fmt: skip
    hosts.step(400)
    (member,) = hosts.members(rollout).values()
    assert (member["State"], member["Reason"]) == (
        "succeeded", "its host says that it has the version that it was to get")  # fmt: skip
