"""What went wrong elsewhere, by its number in the catalogue of failures: with hosts that answer their orders."""

from datetime import timedelta

from backfleet import fleet, upgrades
from backfleet_host.contract import Report
from rollouts.fleet import POLICY, Fleet, rolls_back, succeeds

DAY = timedelta(days=1).total_seconds()
RAMPED = POLICY.replace("ramp = false", "ramp = true").replace('[[ring]]\nname = "canary"\ncount = 2\n', "")
APPROVED = POLICY.replace('name = "rest"', 'name = "rest"\ngates = [{{ kind = "approval", people = 1 }}]')
BY_CHANNEL = POLICY.replace('version = "2.0"', 'channel = "stable"')


def versions(hosts: Fleet, clients: list[str]) -> list[str]:
    return [hosts.helpers.client(client).version for client in clients]


def test_f22_a_schedule_that_no_longer_fires_after_an_update_is_noticed(sqlite_hosts: Fleet) -> None:
    """A client that backed up every night and then does not is overdue."""
    [client] = sqlite_hosts.grow(1)
    for _ in range(8):
        sqlite_hosts.back_up(client)
        sqlite_hosts.at += DAY
    assert sqlite_hosts.ask("DescribeServer")["OverdueBackups"] == 0
    sqlite_hosts.at += 3 * DAY
    assert sqlite_hosts.ask("DescribeServer")["OverdueBackups"] == 1
    health = {each["Code"]: each for each in sqlite_hosts.ask("GetServerHealth")["Findings"]}
    assert (health["BackupsOverdue"]["Severity"], health["BackupsOverdue"]["Subjects"]) == ("Error", [client])


def test_f60_hosts_that_begin_at_different_versions_go_to_one_each_from_its_own(sqlite_hosts: Fleet) -> None:
    """Each order names what its own host has; one that is newer than it was when the policy was applied, too."""
    hosts = sqlite_hosts
    mixed = {version: hosts.grow(2, version) for version in ("1.0", "1.1", "1.2")}
    ordered: dict[str, tuple[str, str]] = {}

    def answer(item: upgrades.Item) -> Report:
        ordered[item.client_id] = (item.from_version, item.to_version)
        return succeeds(item)

    every = [client for clients in mixed.values() for client in clients]
    hosts.answers = dict.fromkeys(map(hosts.instance_of, every), answer)
    rollout = hosts.roll_out()
    late = next(client for client, each in hosts.members(rollout).items() if each["Ring"] == "rest")
    with hosts.helpers.transaction() as tx:
        fleet.set_clients(tx, [fleet.Change(late, version="1.3")], now=hosts.now)
    assert hosts.run(rollout)["State"] == "completed"
    members = hosts.members(rollout)
    for version, clients in mixed.items():
        assert {members[client]["FromVersion"] for client in clients if client != late} <= {version}
        assert {ordered[client] for client in clients if client != late} <= {(version, "2.0")}
        assert versions(hosts, clients) == ["2.0", "2.0"]
    assert (ordered[late], members[late]["FromVersion"]) == (("1.3", "2.0"), "1.3")


def test_f61_a_host_without_a_policy_is_not_upgraded(sqlite_hosts: Fleet) -> None:
    """Neither because a newer release is offered, nor by a rollout whose selector is not dynamic."""
    members = sqlite_hosts.grow(3)
    rollout = sqlite_hosts.roll_out()
    newcomers = sqlite_hosts.grow(2)
    assert sqlite_hosts.run(rollout)["State"] == "completed"
    assert versions(sqlite_hosts, members + newcomers) == ["2.0"] * 3 + ["1.0"] * 2


def test_f62_a_host_that_is_away_waits_until_it_is_back(sqlite_hosts: Fleet) -> None:
    """It does not fail at once, and takes its order when it is heard again."""
    clients = sqlite_hosts.grow(4)
    rollout = sqlite_hosts.roll_out()
    away = next(client for client, each in sqlite_hosts.members(rollout).items() if each["Ring"] == "rest")
    sqlite_hosts.silent = {sqlite_hosts.instance_of(away)}
    sqlite_hosts.at += sqlite_hosts.env.services.settings.fit_seconds + 60
    for _ in range(5):
        sqlite_hosts.step()
    found = sqlite_hosts.members(rollout)[away]
    assert (found["State"], "cannot be reached" in found["Reason"]) == ("waiting", True)
    sqlite_hosts.silent = set()
    assert sqlite_hosts.run(rollout)["State"] == "completed"
    assert versions(sqlite_hosts, clients) == ["2.0"] * 4


def test_f71_the_newest_version_is_found_once_and_not_for_each_host(sqlite_hosts: Fleet) -> None:
    """A release that is added meanwhile is for the next rollout."""
    clients = sqlite_hosts.grow(4)
    rollout = sqlite_hosts.roll_out(text=BY_CHANNEL)
    sqlite_hosts.step()
    sqlite_hosts.env.release("3.0")
    assert sqlite_hosts.run(rollout)["State"] == "completed"
    assert versions(sqlite_hosts, clients) == ["2.0"] * 4


def test_f72_an_approval_that_takes_days_is_no_failure(sqlite_hosts: Fleet) -> None:
    """Nobody of the ring has an order meanwhile; those that follow it are new ones, and the first of each member."""
    clients = sqlite_hosts.grow(4)
    bob = sqlite_hosts.env.user("bob", "AdministratorAccess")
    rollout = sqlite_hosts.roll_out(text=APPROVED)
    for _ in range(4):
        sqlite_hosts.step(DAY)
        rest = [each for each in sqlite_hosts.members(rollout).values() if each["Ring"] == "rest"]
        assert {(each["State"], each["TaskId"]) for each in rest} == {("pending", "")}
        shown = sqlite_hosts.show(rollout)
        assert (shown["State"], shown["WaitsFor"]) == ("running", "approval: 0 of 1 persons agreed")
    sqlite_hosts.ask("ApproveRollout", bob, RolloutId=rollout)
    found = sqlite_hosts.run(rollout)
    assert (found["State"], found["FailuresLeft"]) == ("completed", found["FailuresAllowed"])
    assert {each["Attempts"] for each in sqlite_hosts.members(rollout).values()} == {1}
    assert versions(sqlite_hosts, clients) == ["2.0"] * 4


def test_f81_a_policy_in_a_hurry_still_begins_with_one_host(sqlite_hosts: Fleet) -> None:
    """One ring and everything at once: the ramp, on unless it is switched off, sends one order first."""
    sqlite_hosts.grow(6)
    rollout = sqlite_hosts.roll_out(text=RAMPED)
    sqlite_hosts._hear()
    sqlite_hosts.decide()
    states = {client: each["State"] for client, each in sqlite_hosts.members(rollout).items()}
    [first] = [client for client, state in states.items() if state == "upgrading"]
    sqlite_hosts.answers[sqlite_hosts.instance_of(first)] = rolls_back
    assert sqlite_hosts.run(rollout)["State"] == "halted"
    members = sqlite_hosts.members(rollout)
    assert [client for client, each in members.items() if each["Attempts"]] == [first], "nobody else had an order"
