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
