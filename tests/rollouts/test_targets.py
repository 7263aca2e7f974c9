"""What a policy says of a version that cannot be had: why, for which platform, and how many hosts need it."""

import pytest
import sqlalchemy as sa

from backfleet.operations.backfleet.rollouts import creating
from backfleet.releases._tables import releases
from rollouts.fleet import POLICY, Fleet

CHANNEL = POLICY.replace('version = "2.0"', 'channel = "stable"')


def withdraw(hosts: Fleet, version: str = "2.0") -> None:
    hosts.ask("WithdrawRelease", PackageName="courier", ReleaseVersion=version, Platform="linux-amd64")


def unsign(hosts: Fleet, version: str = "2.0") -> None:
    """Have a release wait for its signature, as under offline keys."""
    with hosts.helpers.transaction() as tx:
        tx.run(sa.update(releases).where(releases.c.version == version).values(published_at=None))


def said(hosts: Fleet, text: str = POLICY) -> tuple[list[tuple[str, int, str]], str]:
    """Return what a preview says of the platforms, and its fault; the same fault refuses the rollout."""
    policy = hosts.policy(text=text)
    found = hosts.ask("PreviewRollout", Policy=policy)
    (fault,) = found["Faults"]
    status, refused = hosts.try_to("CreateRollout", Policy=policy)
    assert (status, refused["Faults"]) == (400, [fault]), refused
    assert all(each["PackageName"] == "courier" for each in found["NotToBeHad"])
    lacking = [(each["Platform"], each["Hosts"], each["Reason"]) for each in found["NotToBeHad"]]
    return lacking, f"{fault['Key']}: {fault['Found']}; {fault['Wanted']}"


def test_a_version_that_was_withdrawn_is_named_as_such(sqlite_hosts: Fleet) -> None:
    """And what to do."""
    sqlite_hosts.grow(3)
    withdraw(sqlite_hosts)
    lacking, fault = said(sqlite_hosts)
    assert lacking == [("linux-amd64", 3, "was withdrawn")]
    assert fault.startswith("version: 2.0: for linux-amd64 it was withdrawn; offer it again"), fault
    assert fault.endswith("3 hosts need it"), fault


def test_a_version_that_waits_for_its_signature_is_no_target(sqlite_hosts: Fleet) -> None:
    """No host could verify it: a rollout to it would fail on each."""
    sqlite_hosts.grow(3)
    unsign(sqlite_hosts)
    lacking, fault = said(sqlite_hosts)
    assert lacking == [("linux-amd64", 3, "waits for its signature")]
    assert "release pending" in fault


def test_a_channel_passes_over_what_waits_for_its_signature(sqlite_hosts: Fleet) -> None:
    """Its newest version is the newest that hosts can have."""
    hosts = sqlite_hosts
    hosts.grow(3)
    hosts.env.release("3.0")
    unsign(hosts, "3.0")
    found = hosts.ask("PreviewRollout", Policy=hosts.policy(text=CHANNEL))
    assert (found["TargetVersion"], found["Faults"], found["NotToBeHad"]) == ("2.0", [], [])


def test_a_platform_without_the_version_is_named_with_its_hosts(sqlite_hosts: Fleet) -> None:
    """The others are fine, and are not named."""
    hosts = sqlite_hosts
    hosts.grow(3)
    arm = hosts.env.host(platform="linux-arm64")
    hosts.env.client(arm, version="1.0")
    lacking, fault = said(hosts)
    assert lacking == [("linux-arm64", 1, "has no release")]
    assert fault.startswith("version: 2.0: for linux-arm64 it has no release; "), fault
    assert fault.endswith("add its release for this platform: 1 host needs it"), fault


def far(hosts: Fleet) -> None:
    """Add version 3.0, which only 2.0 and newer may move to."""
    hosts.env.release("3.0", upgrades_from=">=2.0")


def without_path(hosts: Fleet, text: str = POLICY, more: str = "") -> list[tuple[str, str, int]]:
    found = hosts.ask("PreviewRollout", Policy=hosts.policy(more, text=text.replace('"2.0"', '"3.0"')))
    assert all("may be reached from >=2.0 only" in each["Reason"] for each in found["NotToBeHad"])
    return [(each["Platform"], each["FromVersion"], each["Hosts"]) for each in found["NotToBeHad"]]


def test_members_without_a_way_to_the_version_are_named_by_platform_and_version(sqlite_hosts: Fleet) -> None:
    """As long as the intermediate version is withdrawn or unsigned; who has it may go on."""
    hosts = sqlite_hosts
    hosts.grow(3)
    hosts.grow(2, version="1.5")
    hosts.grow(4, version="2.0")
    far(hosts)
    assert without_path(hosts) == []
    withdraw(hosts)
    assert without_path(hosts) == [("linux-amd64", "1.0", 3), ("linux-amd64", "1.5", 2)]
    hosts.ask("OfferRelease", PackageName="courier", ReleaseVersion="2.0", Platform="linux-amd64", Channel="stable")
    assert without_path(hosts) == []
    unsign(hosts)
    assert without_path(hosts) == [("linux-amd64", "1.0", 3), ("linux-amd64", "1.5", 2)]


