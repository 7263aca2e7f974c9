"""The only SQL on runs."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from backfleet.backups._tables import intervals, runs
from backfleet.backups.model import ClientRun, Overdue, RunFilter
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction

IDS_AT_ONCE: Final = 500  # in one statement
_COLUMNS: Final = [runs.c[field.name] for field in fields(ClientRun)]


def put(tx: Transaction, run: ClientRun) -> tuple[bool, bool]:
    """Store a run, or how it ended; return whether it is new, and whether its end is. An end that is stored stays."""
    row = asdict(run)
    if tx.add_if_new(runs, row):
        return True, bool(run.result)
    if not run.result:
        return False, False
    mine = sa.and_(runs.c.client_id == run.client_id, runs.c.id == run.id, runs.c.result == "")
    changed = tx.run(sa.update(runs).where(mine).values(ended_at=run.ended_at, result=run.result, code=run.code))
    return False, bool(changed)


def trim(tx: Transaction, client_id: str, most: int, before: datetime) -> None:
    """Delete the oldest runs of a client, so that `most` stay, and those of any client that began `before`."""
    mine = sa.select(runs.c.begun_at).where(runs.c.client_id == client_id).order_by(runs.c.begun_at.desc())
    oldest = tx.first(mine.offset(most).limit(1))
    if oldest is not None:
        tx.run(sa.delete(runs).where(runs.c.client_id == client_id, runs.c.begun_at <= oldest.begun_at))
    tx.run(sa.delete(runs).where(runs.c.begun_at < before))


def last_starts(tx: Transaction, client_id: str, most: int) -> list[datetime]:
    """Return when the last backups of a client began, the newest first."""
    mine = sa.select(runs.c.begun_at).where(runs.c.client_id == client_id, runs.c.is_backup)
    return [row.begun_at for row in tx.rows(mine.order_by(runs.c.begun_at.desc()).limit(most))]


def put_interval(tx: Transaction, of: ClientRun, last: datetime, usual: timedelta, expected_by: datetime) -> None:
    """Store when the next backup of a client is expected."""
    values = {
        "last_begun_at": last,
        "usual_seconds": int(usual.total_seconds()),
        "expected_by": expected_by,
    }
    named = {"client_id": of.client_id, "account_id": of.account_id, "region": of.region}
    if not tx.add_if_new(intervals, named | values):
        tx.run(sa.update(intervals).where(intervals.c.client_id == of.client_id).values(values))


def overdue(tx: Transaction, account_id: str, region: str, now: datetime) -> list[Overdue]:
    """Return the clients whose next backup was expected before now, the latest first."""
    query = sa.select(intervals).where(
        intervals.c.account_id == account_id, intervals.c.region == region, intervals.c.expected_by < now
    )
    return [
        Overdue(row.client_id, row.last_begun_at, timedelta(seconds=row.usual_seconds), row.expected_by)
        for row in tx.rows(query.order_by(intervals.c.expected_by, intervals.c.client_id))
    ]


def page_of(tx: Transaction, account_id: str, region: str, selected: RunFilter, page: Page) -> Listing[ClientRun]:
    """Return an account's runs, newest first."""
    where: list[Any] = [runs.c.account_id == account_id, runs.c.region == region]
    for name in ("client_id", "instance_id", "package", "version", "result", "is_backup"):
        value = getattr(selected, name)
        where += [] if value is None else [runs.c[name] == value]
    where += [] if selected.since is None else [runs.c.begun_at >= selected.since]
    where += [] if selected.until is None else [runs.c.begun_at < selected.until]
    total = tx.scalar(sa.select(sa.func.count()).select_from(runs).where(*where))
    query = sa.select(*_COLUMNS).where(*where).order_by(runs.c.begun_at.desc(), runs.c.id)
    rows = tx.rows(query.offset(page.offset).limit(page.size))
    return Listing([ClientRun(**row._mapping) for row in rows], total)


def ended_backups(
    tx: Transaction, client_ids: Sequence[str], version: str | None, since: datetime
) -> list[tuple[str, datetime, str]]:
    """Return client, start and result of the ended backups of clients, under a version or any, the oldest first."""
    found = []
    for start in range(0, len(client_ids), IDS_AT_ONCE):
        query = sa.select(runs.c.client_id, runs.c.begun_at, runs.c.result).where(
            runs.c.client_id.in_(client_ids[start : start + IDS_AT_ONCE]),
            runs.c.begun_at >= since,
            sa.true() if version is None else runs.c.version == version,
            runs.c.is_backup,
            runs.c.result != "",
        )
        rows = tx.rows(query.order_by(runs.c.begun_at, runs.c.id))
        found += [(row.client_id, row.begun_at, row.result) for row in rows]
    return found


def count_by_result(tx: Transaction, account_id: str, region: str, selected: RunFilter) -> dict[str, int]:
    """Return how many backups of a package ended how, by result, under a version or, if it is None, under any."""
    where: list[Any] = [runs.c.account_id == account_id, runs.c.region == region, runs.c.is_backup]
    where += [runs.c.package == selected.package, runs.c.result != ""]
    where += [] if selected.version is None else [runs.c.version == selected.version]
    where += [] if selected.since is None else [runs.c.begun_at >= selected.since]
    where += [] if selected.until is None else [runs.c.begun_at < selected.until]
    query = sa.select(runs.c.result, sa.func.count().label("number")).where(*where).group_by(runs.c.result)
    return {row.result: row.number for row in tx.rows(query)}
