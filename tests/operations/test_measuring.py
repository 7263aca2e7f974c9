"""What `/metrics` shows of rollouts and fleets: real figures, a bounded number of them, and nothing that is over."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from backfleet import operations
from backfleet.carriers import ecs
from backfleet.carriers.ecs import _store
from backfleet.fleet import CarrierKind
from backfleet.ids import Draw
from backfleet.operations import measuring
from backfleet.storage import Database
from rollouts.conftest import make_fleet
from rollouts.fleet import POLICY, Fleet, rolls_back
from rollouts.test_installs import INSTALL, empty
from rollouts.test_settings import SETTINGS
from upgrades.helpers import report_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: the keys in it cost time to make."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def hosts(database: Database, data: Path, now: datetime, draw: Draw) -> Iterator[Fleet]:
    """A fleet, and no figures of it left behind."""
    yield make_fleet(database, data, now, draw)
    for gauge in measuring._ALL:
        gauge.clear()


def figures(hosts: Fleet, name: str) -> dict[tuple[str, ...], float]:
    """Measure now; return the values of a figure by its labels without the account."""
    operations.Measuring(hosts.env.services).run_once(hosts.now)
    found = {}
    for metric in REGISTRY.collect():
        for sample in metric.samples:
            if sample.name == name:
                found[tuple(value for key, value in sample.labels.items() if key != "account")] = sample.value
    return found


def test_a_rollout_is_shown_by_ring_and_state_with_its_budget_and_its_oldest_wait(hosts: Fleet) -> None:
    """One member fails; the next ring waits."""
    clients = hosts.grow(4)
    hosts.silent = {hosts.instance_of(client) for client in clients}
    rollout = hosts.roll_out("[failure]\nmax_failed = 2")
    hosts.step()
    first = next(client for client, each in hosts.members(rollout).items() if each["State"] == "upgrading")
    hosts.answers[hosts.instance_of(first)] = rolls_back
    hosts.silent.discard(hosts.instance_of(first))
    hosts.step()
    hosts.step()
    members = figures(hosts, "backfleet_rollout_members")
    assert members[rollout, "canary", "rolled_back"] == 1
    assert members[rollout, "rest", "pending"] == 2
    assert figures(hosts, "backfleet_rollout_failures_left") == {(rollout, ""): 1}
    assert figures(hosts, "backfleet_rollout_state")[rollout, "courier to 2.0", "courier", "2.0", "running"] == 1
    shown = hosts.show(rollout)
    assert (shown["FailuresAllowed"], shown["FailuresLeft"]) == (2, 1)


def test_the_age_of_the_oldest_wait_grows_while_a_ring_that_runs_waits(hosts: Fleet) -> None:
    """One order at a time: the other member of the ring waits for its turn; the next ring has not begun to wait."""
    clients = hosts.grow(4)
    hosts.silent = {hosts.instance_of(client) for client in clients}
    rollout = hosts.roll_out(text=POLICY.replace('in_flight = "100%"', "in_flight = 1"))
    hosts.decide()
    hosts.at += 600
    waits = figures(hosts, "backfleet_rollout_oldest_wait_seconds")
    assert waits == {(rollout, "canary"): 600}


def test_a_rollout_that_ended_has_no_budget_to_be_called_for(hosts: Fleet) -> None:
    """All went well, and a person takes it back: the alert for spent budgets stays silent, then and afterwards."""
    hosts.grow(3)
    rollout = hosts.roll_out()
    assert hosts.run(rollout)["State"] == "completed"
    hosts.ask("RollBackRollout", RolloutId=rollout)
    for state in ("rolling_back", "rolled_back"):
        assert hosts.run(rollout, 0 if state == "rolling_back" else 20)["State"] == state
        assert figures(hosts, "backfleet_rollout_failures_left") == {}
    assert figures(hosts, "backfleet_rollout_members")[rollout, "rest", "rolled_back"] == 1


def test_a_rollout_that_ended_disappears_after_an_hour(hosts: Fleet) -> None:
    """With every figure of it."""
    hosts.grow(3)
    rollout = hosts.roll_out()
    assert hosts.run(rollout)["State"] == "completed"
    assert any(labels[0] == rollout for labels in figures(hosts, "backfleet_rollout_members"))
    hosts.at += timedelta(hours=1, minutes=1).total_seconds()
    for name in ("members", "state", "failures_left", "oldest_wait_seconds"):
        assert figures(hosts, f"backfleet_rollout_{name}") == {}


@pytest.mark.parametrize(("text", "version"), [(SETTINGS, ""), (INSTALL, "2.0")], ids=["settings", "install"])
def test_rollouts_of_other_kinds_have_the_same_figures(hosts: Fleet, text: str, version: str) -> None:
    """Settings have no version; an install has members on hosts that had no client before."""
    if version:
        empty(hosts, 4)
    else:
        hosts.grow(4)
    rollout = hosts.roll_out("[failure]\nmax_failed = 2", text=text)
    members = hosts.members(rollout)
    first = next(each["InstanceId"] for each in members.values() if each["Ring"] == "canary")
    hosts.silent = {each["InstanceId"] for each in members.values()} - {first}
    hosts.answers[first] = lambda item: report_of(item, "failed", code="InternalError", message="no space is left")
    for _ in range(2):
        hosts.step()
    found = figures(hosts, "backfleet_rollout_members")
    assert [found[rollout, "canary", state] for state in ("failed", "upgrading")] == [1, 1], found
    assert found[rollout, "rest", "pending"] == 2
    assert figures(hosts, "backfleet_rollout_failures_left") == {(rollout, ""): 1}
    name = hosts.show(rollout)["Name"]
    assert figures(hosts, "backfleet_rollout_state") == {(rollout, name, "courier", version, "running"): 1}
    shown = hosts.show(rollout)
    assert (shown["Failures"], shown["FailuresLeft"], shown["Rings"][0]["State"]) == (1, 1, "running")


def test_a_fleet_is_shown_by_version_with_what_is_behind_offline_or_changed(hosts: Fleet) -> None:
    """2.0 is offered; those with 1.0 are behind it."""
    hosts.grow(3)
    newer = hosts.grow(2, "2.0")
    hosts._hear()
    assert figures(hosts, "backfleet_clients") == {("courier", "1.0"): 3, ("courier", "2.0"): 2}
    assert figures(hosts, "backfleet_clients_behind") == {("courier",): 3}
    assert figures(hosts, "backfleet_clients_drifted") == {(): 0}
    assert figures(hosts, "backfleet_instances") == {("reachable",): 5, ("offline",): 0}
    assert figures(hosts, "backfleet_host_programs") == {("0.1.0",): 5}
    hosts.silent = {hosts.instance_of(client) for client in newer}
    hosts.at += hosts.env.services.settings.fit_seconds + 60
    hosts._hear()
    assert figures(hosts, "backfleet_instances") == {("reachable",): 3, ("offline",): 2}


def test_their_number_is_bounded(hosts: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commonest versions are named, the others are summed up; the newest rollouts are shown."""
    monkeypatch.setattr(measuring, "MOST_VERSIONS", 2)
    monkeypatch.setattr(measuring, "MOST_ROLLOUTS", 0)
    for version, number in (("1.0", 3), ("1.1", 2), ("1.2", 1), ("1.3", 1)):
        hosts.grow(number, version)
    hosts.roll_out()
    found = figures(hosts, "backfleet_clients")
    assert found == {("courier", "1.0"): 3, ("courier", "1.1"): 2, ("courier", "others"): 2}
    assert figures(hosts, "backfleet_rollout_state") == {}


