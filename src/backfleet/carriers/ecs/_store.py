"""The only SQL on cloud accounts, imports and imported instances. That on batches is in `_batches`."""

import dataclasses
import json
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from backfleet import commands
from backfleet.carriers.ecs import _batches
from backfleet.carriers.ecs._tables import ecs_accounts, ecs_batches, ecs_hosts, ecs_imports
from backfleet.carriers.ecs.model import Downloads, EcsAccount, EcsHost, EcsImport, Selection, Source
from backfleet.fleet import CarrierKind
from backfleet.storage import Transaction

MOST_HELD: Final = timedelta(minutes=5)  # longer than any process has a cloud account, or pauses with it
MOST_UNTIL_REFRESH: Final = timedelta(days=1)  # longer than between two refreshes
CLOCKS_DIFFER: Final = timedelta(minutes=1)  # a moment that is further ahead is of a clock that was set back
_FIELDS = [field.name for field in dataclasses.fields(EcsAccount)]
_HOST_FIELDS = [field.name for field in dataclasses.fields(EcsHost)]


def _is(table: sa.Table, account: EcsAccount | EcsHost) -> sa.ColumnElement[bool]:
    name = account.name if isinstance(account, EcsAccount) else account.ecs_account
    column = table.c.name if table is ecs_accounts else table.c.ecs_account
    return sa.and_(table.c.account_id == account.account_id, column == name)


# --- Cloud accounts -------------------------------------------------------------------------------------------------


def put_account(tx: Transaction, account: EcsAccount) -> None:
    """Store a cloud account that is new."""
    tx.add(ecs_accounts, [{**dataclasses.asdict(account), "next_refresh_at": account.created_at}])


def accounts_of(tx: Transaction, account_id: str) -> list[EcsAccount]:
    """Return an account's cloud accounts by name."""
    query = sa.select(ecs_accounts).where(ecs_accounts.c.account_id == account_id).order_by(ecs_accounts.c.name)
    return [_account(row) for row in tx.rows(query)]


def find_account(tx: Transaction, account_id: str, name: str, *, lock: bool = False) -> EcsAccount | None:
    """Return a cloud account, locked against its deletion if asked."""
    query = sa.select(ecs_accounts).where(ecs_accounts.c.account_id == account_id, ecs_accounts.c.name == name)
    row = tx.first(query.with_for_update() if lock else query)
    return None if row is None else _account(row)


def delete_account(tx: Transaction, account: EcsAccount) -> None:
    """Delete a cloud account and its imports."""
    tx.run(sa.delete(ecs_imports).where(_is(ecs_imports, account)))
    tx.run(sa.delete(ecs_accounts).where(_is(ecs_accounts, account)))


def take_accounts(
    tx: Transaction, now: datetime, until: datetime, limit: int, without: Collection[str] = ()
) -> list[EcsAccount]:
    """Return cloud accounts with something to do, each to one process alone until that moment.

    The one that was worked on longest ago comes first, so that none waits for another one that answers slowly.

    Args:
        tx: the transaction.
        now: the time.
        until: when another process may take them, if this one does not say that it still has them.
        limit: of how many are returned.
        without: accounts none of whose cloud accounts is taken.
    """
    own = sa.and_(ecs_hosts.c.account_id == ecs_accounts.c.account_id, ecs_hosts.c.ecs_account == ecs_accounts.c.name)
    waiting = sa.exists().where(own, commands.has_work(ecs_hosts.c.instance_id))
    under_way = sa.exists().where(
        ecs_batches.c.account_id == ecs_accounts.c.account_id,
        ecs_batches.c.ecs_account == ecs_accounts.c.name,
        _batches.is_due(now),
    )
    at = ecs_accounts.c.taken_until
    free = sa.or_(at.is_(None), at <= now, at > now + MOST_HELD)  # beyond that the clock was set back
    due = sa.or_(_is_refresh_due(now), waiting, under_way)
    query = sa.select(ecs_accounts).where(free, due, ecs_accounts.c.account_id.not_in(without))
    query = query.order_by(at.is_not(None), at, ecs_accounts.c.name).limit(limit)
    found = [_account(row) for row in tx.rows(query.with_for_update(skip_locked=True, of=ecs_accounts))]
    for account in found:
        tx.run(sa.update(ecs_accounts).where(_is(ecs_accounts, account)).values(taken_until=until))
    return found


def clouds_of(tx: Transaction, account_id: str) -> dict[str, CarrierKind]:
    """Return which cloud each of an account's cloud accounts is of, by name."""
    query = sa.select(ecs_accounts.c.name, ecs_accounts.c.cloud).where(ecs_accounts.c.account_id == account_id)
    return {row.name: CarrierKind(row.cloud) for row in tx.rows(query)}


def count_accounts(tx: Transaction) -> dict[tuple[str, CarrierKind, str], int]:
    """Return how many cloud accounts there are, by account, carrier and the code of their problem ("" = none)."""
    by = (ecs_accounts.c.account_id, ecs_accounts.c.cloud, ecs_accounts.c.problem_code)
    rows = tx.rows(sa.select(*by, sa.func.count().label("number")).group_by(*by))
    return {(row.account_id, CarrierKind(row.cloud), row.problem_code): row.number for row in rows}


