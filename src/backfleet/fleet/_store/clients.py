"""Backup clients."""

import functools
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final

import sqlalchemy as sa

from backfleet.fleet._store.instances import by_id as instances_by_id
from backfleet.fleet._store.instances import reachable
from backfleet.fleet._store.tags import has_tags
from backfleet.fleet._tables import clients, instances
from backfleet.fleet.model import (
    MOVING,
    Change,
    Client,
    ClientFilter,
    ClientName,
    ClientStatus,
    Failure,
    Instance,
    Watched,
)
from backfleet.paging import Listing, Page
from backfleet.storage import Prepared, Reader, Transaction, reader

IDS_AT_ONCE: Final = 500  # in one statement
_NEWS: Final = attrgetter(*(field.name for field in fields(Change) if field.name != "client_id"))
FAILURES_KEPT: Final = 1024  # read: each call for a client reads it again
_AS_TEXT: Final = sa.func.aggregate_strings(clients.c.id, ",").label("ids")  # one text: so many rows are slow to read
CHECK_NEXT: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""A `checked_at` before all real ones: the client's host is asked next."""

_CONFIRMED: Final = sa.or_(
    sa.bindparam("confirmed", type_=sa.Boolean), sa.bindparam("new_version", type_=sa.String).is_not(None)
)
# Built once: every report of every host uses it.
_CHANGED: Final = sa.update(clients).values(
    status=sa.func.coalesce(sa.bindparam("new_status", type_=sa.String), clients.c.status),
    version=sa.func.coalesce(sa.bindparam("new_version", type_=sa.String), clients.c.version),
    drift=sa.func.coalesce(sa.bindparam("new_drift", type_=sa.Text), clients.c.drift),
    failure=sa.func.coalesce(sa.bindparam("new_failure", type_=sa.Text), clients.c.failure),
    checked_at=sa.case(
        (
            sa.bindparam("new_check", type_=clients.c.checked_at.type).is_not(None),
            sa.bindparam("new_check", type_=clients.c.checked_at.type),
        ),
        (sa.bindparam("unsure", type_=sa.Boolean), sa.literal(CHECK_NEXT, clients.c.checked_at.type)),
        (sa.bindparam("new_version", type_=sa.String).is_not(None), sa.bindparam("at")),
        else_=clients.c.checked_at,
    ),
    confirmed_at=sa.case(
        (_CONFIRMED, sa.bindparam("at", type_=clients.c.confirmed_at.type)), else_=clients.c.confirmed_at
    ),
    in_doubt=sa.case(
        (_CONFIRMED, sa.false()),
        (sa.bindparam("unsure", type_=sa.Boolean), sa.true()),
        else_=clients.c.in_doubt,
    ),
    updated_at=sa.case((sa.bindparam("confirmed", type_=sa.Boolean), clients.c.updated_at), else_=sa.bindparam("at")),
)
_IDS: Final[sa.BindParameter[Any]] = sa.bindparam("ids", expanding=True)
_CHANGE: Final = Prepared(_CHANGED.where(clients.c.id == sa.bindparam("of")))
# Locked in the order of their ids first: an update alone takes its rows in any order.
_IN_ORDER: Final = sa.select(clients.c.id).where(clients.c.id.in_(_IDS)).order_by(clients.c.id).with_for_update()
_CHANGE_ALIKE: Final = Prepared(_CHANGED.where(clients.c.id.in_(_IN_ORDER)))
# The same for changes of nothing but a status, as of the clients of a new task: fewer indexes are touched.
_MOVED: Final = sa.update(clients).values(status=sa.bindparam("new_status"), updated_at=sa.bindparam("at"))
_MOVE_ALIKE: Final = Prepared(_MOVED.where(clients.c.id.in_(_IN_ORDER)))
_MOVE_ALIKE_SQLITE: Final = Prepared(_MOVED.where(clients.c.id.in_(_IDS)))  # where nobody else writes meanwhile
_BY_ID: Final = Prepared(
    sa.select(clients).where(
        clients.c.id.in_(_IDS),
        clients.c.account_id == sa.bindparam("in"),
        clients.c.region == sa.bindparam("of_region"),
    )
)
_ON_INSTANCES: Final = Prepared(
    sa.select(clients).where(clients.c.instance_id.in_(_IDS)).order_by(clients.c.created_at, clients.c.id)
)
_NAMED_ON: Final = Prepared(
    sa.select(clients.c.id, clients.c.instance_id, clients.c.package)
    .join(instances, instances.c.id == clients.c.instance_id)
    .where(
        instances.c.id.in_(_IDS),
        instances.c.account_id == sa.bindparam("in"),
        instances.c.region == sa.bindparam("of_region"),
        instances.c.deregistered_at.is_(None),
    )
    .order_by(clients.c.created_at, clients.c.id)
)
_NAMED: Final = Prepared(
    sa.select(clients.c.id, clients.c.instance_id, clients.c.package)
    .join(instances, instances.c.id == clients.c.instance_id)
    .where(
        clients.c.id.in_(_IDS),
        *(column == sa.bindparam("in") for column in (clients.c.account_id, instances.c.account_id)),
        *(column == sa.bindparam("of_region") for column in (clients.c.region, instances.c.region)),
        instances.c.deregistered_at.is_(None),
    )
)
_FILTERED: Final[dict[str, sa.Column[Any]]] = {
    "status": clients.c.status,
    "version": clients.c.version,
    "package": clients.c.package,
    "channel": clients.c.channel,
    "instance_name": instances.c.name,
    "hostname": instances.c.hostname,
}


