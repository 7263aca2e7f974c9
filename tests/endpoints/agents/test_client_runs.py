"""Runs of clients as an agent reports them, over HTTP with a real signature."""

import json
from datetime import timedelta
from typing import Any

import pytest

from backfleet import backups, fleet
from backfleet.backups import ClientRun, RunFilter
from backfleet.fleet import ClientStatus
from backfleet.ids import draw as really_draw
from backfleet.paging import Page
from endpoints.agents.hosts import ACCOUNT, REGION, Host


@pytest.fixture
def client(host: Host) -> str:
    """A client of rclone on the host."""
    server = host.server
    with server.database.transaction() as tx:
        on = fleet.instance(tx, ACCOUNT, host.instance_id)
        assert on is not None
        made = fleet.ensure_client(
            tx, on, "rclone", "stable", status=ClientStatus.ACTIVATED, now=server.clock(), draw=really_draw
        )
    return made.id


def run(host: Host, number: int = 1, ago: float = 60, **changes: Any) -> dict[str, Any]:
    begun = int((host.server.clock() - timedelta(seconds=ago)).timestamp() * 1000)
    made = {
        "id": f"{number:032x}", "package": "rclone", "version": "1.75.2", "begun": begun, "ended": begun + 5000,
        "result": "succeeded", "code": 0, "user": "backup", "caller": "cron", "backup": True,
    }  # fmt: skip
    return made | changes


def report(host: Host, *runs: Any, ahead: float = 0) -> Any:
    now = int((host.server.clock() + timedelta(seconds=ahead)).timestamp() * 1000)
    answer = host.post("/backfleet/runs", json.dumps({"now": now, "runs": list(runs)}).encode())
    assert answer.status == 200
    return answer.json


def stored(host: Host, **selected: Any) -> list[ClientRun]:
    with host.server.database.reading() as tx:
        return backups.find_runs(tx, ACCOUNT, REGION, RunFilter(**selected), Page(1, 500)).items


def test_a_run_is_stored_once_however_often_it_is_reported(host: Host, client: str) -> None:
    """First its start, then its end; a late repetition of the start does not undo the end."""
    begun = run(host, ended=None, result="", code=None)
    assert report(host, begun)["result"] == {"Stored": 1}
    assert [(each.result, each.client_id) for each in stored(host)] == [("", client)]
    assert report(host, run(host, result="failed", code=3))["result"] == {"Stored": 0}
    report(host, begun)
    (found,) = stored(host)
    assert (found.result, found.code, found.user, found.caller) == ("failed", 3, "backup", "cron")


def test_times_are_by_the_servers_clock(host: Host, client: str) -> None:
    """Whatever the host's clock shows; and none is in the future."""
    ahead = 7200.0
    begun = int((host.server.clock() + timedelta(seconds=ahead - 60)).timestamp() * 1000)
    report(host, run(host, begun=begun, ended=begun + 999_000), ahead=ahead)
    (found,) = stored(host)
    assert found.begun_at == host.server.clock() - timedelta(seconds=60)
    assert found.ended_at == host.server.clock()


def test_what_is_of_another_form_is_left_out(host: Host, client: str) -> None:
    """The rest of the report counts: a host would only send it again."""
    bad = [
        None, 7, {}, run(host, id="../x"), run(host, package="no such"), run(host, result="great"),
        run(host, begun="now"), run(host, begun=10**30), run(host, code=True), run(host, version=""),
        run(host, 9, package="restic"),
    ]  # fmt: skip
    assert report(host, *bad, run(host, 2, code=99999, user="a\x1b[2J" * 50))["result"] == {"Stored": 1}
    (found,) = stored(host)
    assert (found.code, "\x1b" in found.user, len(found.user)) == (256, False, 64)
    for body in (b"", b"[]", b'{"now": 1}', b'{"now": "x", "runs": []}', b"[" * 100_000):
        assert host.post("/backfleet/runs", body).json["errCode"] == "InvalidRuns"


def test_only_the_newest_runs_of_a_client_are_kept(host: Host, client: str) -> None:
    """A thousand."""
    for start in range(0, 1100, 100):
        report(host, *(run(host, number, ago=10_000 - number) for number in range(start, start + 100)))
    with host.server.database.reading() as tx:
        found = backups.find_runs(tx, ACCOUNT, REGION, RunFilter(client_id=client), Page(1, 1))
    assert (found.total, found.items[0].id) == (1000, f"{1099:032x}")


def test_a_backup_that_does_not_begin_when_it_usually_does_is_overdue(host: Host, client: str) -> None:
    """After it has begun it is not."""
    day = 86400
    report(host, *(run(host, number, ago=number * day) for number in range(1, 7)))

    def overdue() -> list[str]:
        with host.server.database.reading() as tx:
            return [each.client_id for each in backups.overdue(tx, ACCOUNT, REGION, now=host.server.clock())]

    assert overdue() == []
    host.server.clock.advance(days=1.5)
    assert overdue() == [client]
    report(host, run(host, 8, ago=60))
    assert overdue() == []


def test_nobody_reports_for_another_host(host: Host, client: str) -> None:
    """A run is of the clients on the host that signs; without a signature there is none."""
    other = host.server.enrol(1)
    assert report(other, run(other))["result"] == {"Stored": 0}
    assert host.server.ask("POST", "/luban/api/backfleet/runs", b"{}").status in (401, 403, 404)
    assert stored(host) == []


def test_the_first_backup_with_a_known_result_counts(host: Host, client: str) -> None:
    """Under the version that is asked for, from the moment on that is asked for, and only backups."""
    now = host.server.clock()

    def first(version: str = "1.75.2") -> str | None:
        with host.server.database.reading() as tx:
            return backups.first_results(tx, version, {client: now - timedelta(seconds=100)}).get(client)

    report(host, run(host, 1, ago=200, result="failed", code=1), run(host, 2, ago=90, backup=False))
    assert first() is None
    report(host, run(host, 3, ago=80, result="", code=None, ended=None), run(host, 4, ago=70, version="1.74.4"))
    assert (first(), first("1.74.4")) == (None, "succeeded")
    report(host, run(host, 5, ago=60, result="unknown", code=None))
    assert first() == "unknown"
    report(host, run(host, 6, ago=50, result="failed", code=1), run(host, 7, ago=40))
    assert first() == "failed"