def test_an_intermediate_version_of_another_channel_is_a_way(sqlite_hosts: Fleet) -> None:
    """Hosts take it, whatever channel they follow. One for another platform is none."""
    hosts = sqlite_hosts
    withdraw(hosts)
    hosts.grow(3)
    hosts.grow(2, version="2.0")
    far(hosts)
    hosts.env.release("2.2", platform="linux-arm64")
    assert without_path(hosts) == [("linux-amd64", "1.0", 3)]
    hosts.env.release("2.1", channel="beta")
    assert without_path(hosts) == []


def test_canaries_are_chosen_among_those_that_can_reach_the_version(sqlite_hosts: Fleet) -> None:
    """The others would be refused by their hosts, and nobody would have tried it."""
    hosts = sqlite_hosts
    hosts.grow(20)
    have = hosts.grow(2, version="2.0")
    far(hosts)
    withdraw(hosts)
    text = POLICY.replace('"2.0"', '"3.0"')
    found = hosts.ask("PreviewRollout", Policy=hosts.policy(text=text))
    assert (found["Faults"], found["Members"]) == ([], 22)
    assert sorted(found["Rings"][0]["Clients"]) == sorted(have)
    more = text.replace("count = 2", "count = 3")
    (fault,) = hosts.ask("PreviewRollout", Policy=hosts.policy(text=more))["Faults"]
    assert "2 of 22 selected are left (20 cannot come to the version from their own)" in fault["Found"]
    assert "add the intermediate version that it requires, or write `count = 2`" in fault["Found"]


def test_a_version_that_no_member_can_reach_is_a_fault(sqlite_hosts: Fleet) -> None:
    """Nothing would move. An install needs no way, nor does a roll-back."""
    hosts = sqlite_hosts
    hosts.grow(3)
    far(hosts)
    withdraw(hosts)
    text = POLICY.replace('"2.0"', '"3.0"').replace('name = "canary"\ncount = 2\n[[ring]]\n', "")
    (fault,) = hosts.ask("PreviewRollout", Policy=hosts.policy(text=text))["Faults"]
    assert fault["Found"].startswith("3.0: 3 clients cannot reach it; from 1.0 it may be reached from >=2.0 only")
    assert fault["Wanted"].startswith("add the intermediate version")
    hosts.env.host()
    assert without_path(hosts, POLICY.replace('"courier"', '"courier"\nkind = "install"', 1)) == []
    assert without_path(hosts, POLICY.replace('"courier"', '"courier"\nkind = "roll-back"', 1)) == []


def test_a_version_that_nobody_knows_is_told_from_these(sqlite_hosts: Fleet) -> None:
    """What is offered is named; what cannot be had is not."""
    hosts = sqlite_hosts
    hosts.grow(3)
    hosts.env.release("2.5")
    withdraw(hosts, "2.5")
    lacking, fault = said(hosts, POLICY.replace('"2.0"', '"9.9"'))
    assert lacking == [("linux-amd64", 3, "has no release")]
    assert "known: " in fault
    assert "2.0" in fault
    assert "2.5" not in fault


def test_what_is_withdrawn_or_unsigned_since_is_sent_to_nobody(sqlite_hosts: Fleet) -> None:
    """The members say why."""
    hosts = sqlite_hosts
    clients = hosts.grow(4)
    rollout = hosts.roll_out()
    unsign(hosts)
    hosts.run(rollout, 5)
    reasons = {member["Reason"] for member in hosts.members(rollout).values() if member["Ring"] == "canary"}
    assert all("waits for its signature" in reason for reason in reasons), reasons
    assert {hosts.helpers.client(client).version for client in clients} == {"1.0"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (POLICY + '[select]\nversions = "=<2"\n', "select.versions"),
        (POLICY + '[select]\nexclude = {{ versions = "1.x" }}\n', "select.exclude.versions"),
        (POLICY.replace("count = 2", 'select = {{ versions = "new" }}'), "ring[0].select.versions"),
    ],
)
def test_a_range_that_cannot_be_read_is_a_fault_of_its_own(sqlite_hosts: Fleet, text: str, key: str) -> None:
    """An exclusion would spare nobody by it."""
    sqlite_hosts.grow(3)
    found = sqlite_hosts.ask("PreviewRollout", Policy=sqlite_hosts.policy(text=text))
    faults = {fault["Key"]: fault["Wanted"] for fault in found["Faults"]}
    assert faults[key].startswith("give a range of versions, such as "), found["Faults"]


def test_a_version_of_the_wrong_kind_is_one_fault(sqlite_hosts: Fleet) -> None:
    """And not also "neither a version nor a channel"."""
    policy = sqlite_hosts.policy(text=POLICY.replace('"2.0"', "2.0"))
    _, refused = sqlite_hosts.try_to("PreviewRollout", Policy=policy)
    assert [(fault["Key"], fault["Found"]) for fault in refused["Faults"]] == [("version", "2.0")]


def test_lists_of_previews_are_bounded() -> None:
    """What an answer holds of 10,000 members is 100."""
    assert creating.MOST_SHOWN == 100