def add(tx: Transaction, client: Client) -> bool:
    """Add a client. Return False if the instance has a client of that package."""
    return tx.add_if_new(clients, _row(client))


def add_those_new(tx: Transaction, added: Sequence[Client]) -> None:
    """Add clients, but those whose instance has a client of that package."""
    tx.add_those_new(clients, [_row(client) for client in added])


def by_id(tx: Transaction, account_id: str, region: str, ids: Sequence[str]) -> dict[str, Client]:
    """Return the clients with these ids that belong to the account."""
    if not ids:
        return {}
    return {client.id: client for client in tx.read(_READ, _BY_ID, {"ids": ids, "in": account_id, "of_region": region})}


def on_instances(tx: Transaction, instance_ids: Sequence[str]) -> list[Client]:
    """Return every client of these instances, oldest first."""
    if not instance_ids:
        return []
    return tx.read(_READ, _ON_INSTANCES, {"ids": instance_ids})


def names_on(tx: Transaction, account_id: str, region: str, instance_ids: Sequence[str]) -> list[ClientName]:
    """Return which clients are on these instances, as far as those are enrolled there, the oldest first."""
    if not instance_ids:
        return []
    return tx.read(_READ_NAME, _NAMED_ON, {"ids": instance_ids, "in": account_id, "of_region": region})


def names_of(tx: Transaction, account_id: str, region: str, ids: Sequence[str]) -> list[ClientName]:
    """Return where these clients are, as far as their instances are enrolled."""
    return tx.read(_READ_NAME, _NAMED, {"ids": ids, "in": account_id, "of_region": region}) if ids else []


def change(tx: Transaction, changes: Sequence[Change], now: datetime) -> None:
    """Store many changes in one statement, in the order of their ids."""
    if not changes:
        return
    ordered = sorted(changes, key=lambda change: change.client_id)
    if len(ordered) > 1 and len(set(map(_NEWS, ordered))) == 1:
        statement, values = _alike(tx, ordered[0], now)
        for start in range(0, len(ordered), IDS_AT_ONCE):
            some = ordered[start : start + IDS_AT_ONCE]
            tx.run(statement, {"ids": [change.client_id for change in some], **values})
        return
    tx.run(_CHANGE, [{"of": change.client_id, **_values(change, now)} for change in ordered])


