"""A fleet on a version that was withdrawn: listed as such, and taken back in rings by its version."""

from backfleet.operations.catalogue import HBR
from rollouts.fleet import POLICY, Fleet

BACK = POLICY.replace("to 2.0", "back").replace('version = "2.0"', 'version = "1.0"\nkind = "roll-back"')


def states(hosts: Fleet) -> dict[str, str]:
    _, body = hosts.env.ask(HBR.version, "DescribeBackupClients", ClientType="ECS_CLIENT", PageSize="50")
    return {client["ClientId"]: client["OfferState"] for client in body["Clients"]}


def test_clients_on_a_withdrawn_version_are_listed_and_taken_back_by_a_rollout(hosts: Fleet) -> None:
    """Only those that its selector means; the others stay as they are."""
    bad, good = hosts.grow(4, "2.0"), hosts.grow(2, "1.0")
    hosts.ask("WithdrawRelease", PackageName="courier", ReleaseVersion="2.0", Platform="linux-amd64")
    assert states(hosts) == dict.fromkeys(bad, "Withdrawn") | dict.fromkeys(good, "Current")
    rollout = hosts.roll_out('[select]\nversions = "==2.0"', text=BACK)
    found = hosts.run(rollout)
    assert (found["State"], [ring["Members"] for ring in found["Rings"]]) == ("completed", [2, 2]), found
    assert {hosts.helpers.client(client).version for client in [*bad, *good]} == {"1.0"}
    assert set(states(hosts).values()) == {"Current"}


def test_a_roll_back_brings_nobody_up(hosts: Fleet) -> None:
    """Members with an older version are a fault that says what to write."""
    older = hosts.grow(2)
    hosts.grow(1, version="3.0")
    text = POLICY.replace('version = "2.0"', 'version = "2.0"\nkind = "roll-back"')
    faults = hosts.ask("PreviewRollout", Policy=hosts.policy(text=text))["Faults"]
    (found,) = (each for each in faults if each["Key"] == "version")
    assert found["Found"].startswith("2 clients have an older version (")
    assert all(client in found["Found"] for client in older)
    assert 'write `kind = "upgrade"`' in found["Wanted"]
