"""ListRuns: the ledger of backups."""

from datetime import UTC, datetime
from typing import Any, Final

from backfleet import backups, releases
from backfleet.backups import ClientRun, Overdue, RunFilter
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import seconds
from backfleet.paging import Page
from backfleet.values import value_object
from backfleet.wire.parameters import boolean, integer, text
from backfleet.wire.shapes import Maybe

RUNNING: Final = "running"
RESULTS: Final = (RUNNING, backups.SUCCEEDED, backups.FAILED, backups.UNKNOWN)
MOST_OVERDUE: Final = 100  # in one answer
LATEST: Final = 253_402_300_799  # seconds of Unix time: the last of the year 9999


@value_object
class ListRuns:
    """Which runs, and a page. Times are in seconds of Unix time."""

    client_id: str | None = text("ClientId", longest=64)
    instance_id: str | None = text("InstanceId", longest=64)
    package: str | None = text("PackageName", longest=64)
    version: str | None = text("ClientVersion", longest=64)
    result: str | None = text("Result", choices=RESULTS)
    only_backups: bool = boolean("OnlyBackups", default=False)
    since: int | None = integer("StartTime", least=0, most=LATEST)
    until: int | None = integer("EndTime", least=0, most=LATEST)
    page_number: int = integer("PageNumber", default=1, least=1, most=1_000_000)
    page_size: int = integer("PageSize", default=50, least=1, most=500)


RUN: Final = {
    "RunId": str,
    "ClientId": str,
    "InstanceId": str,
    "PackageName": str,
    "ClientVersion": str,
    "Result": str,
    "ExitCode": Maybe(int),
    "StartTime": int,
    "EndTime": Maybe(int),
    "DurationSeconds": Maybe(int),
    "User": str,
    "Caller": str,
    "IsBackup": bool,
    "ReadableBy": Maybe(str),
}
OVERDUE: Final = {"ClientId": str, "LastStartTime": int, "UsualSeconds": int, "ExpectedTime": int}


@operation(
    BACKFLEET,
    "ListRuns",
    action="backfleet:ListRuns",
    answer={
        "Runs": [RUN],
        "PageNumber": int,
        "PageSize": int,
        "TotalCount": int,
        "Overdue": [OVERDUE],
        "OverdueCount": int,
    },
)
def list_runs(call: Call, asked: ListRuns) -> dict[str, Any]:
    """List runs of clients, newest first, and the clients whose next backup did not begin when it usually does.

    A run is noted where the host's agent is our own. Its Result is running, succeeded, failed, or unknown: the host did
    not see how it ended. ExitCode is negative for one that a signal killed. Overdue has at most 100, the longest first.
    ReadableBy, of backups, is the lowest version known to read them: restore with it, or with a newer one.
    """
    page = Page(asked.page_number, asked.page_size)
    selected = RunFilter(
        client_id=asked.client_id,
        instance_id=asked.instance_id,
        package=asked.package,
        version=asked.version,
        result="" if asked.result == RUNNING else asked.result,
        since=_moment(asked.since),
        until=_moment(asked.until),
        is_backup=True if asked.only_backups else None,
    )
    with call.services.database.reading() as tx:
        found = backups.find_runs(tx, call.account_id, call.region, selected, page)
        late = backups.overdue(tx, call.account_id, call.region, now=call.now)
        readers = releases.lowest_readers(tx, {(each.package, each.version) for each in found.items})
    late = [each for each in late if asked.client_id in (None, each.client_id)]
    return {
        "Runs": [_run(each, readers[each.package, each.version]) for each in found.items],
        "PageNumber": page.number,
        "PageSize": page.size,
        "TotalCount": found.total,
        "Overdue": [_overdue(each) for each in late[:MOST_OVERDUE]],
        "OverdueCount": len(late),
    }


def _moment(given: int | None) -> datetime | None:
    return None if given is None else datetime.fromtimestamp(given, UTC)


def _run(run: ClientRun, readable_by: str) -> dict[str, Any]:
    shown = {
        "RunId": run.id,
        "ClientId": run.client_id,
        "InstanceId": run.instance_id,
        "PackageName": run.package,
        "ClientVersion": run.version,
        "Result": run.result or RUNNING,
        "StartTime": seconds(run.begun_at),
        "User": run.user,
        "Caller": run.caller,
        "IsBackup": run.is_backup,
    }
    if run.is_backup and readable_by:
        shown["ReadableBy"] = readable_by
    if run.code is not None:
        shown["ExitCode"] = run.code
    if run.ended_at is not None:
        shown["EndTime"] = seconds(run.ended_at)
        shown["DurationSeconds"] = max(int((run.ended_at - run.begun_at).total_seconds()), 0)
    return shown


def _overdue(each: Overdue) -> dict[str, Any]:
    return {
        "ClientId": each.client_id,
        "LastStartTime": seconds(each.last_begun_at),
        "UsualSeconds": int(each.usual.total_seconds()),
        "ExpectedTime": seconds(each.expected_by),
    }