def _alike(tx: Transaction, change: Change, now: datetime) -> tuple[Prepared, dict[str, Any]]:
    """Return the statement for changes like this one, and its values but the ids."""
    if change.status is None or change != Change(change.client_id, status=change.status):
        return _CHANGE_ALIKE, _values(change, now)
    moves = _MOVE_ALIKE_SQLITE if tx.engine_name == "sqlite" else _MOVE_ALIKE
    return moves, {"new_status": change.status, "at": now}


def _values(change: Change, now: datetime) -> dict[str, Any]:
    return {
        "new_status": change.status,
        "new_version": change.version,
        "new_drift": change.drift,
        "new_failure": "" if change.has_succeeded else _failure_text(change.failure),
        "unsure": change.unsure,
        "confirmed": change.confirmed,
        "new_check": change.checked_at,
        "at": now,
    }


def set_channel(tx: Transaction, client_id: str, channel: str, now: datetime) -> None:
    """Store the channel that a client follows."""
    tx.run(sa.update(clients).where(clients.c.id == client_id).values(channel=channel, updated_at=now))


def page_of(
    tx: Transaction, account_id: str, region: str, selected: ClientFilter, page: Page
) -> Listing[tuple[Client, Instance]]:
    """Return clients of enrolled instances, with their instances, oldest first."""
    joined = clients.join(instances, instances.c.id == clients.c.instance_id)
    # Stated of the table whose index then finds the rows: of the other one, SQLite would read every client.
    of = clients if selected.instance_ids is None else instances
    conditions = [of.c.account_id == account_id, of.c.region == region, instances.c.deregistered_at.is_(None)]
    if selected.ids is not None:
        conditions.append(clients.c.id.in_(selected.ids))
    if selected.instance_ids is not None:
        conditions.append(instances.c.id.in_(selected.instance_ids))
    conditions += has_tags("instance", instances.c.id, selected.instance_tags)
    conditions += [_FILTERED[name].in_(values) for name, values in selected.having.items()]
    query = sa.select(clients).select_from(joined).where(*conditions).order_by(clients.c.created_at, clients.c.id)
    found = [_client(row) for row in tx.rows(query.limit(page.size).offset(page.offset))]
    total = tx.scalar(sa.select(sa.func.count()).select_from(joined).where(*conditions))
    on = instances_by_id(tx, account_id, region, list({client.instance_id for client in found}))
    return Listing([(client, on[client.instance_id]) for client in found], total)


def of_package(tx: Transaction, account_id: str, region: str, package: str) -> list[tuple[Client, Instance]]:
    """Return every client of a package on enrolled instances, with its instance, in the order of their ids."""
    mine = sa.and_(clients.c.account_id == account_id, clients.c.region == region, clients.c.package == package)
    joined = clients.join(instances, instances.c.id == clients.c.instance_id)
    query = sa.select(clients).select_from(joined).where(mine, instances.c.deregistered_at.is_(None))
    found = [_client(row) for row in tx.rows(query.order_by(clients.c.id))]
    on: dict[str, Instance] = {}
    ids = sorted({client.instance_id for client in found})
    for start in range(0, len(ids), IDS_AT_ONCE):
        on |= instances_by_id(tx, account_id, region, ids[start : start + IDS_AT_ONCE])
    return [(client, on[client.instance_id]) for client in found if client.instance_id in on]


def ids_of_package(tx: Transaction, account_id: str, region: str, package: str) -> set[str]:
    """Return the ids of the same clients."""
    mine = sa.and_(clients.c.account_id == account_id, clients.c.region == region, clients.c.package == package)
    joined = clients.join(instances, instances.c.id == clients.c.instance_id)
    query = sa.select(_AS_TEXT).select_from(joined).where(mine, instances.c.deregistered_at.is_(None))
    return set((tx.scalar(query) or "").split(",")) - {""}