def exist(tx: Transaction) -> bool:
    """Return whether there is any cloud account."""
    return tx.first(sa.select(ecs_accounts.c.name).limit(1)) is not None


def give_back(tx: Transaction, account: EcsAccount, until: datetime) -> None:
    """Let others work on a cloud account, from this moment on."""
    tx.run(sa.update(ecs_accounts).where(_is(ecs_accounts, account)).values(taken_until=until))


def is_refresh_due(tx: Transaction, account: EcsAccount, now: datetime) -> bool:
    """Return whether its instances are to be asked about now."""
    return bool(tx.scalar(sa.select(_is_refresh_due(now)).where(_is(ecs_accounts, account))))


def _is_refresh_due(now: datetime) -> sa.ColumnElement[bool]:
    at = ecs_accounts.c.next_refresh_at
    return sa.or_(at <= now, at > now + MOST_UNTIL_REFRESH)  # beyond that the clock was set back


def refresh_at(tx: Transaction, account: EcsAccount, moment: datetime) -> None:
    """Have its instances asked about from this moment on."""
    tx.run(sa.update(ecs_accounts).where(_is(ecs_accounts, account)).values(next_refresh_at=moment))


def progress_of(tx: Transaction, account: EcsAccount) -> str:
    """Return how far the refresh is that is under way; "" if none is."""
    return str(tx.scalar(sa.select(ecs_accounts.c.progress).where(_is(ecs_accounts, account))) or "")


def note_progress(tx: Transaction, account: EcsAccount, text: str) -> None:
    """Record how far a refresh is; "" = it is over, or begins again."""
    tx.run(sa.update(ecs_accounts).where(_is(ecs_accounts, account)).values(progress=text))


def note_account(tx: Transaction, account: EcsAccount, code: str, problem: str, asked_at: datetime | None) -> None:
    """Record whether a cloud account answers, and since when not."""
    values: dict[str, Any] = {"problem_code": code, "problem": problem}
    values |= {"asked_at": asked_at} if asked_at else {}
    tx.run(sa.update(ecs_accounts).where(_is(ecs_accounts, account)).values(values))


# --- Imports --------------------------------------------------------------------------------------------------------


def put_import(tx: Transaction, one: EcsImport) -> None:
    """Store an import that is new."""
    selection = json.dumps(dataclasses.asdict(one.selection), sort_keys=True)
    row = {name: value for name, value in dataclasses.asdict(one).items() if name != "selection"}
    tx.add(ecs_imports, [{**row, "selection": selection}])


def imports_of(tx: Transaction, account_id: str, ecs_account: str | None = None) -> list[EcsImport]:
    """Return an account's imports, oldest first; those of one cloud account if asked."""
    query = sa.select(ecs_imports).where(ecs_imports.c.account_id == account_id)
    if ecs_account is not None:
        query = query.where(ecs_imports.c.ecs_account == ecs_account)
    return [_import(row) for row in tx.rows(query.order_by(ecs_imports.c.created_at, ecs_imports.c.import_id))]


def delete_import(tx: Transaction, account_id: str, import_id: str) -> bool:
    """Delete an import; return whether there was one."""
    mine = sa.and_(ecs_imports.c.account_id == account_id, ecs_imports.c.import_id == import_id)
    if tx.first(sa.select(ecs_imports.c.import_id).where(mine)) is None:
        return False
    tx.run(sa.delete(ecs_imports).where(mine))
    return True


def note_import(tx: Transaction, import_id: str, values: dict[str, Any]) -> None:
    """Record what became of an import."""
    tx.run(sa.update(ecs_imports).where(ecs_imports.c.import_id == import_id).values(values))


# --- Instances ------------------------------------------------------------------------------------------------------


def add_host(tx: Transaction, host: EcsHost) -> None:
    """Store an imported instance that is new."""
    tx.add(ecs_hosts, [dataclasses.asdict(host)])


def hosts_of(tx: Transaction, account: EcsAccount) -> list[EcsHost]:
    """Return what is imported from a cloud account."""
    return [_host(row) for row in tx.rows(sa.select(ecs_hosts).where(_is(ecs_hosts, account)))]


def regions_to_ask(tx: Transaction, account: EcsAccount, since: datetime, now: datetime) -> list[str]:
    """Return the regions with instances that were not asked about since a moment."""
    query = sa.select(ecs_hosts.c.region).where(_is(ecs_hosts, account), _not_asked(since, now)).distinct()
    return [row.region for row in tx.rows(query)]


def next_to_ask(
    tx: Transaction, account: EcsAccount, region: str, since: datetime, now: datetime, limit: int
) -> tuple[str, ...]:
    """Return the cloud's ids of instances of a region that were not asked about since a moment."""
    mine = sa.and_(_is(ecs_hosts, account), ecs_hosts.c.region == region, _not_asked(since, now))
    query = sa.select(ecs_hosts.c.remote_id).where(mine).order_by(ecs_hosts.c.remote_id).limit(limit)
    return tuple(row.remote_id for row in tx.rows(query))


