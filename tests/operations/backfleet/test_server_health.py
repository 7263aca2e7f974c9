"""GetServerHealth: each broken state of a fleet or an installation is broken here, and found, with what to do."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backfleet import commands, copies, fleet, hold, notifications
from backfleet.certificates import prepare_certificates
from backfleet.fleet._tables import instances
from backfleet.ids import Draw
from backfleet.notifications import Destination, Way
from backfleet.notifications import _store as notices
from backfleet.notifications.kinds import Kind
from backfleet.notifications.noticing import notice_to
from backfleet.releases import Repository
from backfleet.storage import Database
from operations.environment import Environment, make_environment

BACKFLEET, HBR = "2026-11-01", "2017-09-08"
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


Case = tuple[Callable[[Environment], None], str, str, str, str]
"""What breaks it; code and severity of the finding; what is in the text and in the advice."""


@pytest.fixture
def env(database: Database, tmp_path: Path, now: datetime, draw: Draw) -> Environment:
    return installed(database, tmp_path, now, draw)


@pytest.fixture
def sqlite_env(sqlite_database: Database, tmp_path: Path, now: datetime, draw: Draw) -> Environment:
    return installed(sqlite_database, tmp_path, now, draw)


def installed(database: Database, tmp_path: Path, now: datetime, draw: Draw) -> Environment:
    """Return an installation with certificates, a release and a host that has it."""
    made = make_environment(database, tmp_path, now, draw)
    prepare_certificates(tmp_path, ["localhost"], now=now)
    for file in tmp_path.glob("*.db*"):
        file.chmod(0o600)  # as the server's umask has it
    services = made.services
    made.services = replace(services, settings=replace(services.settings, https="localhost:8443"))
    made.release("1.0")
    made.client(made.host(name="web-1"), "1.0")
    return made


def findings(env: Environment, **asked: Any) -> dict[str, dict[str, Any]]:
    status, body = env.ask(BACKFLEET, "GetServerHealth", **asked)
    assert status == 200, body
    return {each["Code"]: each for each in body["Findings"]}


def bad(env: Environment) -> dict[str, str]:
    """Return the severity of every finding that somebody should see to, by its code."""
    return {code: each["Severity"] for code, each in findings(env).items() if each["Severity"] != "Ok"}


def test_a_healthy_installation_has_nothing_to_see_to(env: Environment) -> None:
    """Every check is listed with what it found, on either database."""
    status, body = env.ask(BACKFLEET, "GetServerHealth")
    assert (status, body["Severity"], body["PrincipalArn"]) == (200, "Ok", env.root.arn)
    assert body["ServerTime"] == round(env.now.timestamp() * 1000)
    assert all(each["Found"] and not each["Advice"] for each in body["Findings"])
    assert len({each["Code"] for each in body["Findings"]}) == len(body["Findings"]) >= 26


def silent(env: Environment) -> None:
    env.host(silent=True, name="away")


def deaf(env: Environment) -> None:
    env.deaf_host(dials_in=None)


def cloned(env: Environment) -> None:
    host = env.host()
    with env.services.database.transaction() as tx:
        for at in (-3, -2, -1, 0):
            for mark in ("a", "b"):
                seen = env.now + timedelta(minutes=at)
                fleet.note_run(tx, fleet.AgentRun(host, mark, seen, seen))


def wrong_clock(env: Environment) -> None:
    host = env.host(name="late")
    with env.services.database.transaction() as tx:
        fleet.note_heartbeats(tx, [fleet.Heartbeat(host, env.now, reachable_at=env.now, clock_skew_ms=-7_200_000)])


def old_program(env: Environment) -> None:
    host = env.host(name="ancient")
    with env.services.database.transaction() as tx:
        fleet.note_heartbeats(tx, [fleet.Heartbeat(host, env.now, "backfleet-0.0.9", reachable_at=env.now)])


def drifted(env: Environment) -> None:
    _, client = env.host_with_client("1.0")
    with env.services.database.transaction() as tx:
        fleet.set_clients(tx, [fleet.Change(client, drift="bin/courier: changed")], now=env.now)


def quarantined(env: Environment) -> None:
    _, client = env.host_with_client("1.0")
    failure = fleet.Failure(
        "UpgradeRolledBack", "unhealthy", "1.1", env.now, "Traceback", quarantined_until=env.now + DAY
    )
    with env.services.database.transaction() as tx:
        fleet.set_clients(tx, [fleet.Change(client, failure=failure)], now=env.now)


def withdrawn(env: Environment) -> None:
    env.release("0.9", withdrawn=True)
    env.host_with_client("0.9")


def behind(env: Environment) -> None:
    env.host_with_client("0.8")
    env.release("0.8")


def no_worker(env: Environment) -> None:
    env.release("1.1")
    host, _ = env.host_with_client("1.0")
    assert env.ask(HBR, "UpgradeBackupClients", InstanceIds=[host])[0] == 200
    env.now += 6 * MINUTE
    for instance in connected(env):
        env.heartbeat(instance)


def connected(env: Environment) -> list[str]:
    with env.services.database.reading() as tx:
        return [row.id for row in tx.rows(sa.select(instances.c.id))]


def not_fetched(env: Environment) -> None:
    host = env.host()
    asked = commands.NewInvocation(env.root.account_id, host, "true", 60, "r-1")
    with env.services.database.transaction() as tx:
        commands.send(tx, [asked], topic="others", now=env.now, draw=env.services.draw)
    env.now += 6 * MINUTE
    for instance in connected(env):
        env.heartbeat(instance)


def mailbox(env: Environment) -> Destination:
    made = Destination(env.root.account_id, "oncall", Way.MAIL, "oncall@example.com", (), "", env.now, env.root.arn)
    with env.services.database.transaction() as tx:
        notifications.put_destination(tx, made)
        notice = notice_to(made, Kind.HOST_LOST, "s", "{}", now=env.now, draw=env.services.draw)
        notices.add_notices(tx, [notice])
        notices.change(tx, notice.id, {"tries": 0})
    return made


def mail_fails(env: Environment) -> None:
    mailbox(env)
    with env.services.database.transaction() as tx:
        (notice,) = notices.take_due(tx, env.now, env.now, 10)
        notices.change(tx, notice.id, {"tries": 3, "problem": "connection refused"})


def mail_waits(env: Environment) -> None:
    mailbox(env)
    env.now += 6 * MINUTE
    for instance in connected(env):
        env.heartbeat(instance)


def restored(env: Environment) -> None:
    with env.services.database.transaction() as tx:
        hold.begin(tx, copied_at=env.now - DAY, now=env.now)


def many_days_later(days: int) -> Callable[[Environment], None]:
    def pass_by(env: Environment) -> None:
        env.now += days * DAY
        for instance in connected(env):
            env.heartbeat(instance)

    return pass_by


def backed_up_long_ago(env: Environment) -> None:
    with env.services.database.transaction() as tx:
        copies.note_copy(tx, made_at=env.now, size=1, lacking=0)
    many_days_later(9)(env)


def unknown_name(env: Environment) -> None:
    services = env.services
    env.services = replace(services, settings=replace(services.settings, public_host="fleet.example.com"))


def unreachable_name(env: Environment) -> None:
    unknown_name(env)
    prepare_certificates(env.folder, ["localhost", "nowhere.invalid"], now=env.now)
    services = env.services
    env.services = replace(services, settings=replace(services.settings, public_host="nowhere.invalid"))


def ahead(env: Environment) -> None:
    env.services = replace(env.services, skew=lambda: timedelta(seconds=90))


YEARS = 365 * 10 - 30
OF_A_FLEET: tuple[Case, ...] = (
    (silent, "HostsSilent", "Error", "1 host(s) were not heard of lately: away", "doctor"),
    (deaf, "HostsDeaf", "Error", "1 host(s) send heartbeats", "restart the agent"),
    (cloned, "HostsCloned", "Error", "1 instance(s)", "--new-identity"),
    (wrong_clock, "HostClocks", "Warning", "late (-7200 s)", "timedatectl"),
    (
        old_program,
        "HostPrograms",
        "Warning",
        "is older than 0.1.0, the oldest that this server supports: ancient",
        "apt",
    ),
    (drifted, "ClientsChanged", "Warning", "bin/courier: changed", "next order"),
    (quarantined, "VersionsQuarantined", "Warning", "(1.1)", "withdraw"),
    (withdrawn, "ClientsWithdrawn", "Warning", "1 with courier 0.9", "upgrade"),
    (behind, "ClientsBehind", "Note", "1 with courier 0.8", "upgrade"),
    (mail_waits, "Notifications", "Error", "1 wait to be sent", "workers"),
    (no_worker, "Orders", "Error", "the oldest for 6 minutes", "workers"),
    (not_fetched, "Commands", "Error", "for 6 minutes, though", "restart the agent"),
)
OF_AN_INSTALLATION: tuple[Case, ...] = (
    (mail_fails, "Notifications", "Warning", "oncall (connection refused)", "notify"),
    (many_days_later(8), "PlaneBackup", "Warning", "never run", "backup FILE"),
    (backed_up_long_ago, "PlaneBackup", "Warning", "9 days ago", "daily"),
    (many_days_later(380), "Certificate", "Warning", "in 17 days", "restart"),
    (many_days_later(400), "Certificate", "Error", "it expired on", "restart"),
    (many_days_later(-2), "Certificate", "Error", "not valid before", "clock"),
    (many_days_later(YEARS), "RootMetadata", "Warning", "root ends on", "sign"),
    (many_days_later(YEARS), "Authority", "Warning", "in 30 days", "enrol"),
    (many_days_later(366), "TargetsMetadata", "Error", "targets ended on", "sign"),
    (unknown_name, "Names", "Error", "fleet.example.com, which", "public_host"),
    (unreachable_name, "Names", "Warning", "does not know nowhere", "public_host"),
    (ahead, "ServerClock", "Warning", "90 s ahead of that of", "timedatectl"),
    (restored, "Hold", "Error", "HELD since", "release-hold"),
)


def check(env: Environment, case: Case, before: set[str]) -> None:
    break_it, code, severity, found, advice = case
    break_it(env)
    finding = findings(env)[code]
    assert code not in before, code
    assert finding["Severity"] == severity, finding
    assert found in finding["Found"], finding
    assert advice in finding["Advice"], finding


def test_what_is_broken_in_a_fleet_is_found_with_what_to_do(env: Environment) -> None:
    """One after the other: each is found when it is broken and not before, on either database."""
    for case in OF_A_FLEET:
        check(env, case, set(bad(env)))


def test_what_is_broken_in_an_installation_is_found_with_what_to_do(sqlite_env: Environment) -> None:
    """Each by itself: the time and the settings are put right in between."""
    env = sqlite_env
    now, services = env.now, env.services
    for case in OF_AN_INSTALLATION:
        env.now, env.services = now, services
        check(env, case, set())


def test_a_release_that_waits_for_a_signature_is_named(sqlite_env: Environment) -> None:
    """Where the targets key is kept elsewhere; and no more once it is signed."""
    env = sqlite_env
    (env.folder / "keys" / "release-targets.key").unlink()  # a new one is made, which no host trusts
    env.services = replace(env.services, repository=Repository.open(env.folder))
    env.release("1.1")
    finding = findings(env)["Signatures"]
    assert (finding["Severity"], len(finding["Subjects"]), "1.1" in finding["Found"]) == ("Warning", 1, True), finding
    assert "release pending" in finding["Advice"]


def test_a_caller_is_told_which_policy_is_missing(sqlite_env: Environment) -> None:
    """One who may look at the server, and one who may not even ask."""
    env = sqlite_env
    reader = env.user("reader", "BackfleetReadOnlyAccess")
    finding = findings(env, caller=reader)["Permissions"]
    assert finding["Severity"] == "Note"
    assert "user/reader may not see clients, upgrade clients" in finding["Found"]
    assert "AliyunHBRReadOnlyAccess, AliyunHBRFullAccess" in finding["Advice"]
    status, body = env.ask(BACKFLEET, "GetServerHealth", caller=env.user("nobody"))
    assert status == 403
    assert "The system policy BackfleetReadOnlyAccess would." in body["Message"]


def test_another_account_learns_of_its_own_hosts_only(sqlite_env: Environment) -> None:
    """Nothing of the server's machine, and of no other account's hosts."""
    env = sqlite_env
    silent(env)
    found = findings(env, caller=env.other_account)
    assert found["HostsSilent"]["Severity"] == "Ok"
    assert found["Hosts"]["Found"] == "0 of 0 can be given work"
    assert not {"Disk", "Keys", "Certificate", "PlaneBackup", "Reports"} & set(found)


def test_a_copy_that_was_made_lately_is_enough(sqlite_env: Environment) -> None:
    """So is a setting that says that it is backed up otherwise."""
    env = sqlite_env
    many_days_later(30)(env)
    services = env.services
    env.services = replace(services, settings=replace(services.settings, backup_days=0))
    assert findings(env)["PlaneBackup"]["Severity"] == "Ok"
    env.services = services
    assert findings(env)["PlaneBackup"]["Severity"] == "Warning"
    with services.database.transaction() as tx:
        copies.note_copy(tx, made_at=env.now - DAY, size=1, lacking=0)
    assert findings(env)["PlaneBackup"]["Severity"] == "Ok"


def test_a_restored_installation_is_not_new(sqlite_env: Environment) -> None:
    """Its last copy is the one that it came from, which cannot know of itself, until there is another."""
    env = sqlite_env
    restored(env)
    found = findings(env)["PlaneBackup"]
    assert found["Severity"] == "Ok"
    assert found["Found"] == (
        f"none since the restore on {env.now:%Y-%m-%d}, from the copy of {env.now - DAY:%Y-%m-%d}"
    )
    many_days_later(30)(env)
    assert findings(env)["PlaneBackup"]["Severity"] == "Warning"
    with env.services.database.transaction() as tx:
        copies.note_copy(tx, made_at=env.now, size=1, lacking=0)
    assert "the last `backfleet backup` was on" in findings(env)["PlaneBackup"]["Found"]


def test_orders_of_a_held_server_are_no_finding_of_their_own(sqlite_env: Environment) -> None:
    """They wait because it is held."""
    env = sqlite_env
    no_worker(env)
    restored(env)
    assert "Orders" not in findings(env)
