"""Pinned members of rollouts: they wait, say why, and are taken when their pin expires or is deleted."""

from datetime import timedelta

from rollouts.fleet import POLICY, Fleet


def pin(hosts: Fleet, client: str, seconds: float = 86400, **more: str) -> None:
    until = (hosts.now + timedelta(seconds=seconds)).isoformat()
    hosts.ask("PutPin", ClientId=client, Reason="year's end", Until=until, **more)


def test_a_pinned_member_waits_until_its_pin_expires(hosts: Fleet) -> None:
    """The others do not wait for it; it is no canary, and its reason names the pin."""
    clients = hosts.grow(6)
    pin(hosts, clients[0], 3600)
    rollout = hosts.roll_out()
    hosts.run(rollout, 10)
    member = hosts.members(rollout)[clients[0]]
    assert (member["Ring"], member["State"]) == ("rest", "waiting")
    assert all(text in member["Reason"] for text in ("it is pinned", "year's end", hosts.env.root.arn))
    assert sum(ring["Succeeded"] for ring in hosts.show(rollout)["Rings"]) == 5
    assert hosts.helpers.client(clients[0]).version == "1.0"
    hosts.at += 3600
    assert hosts.run(rollout)["State"] == "completed"
    assert hosts.helpers.client(clients[0]).version == "2.0"


def test_members_that_are_pinned_later_wait_too(sqlite_hosts: Fleet) -> None:
    """Also a canary, which then holds up nobody; and what allows the target holds nothing."""
    hosts = sqlite_hosts
    clients = hosts.grow(5)
    rollout = hosts.roll_out(text=POLICY.replace("count = 2", "count = 3"))
    canaries = [client for client, found in hosts.members(rollout).items() if found["Ring"] == "canary"]
    pin(hosts, canaries[0])
    pin(hosts, canaries[1], Versions=">=2")
    hosts.run(rollout, 10)
    assert [ring["Succeeded"] for ring in hosts.show(rollout)["Rings"]] == [2, 2]
    hosts.ask("DeletePin", ClientId=canaries[0])
    hosts.run(rollout, 10)
    assert {hosts.helpers.client(client).version for client in clients} == {"2.0"}


def test_a_member_pinned_beyond_the_deadline_ends_with_its_pin_as_the_reason(sqlite_hosts: Fleet) -> None:
    """Nothing was touched."""
    hosts = sqlite_hosts
    clients = hosts.grow(4)
    pin(hosts, clients[0], 86400 * 30)
    rollout = hosts.roll_out()
    hosts.run(rollout, 10)
    hosts.at += 86400 * 11
    hosts.run(rollout, 3)
    member = hosts.members(rollout)[clients[0]]
    assert (member["State"], "year's end" in member["Reason"]) == ("expired", True), member
    assert hosts.helpers.client(clients[0]).version == "1.0"


def test_a_member_that_was_pinned_since_is_not_rolled_back(sqlite_hosts: Fleet) -> None:
    """It keeps the version that it has, and says why."""
    hosts = sqlite_hosts
    clients = hosts.grow(4)
    rollout = hosts.roll_out()
    assert hosts.run(rollout)["State"] == "completed"
    pin(hosts, clients[0])
    hosts.ask("RollBackRollout", RolloutId=rollout)
    hosts.run(rollout)
    versions = {client: hosts.helpers.client(client).version for client in clients}
    assert versions == {clients[0]: "2.0"} | dict.fromkeys(clients[1:], "1.0")
    member = hosts.members(rollout)[clients[0]]
    assert (member["State"], "year's end" in member["Reason"]) == ("failed", True), member


def test_a_preview_counts_who_is_pinned(sqlite_hosts: Fleet) -> None:
    """They are members, and wait; no pin of another version counts."""
    hosts = sqlite_hosts
    clients = hosts.grow(4)
    until = (hosts.now + timedelta(days=2)).isoformat()
    hosts.ask("PutPin", ClientId=clients[0], Reason="the audit", Until=until)
    hosts.ask("PutPin", ClientId=clients[1], Reason="the audit", Until=until, Versions="<3")
    found = hosts.ask("PreviewRollout", Policy=hosts.policy())
    assert (found["Members"], found["Pinned"], found["PinnedClients"]) == (4, 1, [clients[0]])


def test_a_preview_names_who_is_pinned_why_by_whom_and_until_when(sqlite_hosts: Fleet) -> None:
    """Those whose pins end last come first; at most 100 are named, and all are counted."""
    hosts = sqlite_hosts
    clients = hosts.grow(103, site="x")
    pin(hosts, clients[0], 86400 * 3, Versions="<2")
    until = (hosts.now + timedelta(days=2)).isoformat()
    hosts.ask("PutPin", TagKey="site", TagValue="x", Reason="the audit", Until=until)
    hosts.ask("PutPin", ClientId=clients[1], Reason="the year's end", Until=until, Versions="<3")
    found = hosts.ask("PreviewRollout", Policy=hosts.policy())
    assert (found["Pinned"], len(found["Pins"]), len(found["PinnedClients"])) == (103, 100, 100)
    pins = found["Pins"]
    assert {each["Owner"] for each in pins} == {hosts.env.root.arn}
    assert {each["Reason"] for each in pins} <= {"the audit", "year's end"}
    assert [each["ExpiresTime"] for each in pins] == sorted((each["ExpiresTime"] for each in pins), reverse=True)
    assert all(each["InstanceId"] == hosts.instance_of(each["ClientId"]) and each["Host"] for each in pins[:3])
