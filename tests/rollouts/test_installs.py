"""A rollout of kind install: hosts without a client get one, ring by ring; those that have one are left alone."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest

from backfleet import fleet, identity, upgrades
from backfleet.fleet import ClientStatus
from backfleet.operations.catalogue import BACKFLEET, HBR
from backfleet_host.contract import Report
from operations.environment import REGION
from rollouts.fleet import POLICY, Fleet, refuses
from upgrades.helpers import PACKAGE, report_of

INSTALL = POLICY.replace('package = "courier"', 'package = "courier"\nkind = "install"')
DYNAMIC = INSTALL.replace("[[ring]]", "[select]\ntags = {{ env = 'lab' }}\ndynamic = true\n[[ring]]", 1)
ONE_RING = INSTALL.replace('name = "canary"\ncount = 2\n[[ring]]\n', "")


def fails(item: upgrades.Item) -> Report:
    """The new client does not answer its health command; the host is as it was: without one."""
    return report_of(item, "failed", code="RolledBack", message="it exits with 1", stage="back", current_version="")


def empty(hosts: Fleet, number: int, **tags: str) -> list[str]:
    """Add hosts without a client; return their ids."""
    made = [hosts.env.host() for _ in range(number)]
    hear(hosts, made)
    if tags:
        with hosts.helpers.transaction() as tx:
            fleet.set_tags(tx, hosts.helpers.account, REGION, "instance", made, tags)
    return made


def hear(hosts: Fleet, instances: list[str]) -> None:
    """Have these hosts be heard now."""
    with hosts.helpers.transaction() as tx:
        fleet.note_heartbeats(tx, [fleet.Heartbeat(each, hosts.now, reachable_at=hosts.now) for each in instances])


def clients(hosts: Fleet) -> dict[str, fleet.Client]:
    """Return every client of the package, by instance; none has two."""
    with hosts.helpers.database.reading() as tx:
        found = [client for client, _, _ in fleet.clients_of_package(tx, hosts.helpers.account, REGION, PACKAGE)]
    by_instance = {client.instance_id: client for client in found}
    assert len(by_instance) == len(found)
    return by_instance


def preview(hosts: Fleet, text: str = INSTALL) -> dict[str, Any]:
    return hosts.ask("PreviewRollout", Policy=hosts.policy(text=text))


def by_instance(hosts: Fleet, rollout: str) -> dict[str, dict[str, Any]]:
    return {member["InstanceId"]: member for member in hosts.members(rollout).values()}


def faults(hosts: Fleet, text: str, **caller: Any) -> list[str]:
    """Return the faults of a policy that is refused, as `key: found; wanted`."""
    status, body = hosts.try_to("CreateRollout", Policy=hosts.policy(text=text), Start="true", **caller)
    assert (status, body["Code"]) == (400, "PolicyNotAccepted")
    return [f"{each['Key']}: {each['Found']}; {each['Wanted']}" for each in body["Faults"]]


def test_hosts_without_the_client_get_it_ring_by_ring_and_the_others_keep_theirs(hosts: Fleet) -> None:
    """A preview counts them and writes nothing."""
    (has_old,) = hosts.grow(1, version="1.0")
    (has_new,) = hosts.grow(1, version="2.0")
    instances = empty(hosts, 4)
    found = preview(hosts)
    assert (found["Kind"], found["Members"], found["AlreadyThere"], found["Faults"]) == ("install", 4, 2, [])
    assert [(ring["Members"], ring["Clients"]) for ring in found["Rings"]] == [(2, []), (2, [])]
    assert {each for ring in found["Rings"] for each in ring["Instances"]} == set(instances)
    assert set(clients(hosts)) == {hosts.instance_of(has_old), hosts.instance_of(has_new)}

    rollout = hosts.roll_out(text=INSTALL)
    assert {clients(hosts)[each].status for each in instances} == {ClientStatus.NOT_INSTALLED}
    hosts.step()
    assert sorted(clients(hosts)[each].version for each in instances) == ["", "", "2.0", "2.0"]  # the canaries
    assert hosts.run(rollout)["State"] == "completed"
    assert {clients(hosts)[each].version for each in instances} == {"2.0"}
    assert {clients(hosts)[each].status for each in instances} == {ClientStatus.ACTIVATED}
    assert hosts.helpers.client(has_old).version == "1.0"
    assert {each["State"] for each in hosts.members(rollout).values()} == {"succeeded"}
    assert set(by_instance(hosts, rollout)) == set(instances)


def test_the_same_policy_again_makes_no_second_client(hosts: Fleet) -> None:
    """A client that an earlier install left behind is taken, too."""
    instances = empty(hosts, 3)
    left = hosts.env.client(instances[0], "", status=ClientStatus.INSTALL_FAILED)
    text = hosts.policy(text=INSTALL)
    made = hosts.ask("CreateRollout", Policy=text, Start="true")
    again = hosts.ask("CreateRollout", Policy=text, Start="true")
    assert (made["Created"], again["Created"], again["RolloutId"]) == (True, False, made["RolloutId"])
    assert clients(hosts)[instances[0]].id == left
    assert set(hosts.members(made["RolloutId"])) == {client.id for client in clients(hosts).values()}
    assert hosts.run(made["RolloutId"])["State"] == "completed"


def test_a_release_that_is_not_healthy_halts_and_leaves_the_next_ring_without_it(hosts: Fleet) -> None:
    """The canaries are as they were: nothing is installed there."""
    instances = empty(hosts, 5)
    hosts.answers = dict.fromkeys(instances, fails)
    rollout = hosts.roll_out(text=INSTALL)
    found = hosts.run(rollout)
    assert found["State"] == "halted"
    states = [each["State"] for each in hosts.members(rollout).values()]
    assert sorted(states) == ["pending"] * 3 + ["rolled_back"] * 2
    assert {clients(hosts)[each].version for each in instances} == {""}
    assert {each["ErrorCode"] for each in hosts.members(rollout).values()} == {"", "RolledBack"}


def test_a_client_that_came_before_the_order_left_is_left_alone(hosts: Fleet) -> None:
    """Somebody else installed it meanwhile, in another version: it is no upgrade."""
    instances = empty(hosts, 3)
    draft = hosts.ask("CreateRollout", Policy=hosts.policy(text=INSTALL))
    status, _ = hosts.env.ask(HBR.version, "InstallBackupClients", InstanceIds=[instances[0]], ReleaseVersion="1.0",
                              PackageName=PACKAGE)  # fmt: skip
    assert status == 200
    hosts.step()
    assert clients(hosts)[instances[0]].version == "1.0"
    hosts.ask("StartRollout", RolloutId=draft["RolloutId"])
    assert hosts.run(draft["RolloutId"])["State"] == "completed"
    there = by_instance(hosts, draft["RolloutId"])[instances[0]]
    assert (there["State"], there["ErrorCode"]) == ("already_there", "AlreadyInstalled")
    assert there["Reason"] == "courier 1.0 came to this host before; an install leaves it as it is"
    assert clients(hosts)[instances[0]].version == "1.0"


def test_a_host_on_which_another_has_installed_it_is_skipped_with_its_words(hosts: Fleet) -> None:
    """It is no failure unless the policy counts it."""
    instances = empty(hosts, 4)
    hosts.answers[instances[0]] = refuses
    rollout = hosts.roll_out(text=INSTALL)
    assert hosts.run(rollout)["State"] == "completed"
    found = by_instance(hosts, rollout)[instances[0]]
    assert (found["State"], found["ErrorCode"], found["Reason"]) == ("skipped", "ManagedElsewhere", "dpkg has it")


def test_newcomers_get_the_client_while_a_dynamic_rollout_runs(hosts: Fleet) -> None:
    """They come into the rest; hosts that the selector does not mean, and those that have it, stay out."""
    first = empty(hosts, 3, env="lab")
    hosts.silent = set(first[:1])
    rollout = hosts.roll_out(text=DYNAMIC)
    for _ in range(3):
        hosts.step()
    later, others = empty(hosts, 2, env="lab"), empty(hosts, 1)
    (has,) = hosts.grow(1, env="lab")
    hosts.step(70)
    assert set(by_instance(hosts, rollout)) == {*first, *later}
    hosts.silent = set()
    assert hosts.run(rollout)["State"] == "completed"
    assert {clients(hosts)[each].version for each in (*first, *later)} == {"2.0"}
    assert others[0] not in clients(hosts)
    assert hosts.helpers.client(has).version == "1.0"


def test_hosts_that_are_away_are_taken_when_they_come_back(hosts: Fleet) -> None:
    """No canary is away; the last ring waits for them, and they expire at the deadline."""
    instances = empty(hosts, 4)
    hosts.silent = set(instances[:2])
    hosts.at += 3600
    hear(hosts, instances[2:])
    rollout = hosts.roll_out(text=INSTALL)
    for _ in range(4):
        hosts.step()
    members = by_instance(hosts, rollout)
    assert {members[each]["Ring"] for each in instances[2:]} == {"canary"}
    assert {members[each]["Reason"] for each in instances[:2]} == {"its host cannot be reached"}
    hosts.silent = set(instances[:1])
    hear(hosts, instances[1:2])
    for _ in range(3):
        hosts.step()
    assert by_instance(hosts, rollout)[instances[1]]["State"] == "succeeded"
    hosts.at += timedelta(hours=241).total_seconds()
    hosts.step()
    assert by_instance(hosts, rollout)[instances[0]]["State"] == "expired"
    assert clients(hosts)[instances[0]].version == ""


def test_an_install_is_not_rolled_back_and_says_what_to_do(hosts: Fleet) -> None:
    """The refusal names whom it is about."""
    empty(hosts, 3)
    rollout = hosts.roll_out(text=INSTALL)
    hosts.run(rollout)
    status, body = hosts.try_to("RollBackRollout", RolloutId=rollout)
    assert (status, body["Code"]) == (409, "IncorrectRolloutState")
    assert "no version to go back to" in body["Message"]
    assert "`backfleet client uninstall`" in body["Message"]
    assert "3 of its members have one" in body["Message"]
    assert all(client.id in body["Message"] for client in clients(hosts).values())


def test_a_first_backup_that_fails_halts_and_the_client_stays(hosts: Fleet) -> None:
    """Its reason says how to be rid of it. A fresh client may have none for as long as the policy waits."""
    empty(hosts, 4)
    gate = '[[ring]]\nname = "rest"\ngates = [{{ kind = "backups", first_run = "each" }}]'
    rollout = hosts.roll_out(text=INSTALL.replace('[[ring]]\nname = "rest"', gate))
    for _ in range(3):
        hosts.step()
    first, second = [client for client, found in hosts.members(rollout).items() if found["State"] == "verifying"]
    hosts.back_up(first)
    hosts.back_up(second, "failed")
    assert hosts.run(rollout)["State"] == "halted"
    found = hosts.members(rollout)[second]
    assert (found["State"], found["ErrorCode"]) == ("failed", "BackupFailed")
    assert found["Reason"].endswith("no version to go back to: `backfleet client uninstall` removes it")
    assert hosts.helpers.client(second).version == "2.0"


def test_without_a_backup_in_time_a_member_ends_as_the_policy_says(hosts: Fleet) -> None:
    """By default as failed."""
    empty(hosts, 2)
    verify = "[verify]\nfirst_run_hours = 2\nwithout_run = 'accept'"
    rollout = hosts.roll_out(verify, text=ONE_RING)
    for _ in range(3):
        hosts.step()
    assert {each["State"] for each in hosts.members(rollout).values()} == {"verifying"}
    hosts.pass_time(7300)
    assert hosts.run(rollout)["State"] == "completed"
    assert {each["State"] for each in hosts.members(rollout).values()} == {"succeeded"}


def test_a_pin_holds_an_install_back_until_it_ends(hosts: Fleet) -> None:
    """A preview names the host, which has no client yet."""
    instances = empty(hosts, 4)
    until = hosts.helpers.moment(86400).isoformat()
    hosts.ask("PutPin", InstanceId=instances[0], PackageName=PACKAGE, Versions="<2", Reason="tape", Until=until)
    found = preview(hosts)
    assert (found["Pinned"], found["PinnedClients"]) == (1, [])
    assert [(pin["InstanceId"], pin["ClientId"]) for pin in found["Pins"]] == [(instances[0], "")]
    rollout = hosts.roll_out(text=INSTALL)
    for _ in range(5):
        hosts.step()
    members = by_instance(hosts, rollout)
    assert members[instances[0]]["State"] == "waiting"
    assert "tape" in members[instances[0]]["Reason"]
    assert {members[each]["State"] for each in instances[1:]} == {"succeeded"}


def test_two_hosts_of_one_value_are_never_under_way_at_one_time(hosts: Fleet) -> None:
    """The tags are those of the hosts: there is no client to have some."""
    instances = empty(hosts, 3, pair="a")
    hosts.silent = set(instances)
    apart = ONE_RING.replace("ramp = false", 'ramp = false\nnever_together = ["tag:pair"]')
    rollout = hosts.roll_out(text=apart)
    hosts.decide()
    assert sorted(each["State"] for each in hosts.members(rollout).values()) == ["upgrading", "waiting", "waiting"]
    hosts.silent = set()
    assert hosts.run(rollout)["State"] == "completed"


def test_held_members_get_nothing_until_they_are_released(hosts: Fleet) -> None:
    """A pause withdraws orders that no host has, as for any kind."""
    instances = empty(hosts, 2)
    rollout = hosts.ask("CreateRollout", Policy=hosts.policy(text=ONE_RING))["RolloutId"]
    held = clients(hosts)[instances[0]].id
    hosts.ask("HoldRolloutMember", RolloutId=rollout, ClientId=held)
    hosts.ask("StartRollout", RolloutId=rollout)
    for _ in range(3):
        hosts.step()
    assert sorted(client.version for client in clients(hosts).values()) == ["", "2.0"]
    hosts.ask("HoldRolloutMember", RolloutId=rollout, ClientId=held, Held="false")
    hosts.silent = {instances[0]}
    hosts.step()
    hosts.ask("PauseRollout", RolloutId=rollout)
    hosts.silent = set()
    hosts.step()
    assert clients(hosts)[instances[0]].version == ""
    hosts.ask("ResumeRollout", RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "completed"


def test_whoever_may_not_install_may_not_roll_it_out(hosts: Fleet) -> None:
    """Upgrading clients is another right; a Deny on some hosts makes them faults, by host."""
    instances = empty(hosts, 3)
    every = {"Effect": "Allow", "Action": "backfleet:*", "Resource": "*"}
    upgrader = hosts.env.user_with(
        "upgrader", every, {"Effect": "Allow", "Action": "hbr:UpgradeBackupClients", "Resource": "*"}
    )
    assert any("hbr:InstallBackupClients" in each for each in faults(hosts, INSTALL, caller=upgrader))
    where = f"acs:ecs:{REGION}:{hosts.helpers.account}:instance/{instances[0]}"
    installs = {"Effect": "Allow", "Action": "hbr:InstallBackupClients", "Resource": "*"}
    spared = {"Effect": "Deny", "Action": "hbr:InstallBackupClients", "Resource": where}
    careful = hosts.env.user_with("careful", every, installs, spared)
    (found,) = faults(hosts, INSTALL, caller=careful)
    assert f"1 host on which you may not install ({instances[0]})" in found
    assert clients(hosts) == {}


def test_a_right_that_is_taken_away_skips_the_members_it_is_about(hosts: Fleet) -> None:
    """Every member is judged when its order leaves."""
    instances = empty(hosts, 3)
    allowed = [{"Effect": "Allow", "Action": each, "Resource": "*"} for each in ("backfleet:*", "hbr:Install*")]
    starter: identity.Caller = hosts.env.user_with("starter", *allowed)
    rollout = hosts.roll_out(caller=starter, text=ONE_RING)
    one = f"acs:ecs:{REGION}:{hosts.helpers.account}:instance/{instances[0]}"
    denial = f'{{"Version": "1", "Statement": [{{"Effect": "Deny", "Action": "hbr:*", "Resource": "{one}"}}]}}'
    with hosts.helpers.transaction() as tx:
        account = hosts.helpers.account
        identity.create_policy(tx, account, "denial", denial, description="", now=hosts.now)
        identity.attach_policy(tx, account, "starter", "denial", "Custom", now=hosts.now)
    hosts.run(rollout)
    members = by_instance(hosts, rollout)
    assert (members[instances[0]]["State"], members[instances[0]]["ErrorCode"]) == ("skipped", "NoPermission")
    assert {members[each]["State"] for each in instances[1:]} == {"succeeded"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param('versions = "<2"', "select.versions", id="a range of versions"),
        pytest.param('clients = ["c-1"]', "select.clients", id="clients"),
        pytest.param('channels = ["beta"]', "select.channels", id="channels"),
        pytest.param("below_minimum = true", "select.below_minimum", id="below the minimum"),
        pytest.param('where = "not version<2 and tag:a=b"', "select.where: 'version'", id="an expression"),
        pytest.param('exclude = {{ versions = "<2" }}', "select.exclude.versions", id="an exclusion by version"),
        pytest.param("", "ring[0].select.versions", id="a ring by version"),
    ],
)
def test_facts_of_clients_select_no_host_for_an_install(sqlite_hosts: Fleet, change: str, words: str) -> None:
    """Each is a fault that says what would do."""
    empty(sqlite_hosts, 3)
    selecting = INSTALL.replace("[[ring]]", f"[select]\n{change}\n[[ring]]", 1)
    by_ring = INSTALL.replace("count = 2", 'select = {{ versions = "<2" }}')
    found = [each for each in faults(sqlite_hosts, selecting if change else by_ring) if words in each]
    assert len(found) == 1
    assert "an install is for hosts without this client: leave it out" in found[0]


def test_hosts_and_their_platforms_can_be_named_in_an_expression(sqlite_hosts: Fleet) -> None:
    """So can tags."""
    instances = empty(sqlite_hosts, 2, env="lab")
    empty(sqlite_hosts, 1)
    where = f"instance in ({instances[0]}, {instances[1]}) and platform~linux-* and tag:env=lab"
    found = preview(sqlite_hosts, ONE_RING.replace("[[ring]]", f'[select]\nwhere = "{where}"\n[[ring]]', 1))
    assert (found["Members"], found["Faults"]) == (2, [])


def test_a_selector_that_means_nobody_is_refused_and_says_why(sqlite_hosts: Fleet) -> None:
    """There is no host, or each has the client."""
    none = INSTALL.replace("[[ring]]", "[select]\ntags = {{ env = 'no' }}\n[[ring]]", 1)
    assert any("select: no host; select enrolled hosts" in each for each in faults(sqlite_hosts, none))
    sqlite_hosts.grow(2)
    found = faults(sqlite_hosts, INSTALL)
    assert any("select: no host without courier: 2 selected hosts have it" in each for each in found)
    assert any('kind = "upgrade"' in each for each in found)


def test_a_version_that_a_platform_does_not_have_is_a_fault_that_counts_its_hosts(sqlite_hosts: Fleet) -> None:
    """Hosts that have the client already need none."""
    empty(sqlite_hosts, 3)
    for _ in range(2):
        sqlite_hosts.env.host(platform="linux-arm64")
    has = sqlite_hosts.env.host(platform="linux-386")
    sqlite_hosts.env.client(has)
    found = [each for each in faults(sqlite_hosts, INSTALL) if each.startswith("version")]
    assert found == [
        "version: 2.0: for linux-arm64 it has no release; add its release for this platform: 2 hosts need it"
    ]
    assert set(clients(sqlite_hosts)) == {has}
    unknown = faults(sqlite_hosts, INSTALL.replace('"2.0"', '"7.0"'))
    assert any("no such release of courier is offered" in each for each in unknown)


def test_going_back_is_no_consequence_of_a_failure(sqlite_hosts: Fleet) -> None:
    """There is nothing to go back to."""
    empty(sqlite_hosts, 3)
    text = INSTALL + '\n[failure]\nthen = "roll-back-rollout"\n'
    (found,) = faults(sqlite_hosts, text)
    assert found.startswith("failure.then")
    assert 'write `then = "hold"`' in found
    assert "no version to go back to" in found


def test_a_client_that_is_not_installed_is_no_member_of_an_upgrade(sqlite_hosts: Fleet) -> None:
    """An install that waits keeps no upgrade of the others from being applied."""
    sqlite_hosts.grow(2)
    empty(sqlite_hosts, 3)
    sqlite_hosts.silent = set()
    install = sqlite_hosts.roll_out(text=INSTALL)
    assert sqlite_hosts.ask("PreviewRollout", Policy=sqlite_hosts.policy())["Members"] == 2
    upgrade = sqlite_hosts.roll_out(text=POLICY.replace("courier to 2.0", "others").replace("count = 2", "count = 1"))
    assert sqlite_hosts.run(install)["State"] == "completed"
    assert sqlite_hosts.run(upgrade)["State"] == "completed"
    assert len(sqlite_hosts.members(upgrade)) == 2


def test_two_installs_of_one_host_are_not_under_way_at_one_time(sqlite_hosts: Fleet) -> None:
    """The second is refused, or waits where it says so."""
    empty(sqlite_hosts, 3)
    sqlite_hosts.roll_out(text=INSTALL)
    second = INSTALL.replace("courier to 2.0", "again")
    assert any("3 clients are members of rollout" in each for each in faults(sqlite_hosts, second))
    other = second.replace("kind =", 'overlap = "wait"\nkind =')
    assert sqlite_hosts.ask("PreviewRollout", Policy=sqlite_hosts.policy(text=other))["Faults"] == []


def test_clients_follow_the_channel_that_the_policy_names(sqlite_hosts: Fleet) -> None:
    """Its newest release is installed; without a channel it is the stable one."""
    sqlite_hosts.env.release("3.0", channel="beta")
    instances = empty(sqlite_hosts, 2)
    rollout = sqlite_hosts.roll_out(text=ONE_RING.replace('version = "2.0"', 'channel = "beta"'))
    assert sqlite_hosts.run(rollout)["TargetVersion"] == "3.0"
    assert {(clients(sqlite_hosts)[each].version, clients(sqlite_hosts)[each].channel) for each in instances} == {
        ("3.0", "beta")
    }


def test_an_install_is_simulated_on_the_hosts_that_lack_the_client(sqlite_hosts: Fleet) -> None:
    """And writes nothing."""
    sqlite_hosts.grow(2)
    empty(sqlite_hosts, 6)
    found = sqlite_hosts.ask("SimulateRollout", Policy=sqlite_hosts.policy(text=INSTALL))
    assert (found["State"], found["Members"], found["Done"]) == ("completed", 6, 6)
    bad = sqlite_hosts.ask("SimulateRollout", Policy=sqlite_hosts.policy(text=INSTALL), Failures="bad-canary")
    assert (bad["State"], bad["BadReached"]) == ("expired", 2)
    assert len(clients(sqlite_hosts)) == 2


@pytest.mark.parametrize("names", [("one", "one"), ("one", "two")])
def test_two_replicas_that_create_at_once_make_no_client_twice(hosts: Fleet, names: tuple[str, str]) -> None:
    """The same policy is one rollout; another one is told whose members the hosts are."""
    empty(hosts, 30)
    together = Barrier(2)

    def create(name: str) -> tuple[int, dict[str, Any]]:
        text = hosts.policy(text=INSTALL.replace("courier to 2.0", name))
        together.wait()
        return hosts.env.ask(BACKFLEET.version, "CreateRollout", Policy=text, Start="true")

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(create, names))
    made = {body["RolloutId"] for status, body in answers if status == 200}
    assert len(made) == 1
    refused = [body["Message"] for status, body in answers if status != 200]
    assert len(refused) == len(set(names)) - 1
    assert all("30 clients are members of rollout" in each for each in refused)
    (rollout,) = made
    assert set(hosts.members(rollout)) == {client.id for client in clients(hosts).values()}
    assert hosts.run(rollout)["State"] == "completed"
    assert len(clients(hosts)) == 30