def _not_asked(since: datetime, now: datetime) -> sa.ColumnElement[bool]:
    at = ecs_hosts.c.checked_at
    return sa.or_(at.is_(None), at < since, at > now + CLOCKS_DIFFER)


def hosts_in(tx: Transaction, account: EcsAccount, region: str, remote_ids: Collection[str]) -> list[EcsHost]:
    """Return the instances of a region that have these ids in the cloud."""
    mine = sa.and_(_is(ecs_hosts, account), ecs_hosts.c.region == region)
    query = sa.select(ecs_hosts).where(mine, ecs_hosts.c.remote_id.in_(remote_ids)).order_by(ecs_hosts.c.remote_id)
    return [_host(row) for row in tx.rows(query)]


def elsewhere(tx: Transaction, account: EcsAccount, region: str, remote_ids: Collection[str]) -> list[EcsHost]:
    """Return instances of these ids that came by another cloud account of the same account, or from another region."""
    here = sa.and_(ecs_hosts.c.ecs_account == account.name, ecs_hosts.c.region == region)
    mine = sa.and_(ecs_hosts.c.account_id == account.account_id, ecs_hosts.c.remote_id.in_(remote_ids), ~here)
    return [_host(row) for row in tx.rows(sa.select(ecs_hosts).where(mine).order_by(ecs_hosts.c.remote_id))]


def move_host(tx: Transaction, instance_id: str, region: str) -> None:
    """Record that an instance is in another region, and not yet asked about there."""
    values = {"region": region, "misses": 0, "checked_at": None}
    tx.run(sa.update(ecs_hosts).where(ecs_hosts.c.instance_id == instance_id).values(values))


def overdue_hosts(tx: Transaction, account: EcsAccount, after: datetime, before: datetime) -> list[EcsHost]:
    """Return the instances that were last told of between two moments, and were well then."""
    well = sa.and_(ecs_hosts.c.problem_code == "", ecs_hosts.c.asked_at.between(after, before))
    return [_host(row) for row in tx.rows(sa.select(ecs_hosts).where(_is(ecs_hosts, account), well))]


def hosts(tx: Transaction, instance_ids: Collection[str]) -> dict[str, EcsHost]:
    """Return these imported instances by id."""
    query = sa.select(ecs_hosts).where(ecs_hosts.c.instance_id.in_(instance_ids))
    return {row.instance_id: _host(row) for row in tx.rows(query)}


def downloads_of(tx: Transaction, instance_ids: Collection[str]) -> dict[str, Downloads]:
    """Return where each of these instances finds downloads."""
    columns = (ecs_accounts.c.address, ecs_accounts.c.mirror, ecs_accounts.c.mirror_authority)
    query = sa.select(ecs_hosts.c.instance_id, *columns).where(
        ecs_hosts.c.instance_id.in_(instance_ids),
        ecs_accounts.c.account_id == ecs_hosts.c.account_id,
        ecs_accounts.c.name == ecs_hosts.c.ecs_account,
    )
    return {row.instance_id: Downloads(row.address, row.mirror, row.mirror_authority) for row in tx.rows(query)}


def count_hosts(tx: Transaction, account_id: str, ecs_account: str | None = None) -> int:
    """Return how many imported instances the account has; those of one cloud account if asked."""
    query = sa.select(sa.func.count()).select_from(ecs_hosts).where(ecs_hosts.c.account_id == account_id)
    return int(tx.scalar(query if ecs_account is None else query.where(ecs_hosts.c.ecs_account == ecs_account)))


def forget_host(tx: Transaction, instance_id: str) -> None:
    """Delete an imported instance."""
    tx.run(sa.delete(ecs_hosts).where(ecs_hosts.c.instance_id == instance_id))


def note_host(tx: Transaction, instance_id: str, values: dict[str, Any]) -> None:
    """Record what the cloud says of an instance."""
    tx.run(sa.update(ecs_hosts).where(ecs_hosts.c.instance_id == instance_id).values(values))


def with_work(tx: Transaction, account: EcsAccount, limit: int) -> list[EcsHost]:
    """Return instances that have commands to fetch, or to stop."""
    work = commands.has_work(ecs_hosts.c.instance_id)
    query = sa.select(ecs_hosts).where(_is(ecs_hosts, account), work).order_by(ecs_hosts.c.instance_id)
    return [_host(row) for row in tx.rows(query.limit(limit))]


def _account(row: sa.Row[Any]) -> EcsAccount:
    values = {name: row._mapping[name] for name in _FIELDS}
    return EcsAccount(**{**values, "source": Source(row.source), "cloud": CarrierKind(row.cloud)})


def _import(row: sa.Row[Any]) -> EcsImport:
    chosen = json.loads(row.selection)
    tags = tuple((key, value) for key, value in chosen["tags"])
    selection = Selection(chosen["region"], tuple(chosen["instance_ids"]), tags, chosen["resource_group"])
    return EcsImport(**{**row._mapping, "selection": selection})


def _host(row: sa.Row[Any]) -> EcsHost:
    return EcsHost(**{name: row._mapping[name] for name in _HOST_FIELDS})
