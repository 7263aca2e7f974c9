"""ListRuns."""

from datetime import timedelta
from typing import Any

import pytest

from backfleet import backups
from backfleet.backups import ReportedRun
from operations.backfleet.conftest import Api
from operations.environment import Environment, make_environment


@pytest.fixture
def env(database: Any, tmp_path: Any, now: Any, draw: Any) -> Environment:
    """A server with a fleet."""
    return make_environment(database, tmp_path, now, draw)


def note(env: Environment, instance_id: str, number: int, **changes: Any) -> None:
    begun = env.now - timedelta(minutes=100 - number)
    values: dict[str, Any] = {
        "id": f"{number:032x}", "package": "courier", "version": "1.0", "begun_at": begun,
        "ended_at": begun + timedelta(seconds=90), "result": "succeeded", "code": 0, "user": "root", "caller": "cron",
        "is_backup": True,
    }  # fmt: skip
    with env.services.database.transaction() as tx:
        backups.note_runs(tx, instance_id, [ReportedRun(**values | changes)], now=env.now)


def ask(env: Environment, **fields: Any) -> dict[str, Any]:
    status, body = env.ask("2026-11-01", "ListRuns", **{name: str(value) for name, value in fields.items()})
    assert status == 200, body
    return body


def test_runs_are_listed_newest_first_by_client_version_result_and_time(env: Environment) -> None:
    """With exit code and duration."""
    (one, client), (two, other) = env.host_with_client("1.0"), env.host_with_client("1.0")
    note(env, one, 1)
    note(env, one, 2, result="failed", code=-9, version="2.0")
    note(env, one, 3, result="", code=None, ended_at=None, is_backup=False)
    note(env, two, 4, result="unknown", code=None)
    everything = ask(env)["Runs"]
    assert [(run["ClientId"], run["Result"]) for run in everything] == [
        (other, "unknown"), (client, "running"), (client, "failed"), (client, "succeeded"),
    ]  # fmt: skip
    assert (everything[2]["ExitCode"], everything[2]["DurationSeconds"]) == (-9, 90)
    assert "ExitCode" not in everything[1]
    assert "EndTime" not in everything[1]

    def numbers(**fields: Any) -> list[int]:
        return [int(run["RunId"], 16) for run in ask(env, **fields)["Runs"]]

    assert numbers(ClientId=client) == numbers(InstanceId=one) == [3, 2, 1]
    assert numbers(ClientVersion="2.0") == numbers(Result="failed") == [2]
    assert numbers(Result="running") == [3]
    assert numbers(OnlyBackups="true") == [4, 2, 1]
    since = int((env.now - timedelta(minutes=98)).timestamp())
    assert (numbers(StartTime=since), numbers(EndTime=since)) == ([4, 3, 2], [1])
    assert (numbers(PageSize=1, PageNumber=2), ask(env, PageSize=1)["TotalCount"]) == ([3], 4)


def test_f43_each_backup_names_the_lowest_version_known_to_read_it(env: Environment) -> None:
    """Also after its release was withdrawn. Of what no manifest tells, the version that made it is known to read it."""
    env.release("1.0")
    env.release("2.0", readable_by="1.5", withdrawn=True)
    env.release("2.0", readable_by="1.10", platform="linux-arm64")
    env.release("2.0", package="another", readable_by="1.99")
    instance, _ = env.host_with_client("2.0")
    for number, version in enumerate(("1.0", "2.0", "0.1-local")):
        note(env, instance, number, version=version)
    note(env, instance, 3, is_backup=False)
    found = {run["ClientVersion"]: run for run in ask(env, OnlyBackups="true")["Runs"]}
    readers = {version: run["ReadableBy"] for version, run in found.items()}
    assert readers == {"1.0": "1.0", "2.0": "1.10", "0.1-local": "0.1-local"}  # where platforms differ, the highest
    assert "ReadableBy" not in ask(env, Result="succeeded", PageSize=1)["Runs"][0]


def test_another_account_sees_no_run(env: Environment) -> None:
    """Nor what is overdue."""
    instance, _ = env.host_with_client("1.0")
    for number in range(5):
        note(env, instance, number, begun_at=env.now - timedelta(days=20 - number))
    assert (ask(env)["TotalCount"], ask(env)["OverdueCount"]) == (5, 1)
    status, body = env.ask("2026-11-01", "ListRuns", env.other_account)
    assert (status, body.get("TotalCount"), body.get("OverdueCount")) == (200, 0, 0)
    status, body = env.ask("2026-11-01", "ListRuns", env.user("nobody"))
    assert status == 403


def test_a_result_that_no_run_can_have_is_refused(api: Api) -> None:
    """With those that there are."""
    assert api.refused("ListRuns", Result="great") == (400, "InvalidParameter")