def test_orders_are_shown_by_outcome_and_code_and_what_waits_by_its_age(hosts: Fleet) -> None:
    """Those that ended within the last hour; later they are gone."""
    clients = hosts.grow(4)
    hosts.silent = {hosts.instance_of(client) for client in clients}
    rollout = hosts.roll_out()
    hosts.step()
    hosts.at += 60
    assert max(figures(hosts, "backfleet_orders_oldest_seconds").values()) >= 60
    assert sum(figures(hosts, "backfleet_orders_open").values()) == 2
    assert figures(hosts, "backfleet_commands_waiting") == {(): 2}
    assert figures(hosts, "backfleet_held") == {(): 0}
    for client in [client for client, each in hosts.members(rollout).items() if each["State"] == "upgrading"]:
        hosts.answers[hosts.instance_of(client)] = rolls_back
        hosts.silent.discard(hosts.instance_of(client))
    hosts.step()
    hosts.step()
    assert figures(hosts, "backfleet_orders_ended")["courier", "upgrade", "failed", "RolledBack"] == 2
    assert figures(hosts, "backfleet_commands_waiting") == {}
    hosts.at += timedelta(hours=1, minutes=1).total_seconds()
    assert figures(hosts, "backfleet_orders_ended") == {}


def test_backups_are_counted_once_when_they_end(hosts: Fleet) -> None:
    """However often they are reported; a version that the client does not have is not a figure of its own."""
    client, *_ = hosts.grow(1)
    before = figures(hosts, "backfleet_backups_total")

    def since(*labels: str) -> float:
        return figures(hosts, "backfleet_backups_total").get(labels, 0) - before.get(labels, 0)

    hosts.back_up(client, "failed")
    hosts.back_up(client, version="7.7.7-made-up")
    assert since("courier", "1.0", "failed") == 1
    assert since("courier", "other", "succeeded") == 1
    assert since("courier", "7.7.7-made-up", "succeeded") == 0
    assert figures(hosts, "backfleet_backups_overdue") == {(): 0}


def test_cloud_accounts_are_shown_with_the_problem_that_they_have(hosts: Fleet) -> None:
    """Of either cloud. One that is deleted is shown no more."""
    ask, key = hosts.env.ask, {"KeyId": "LTAI1", "KeySecret": "hush"}
    for cloud, names in (("Ecs", ("one", "two", "three")), ("Ssm", ("aws",))):
        for name in names:
            assert ask("2026-11-01", f"Create{cloud}Account", Name=name, **key)[0] == 200
    account = hosts.env.root.account_id
    with hosts.env.services.database.transaction() as tx:
        for name, cloud, code in (("two", CarrierKind.ECS, "EcsKeyRefused"), ("aws", CarrierKind.SSM, "SsmThrottled")):
            found = ecs.find_account(tx, account, name, cloud)
            assert found is not None
            _store.note_account(tx, found, code, "it was refused", None)
    shown = {("ecs", "none"): 2, ("ecs", "EcsKeyRefused"): 1, ("ssm", "SsmThrottled"): 1}
    assert figures(hosts, "backfleet_cloud_accounts") == shown
    ask("2026-11-01", "DeleteEcsAccount", Name="two")
    assert figures(hosts, "backfleet_cloud_accounts") == {k: v for k, v in shown.items() if k[1] != "EcsKeyRefused"}
