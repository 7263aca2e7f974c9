"""Installs in rings that do not end well: what is left on hosts and in lists, and what the evidence says of it."""

import pytest
import sqlalchemy as sa

from backfleet.fleet import ClientStatus
from backfleet.operations.catalogue import HBR
from backfleet.releases._tables import releases
from rollouts.fleet import Fleet
from rollouts.test_installs import INSTALL, ONE_RING, by_instance, clients, empty, fails
from rollouts.test_logs_in_evidence import SAID, Export, export, fails_saying, logs_of, verified
from upgrades.helpers import PACKAGE

__all__ = ["export"]


def withdraw(hosts: Fleet) -> None:
    hosts.ask("WithdrawRelease", PackageName=PACKAGE, ReleaseVersion="2.0", Platform="linux-amd64")


def unsign(hosts: Fleet) -> None:
    with hosts.helpers.transaction() as tx:
        tx.run(sa.update(releases).where(releases.c.version == "2.0").values(published_at=None))


@pytest.mark.parametrize(("change", "why"), [(withdraw, "was withdrawn"), (unsign, "waits for its signature")])
def test_a_release_that_nobody_can_have_is_refused_and_reaches_no_host_that_waits(
    sqlite_hosts: Fleet, change: object, why: str
) -> None:
    """Where it was withdrawn before, the policy is refused; where it is since, each member is skipped."""
    hosts = sqlite_hosts
    instances = empty(hosts, 3)
    rollout = hosts.roll_out(text=INSTALL)
    assert callable(change)
    change(hosts)
    hosts.run(rollout, 4)
    found = by_instance(hosts, rollout)
    canaries = [each for each in found.values() if each["Ring"] == "canary"]
    assert {(each["State"], each["ErrorCode"]) for each in canaries} == {("skipped", "NoRelease")}
    assert all(why in each["Reason"] for each in canaries)
    assert {clients(hosts)[each].status for each in instances} == {ClientStatus.NOT_INSTALLED}
    (fault,) = hosts.ask("PreviewRollout", Policy=hosts.policy(text=INSTALL.replace("to 2.0", "again")
                         .replace("kind =", 'overlap = "wait"\nkind =')))["Faults"]  # fmt: skip
    assert why in fault["Found"]


@pytest.mark.parametrize("stop", ["halt", "CancelRollout", "PauseRollout"])
def test_hosts_whose_install_was_withdrawn_are_free_for_another_one(hosts: Fleet, stop: str) -> None:
    """Their clients are known as not there, rather than as being installed for ever."""
    instances = empty(hosts, 6)
    rollout = hosts.roll_out(text=ONE_RING)
    hosts.silent = set(instances[1:])
    hosts.decide()
    hosts.helpers.run_worker(hosts.at)
    assert {clients(hosts)[each].status for each in instances} == {ClientStatus.INSTALLING}
    if stop == "halt":
        hosts.answers[instances[0]] = fails
        hosts.step()
        assert hosts.show(rollout)["State"] == "halted"
    else:
        hosts.ask(stop, RolloutId=rollout)
    hosts.step()
    assert ClientStatus.INSTALLING not in {clients(hosts)[each].status for each in instances}
    hosts.silent = set()
    hosts.step()
    assert {clients(hosts)[each].version for each in instances[1:]} == {""}
    status, made = hosts.env.ask(HBR.version, "InstallBackupClients", InstanceIds=instances[1:], PackageName=PACKAGE)
    assert (status, all(each["ValidInstance"] for each in made["InstanceStatuses"])) == (200, True), made
    hosts.step()
    assert {clients(hosts)[each].version for each in instances[1:]} == {"2.0"}


def test_an_install_that_failed_can_be_tried_again(hosts: Fleet) -> None:
    """After the release was mended, by a retry and a resume; the budget counts it no more."""
    instances = empty(hosts, 3)
    hosts.answers[instances[0]] = fails
    rollout = hosts.roll_out(text=ONE_RING)
    assert hosts.run(rollout)["State"] == "halted"
    hosts.answers.clear()
    assert hosts.ask("RetryRolloutMembers", RolloutId=rollout)["Retried"] == 1
    hosts.ask("ResumeRollout", RolloutId=rollout)
    found = hosts.run(rollout)
    assert (found["State"], found["Rings"][0]["Succeeded"], found["FailuresLeft"]) == ("completed", 3, 0)


def test_evidence_of_an_install_names_its_clients_and_what_hosts_said(hosts: Fleet, export: Export) -> None:
    """It is verified elsewhere, with the public key alone; a version before there is none."""
    instances = empty(hosts, 3)
    hosts.answers[instances[0]] = fails_saying(SAID)
    rollout = hosts.roll_out("[failure]\nmax_failed = 1", text=ONE_RING)
    assert hosts.run(rollout)["State"] == "completed"
    file = export(hosts, rollout)
    found = verified(file)
    assert (found.exit_code, "3 members, 1 logs" in found.output or "3 members, 1 log" in found.output) == (0, True)
    (log,) = logs_of(file)
    assert (log["client_id"], log["text"], log["to_version"]) == (clients(hosts)[instances[0]].id, SAID, "2.0")
    text = file.read_text()
    assert all(client.id in text for client in clients(hosts).values())
    file.write_text(text.replace(SAID[:9], SAID[:8] + "x"))
    assert verified(file).exit_code == 1


@pytest.mark.parametrize("kind", ["precheck", "stage"])
def test_what_makes_ready_is_for_hosts_that_have_the_client(sqlite_hosts: Fleet, kind: str) -> None:
    """A host without one is no member: an install finds out by itself, in its first ring."""
    empty(sqlite_hosts, 3)
    has = sqlite_hosts.grow(3)
    text = sqlite_hosts.policy(text=INSTALL.replace('kind = "install"', f'kind = "{kind}"'))
    found = sqlite_hosts.ask("PreviewRollout", Policy=text)
    assert (found["Faults"], found["Members"]) == ([], 3)
    assert {each for ring in found["Rings"] for each in ring["Clients"]} == set(has)