def ids_by_version(tx: Transaction, account_id: str, region: str, package: str) -> dict[str, list[str]]:
    """Return the ids of the clients of a package by their version, where that is known and not in doubt."""
    mine = sa.and_(clients.c.account_id == account_id, clients.c.region == region, clients.c.package == package)
    known = sa.and_(mine, clients.c.version != "", clients.c.in_doubt.is_(False))
    query = sa.select(clients.c.version, _AS_TEXT).where(known).group_by(clients.c.version)
    return {row.version: row.ids.split(",") for row in tx.rows(query)}


def take_unchecked(
    tx: Transaction, before: datetime, reachable_since: datetime, limit: int, now: datetime
) -> list[Client]:
    """Return the clients that were unchecked for longest, and mark them as checked now."""
    chosen = (
        sa.select(clients)
        .join(instances, instances.c.id == clients.c.instance_id)
        .where(
            clients.c.checked_at < before,
            clients.c.status.not_in(MOVING),
            instances.c.deregistered_at.is_(None),
            instances.c.stopped_at.is_(None),
            reachable(reachable_since),
        )
        .order_by(clients.c.checked_at, clients.c.id)
        .limit(limit)
        .with_for_update(of=clients, skip_locked=True)
    )
    found = [_client(row) for row in tx.rows(chosen)]
    if found:
        these = clients.c.id.in_([client.id for client in found])
        tx.run(sa.update(clients).where(these).values(checked_at=now))
    return found


def doubt(tx: Transaction, instance_ids: Sequence[str]) -> None:
    """Put the clients of instances in doubt, and have their hosts asked next. Locked in the order of their ids."""
    known = sa.and_(clients.c.instance_id.in_(instance_ids), sa.not_(clients.c.in_doubt))
    in_order = sa.select(clients.c.id).where(known).order_by(clients.c.id).with_for_update()
    tx.run(sa.update(clients).where(clients.c.id.in_(in_order)).values(in_doubt=True, checked_at=CHECK_NEXT))


def doubt_all(tx: Transaction) -> None:
    """Put every client in doubt, and have all hosts asked next."""
    tx.run(sa.update(clients).values(in_doubt=True, checked_at=CHECK_NEXT))


def for_update(tx: Transaction, client_ids: Sequence[str]) -> dict[str, Client]:
    """Return clients by id, locked in the order of their ids."""
    if not client_ids:
        return {}
    query = sa.select(clients).where(clients.c.id.in_(client_ids)).order_by(clients.c.id).with_for_update()
    return {row.id: _client(row) for row in tx.rows(query)}


def drop(tx: Transaction, client_id: str) -> None:
    """Delete a client; its preferences must be deleted before."""
    tx.run(sa.delete(clients).where(clients.c.id == client_id))


def _row(client: Client) -> dict[str, Any]:
    row = {field.name: getattr(client, field.name) for field in fields(client)}
    return row | {"failure": _failure_text(client.failure) or ""}


def _client(row: sa.Row[Any]) -> Client:
    return _READ(row)


def _failure_text(failure: Failure | None) -> str | None:
    """Return a failure as JSON; None for none. Times are Unix seconds."""
    if failure is None:
        return None
    until = failure.quarantined_until
    times = {"at": failure.at.timestamp(), "quarantined_until": None if until is None else until.timestamp()}
    return json.dumps(asdict(failure) | times)


@functools.lru_cache(maxsize=FAILURES_KEPT)
def _failure(text: str) -> Failure | None:
    if not text:
        return None
    stored = json.loads(text)
    until = stored["quarantined_until"]
    return Failure(
        stored["code"],
        stored["message"],
        stored["version"],
        datetime.fromtimestamp(stored["at"], UTC),
        stored["output"],
        None if until is None else datetime.fromtimestamp(until, UTC),
    )


def count_changed(tx: Transaction, account_id: str) -> int:
    """Return how many of an account's clients differ from what their last order left on the host."""
    changed = sa.and_(clients.c.account_id == account_id, clients.c.drift != "", instances.c.deregistered_at.is_(None))
    joined = clients.join(instances, instances.c.id == clients.c.instance_id)
    return int(tx.scalar(sa.select(sa.func.count()).select_from(joined).where(changed)))


def changed(tx: Transaction, account_id: str, limit: int) -> list[Watched]:
    """Return the clients that differ from what their last order left on the host, with what differs."""
    condition = sa.and_(
        clients.c.account_id == account_id, clients.c.drift != "", instances.c.deregistered_at.is_(None)
    )
    columns = (clients.c.id, clients.c.package, clients.c.drift, instances.c.name, instances.c.hostname)
    query = sa.select(*columns, clients.c.checked_at).join(instances, instances.c.id == clients.c.instance_id)
    rows = tx.rows(query.where(condition).order_by(clients.c.id).limit(limit))
    return [Watched(row.id, f"{row.package} on {row.name or row.hostname}", row.drift, row.checked_at) for row in rows]


def with_failures(tx: Transaction, account_id: str, limit: int) -> list[tuple[Watched, Failure]]:
    """Return the clients whose last order failed, the latest first, each with how."""
    condition = sa.and_(
        clients.c.account_id == account_id, clients.c.failure != "", instances.c.deregistered_at.is_(None)
    )
    columns = (clients.c.id, clients.c.package, clients.c.failure, instances.c.name, instances.c.hostname)
    query = sa.select(*columns, clients.c.checked_at).join(instances, instances.c.id == clients.c.instance_id)
    rows = tx.rows(query.where(condition).order_by(clients.c.updated_at.desc(), clients.c.id).limit(limit))
    return [
        (Watched(row.id, f"{row.package} on {row.name or row.hostname}", "", row.checked_at), failure)
        for row in rows
        if (failure := _failure(row.failure)) is not None
    ]


def count_by_release(tx: Transaction, account_id: str) -> dict[tuple[str, str, str], int]:
    """Return how many of an account's clients have each (package, version, platform)."""
    joined = clients.join(instances, instances.c.id == clients.c.instance_id)
    release = (clients.c.package, clients.c.version, instances.c.platform)
    installed = sa.and_(
        clients.c.account_id == account_id, clients.c.version != "", instances.c.deregistered_at.is_(None)
    )
    query = sa.select(*release, sa.func.count().label("number")).select_from(joined).where(installed).group_by(*release)
    return {(row.package, row.version, row.platform): int(row.number) for row in tx.rows(query)}


def count_by_version(tx: Transaction, account_id: str, region: str) -> dict[tuple[str, str], int]:
    """Return how many of an account's clients in a region have each (package, version)."""
    joined = clients.join(instances, instances.c.id == clients.c.instance_id)
    mine = sa.and_(clients.c.account_id == account_id, clients.c.region == region, clients.c.version != "")
    query = sa.select(clients.c.package, clients.c.version, sa.func.count().label("number")).select_from(joined)
    counted = query.where(mine, instances.c.deregistered_at.is_(None)).group_by(clients.c.package, clients.c.version)
    return {(row.package, row.version): int(row.number) for row in tx.rows(counted)}


def count_installed(tx: Transaction, account_id: str) -> dict[tuple[str, str, str, str], tuple[int, int]]:
    """Return how many of an account's clients have each (package, version, platform, channel), and how many changed."""
    joined = clients.join(instances, instances.c.id == clients.c.instance_id)
    groups = (clients.c.package, clients.c.version, instances.c.platform, clients.c.channel)
    mine = sa.and_(clients.c.account_id == account_id, clients.c.version != "", instances.c.deregistered_at.is_(None))
    changed = sa.func.count(sa.case((clients.c.drift != "", 1)))
    query = sa.select(*groups, sa.func.count().label("number"), changed.label("changed")).select_from(joined)
    return {
        (row.package, row.version, row.platform, row.channel): (int(row.number), int(row.changed))
        for row in tx.rows(query.where(mine).group_by(*groups))
    }


_READ: Final = reader(clients, Client, status=ClientStatus, failure=_failure)
_READ_NAME: Final = Reader(ClientName, range(len(ClientName._fields)))
