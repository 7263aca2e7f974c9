"""Backup clients: which package is on which instance, in which version, as far as we know."""

from collections.abc import Sequence
from datetime import datetime

from backfleet.fleet import _store
from backfleet.fleet.model import (
    Change,
    Client,
    ClientFilter,
    ClientName,
    ClientStatus,
    Instance,
    Resolved,
    ResolvedNames,
)
from backfleet.ids import Draw, new_id
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction


def resolve(
    tx: Transaction, account_id: str, region: str, instance_ids: Sequence[str], client_ids: Sequence[str]
) -> Resolved:
    """Find what ids name, in three queries whatever their number.

    Unknown ids, and ids of other accounts, are left out of the result.
    """
    clients = _store.clients.by_id(tx, account_id, region, client_ids)
    wanted = list(dict.fromkeys([*instance_ids, *(client.instance_id for client in clients.values())]))
    instances = _store.instances.by_id(tx, account_id, region, wanted)
    clients_on: dict[str, list[Client]] = {instance_id: [] for instance_id in instances}
    for client in _store.clients.on_instances(tx, list(instances)):
        clients_on[client.instance_id].append(client)
    known = {client_id: client for client_id, client in clients.items() if client.instance_id in instances}
    return Resolved(instances, known, clients_on)


def resolve_names(
    tx: Transaction, account_id: str, region: str, instance_ids: Sequence[str], client_ids: Sequence[str]
) -> ResolvedNames:
    """Find what ids name, as `resolve` does, and return no more than names: in two queries, for many ids at once."""
    on: dict[str, list[ClientName]] = {}
    for client in _store.clients.names_on(tx, account_id, region, instance_ids):
        on.setdefault(client.instance_id, []).append(client)
    return ResolvedNames(
        {client.id: client for client in _store.clients.names_of(tx, account_id, region, client_ids)}, on
    )


def ensure_client(
    tx: Transaction, on: Instance, package: str, channel: str, *, status: ClientStatus, now: datetime, draw: Draw
) -> Client:
    """Return the client of a package on an instance. If there is none yet, create it with `channel` and `status`."""
    made = _new_client(on.account_id, on.region, on.id, package, channel, status, now, draw)
    if _store.clients.add(tx, made):
        return made
    return next(client for client in _store.clients.on_instances(tx, [on.id]) if client.package == package)


def ensure_clients(
    tx: Transaction,
    account_id: str,
    region: str,
    instance_ids: Sequence[str],
    package: str,
    channel: str,
    *,
    status: ClientStatus,
    now: datetime,
    draw: Draw,
) -> dict[str, Client]:
    """Return the client of a package on each of these instances, by instance. Those that have none yet get one.

    Rows are written in the order of the instances, so that two calls cannot deadlock.
    """
    found: dict[str, Client] = {}
    wanted = sorted(instance_ids)
    for start in range(0, len(wanted), _store.clients.IDS_AT_ONCE):
        some = wanted[start : start + _store.clients.IDS_AT_ONCE]
        made = [_new_client(account_id, region, each, package, channel, status, now, draw) for each in some]
        _store.clients.add_those_new(tx, made)
        there = _store.clients.on_instances(tx, some)
        found |= {client.instance_id: client for client in there if client.package == package}
    return found


def _new_client(
    account_id: str,
    region: str,
    instance_id: str,
    package: str,
    channel: str,
    status: ClientStatus,
    now: datetime,
    draw: Draw,
) -> Client:
    return Client(
        id=new_id("c", draw),
        account_id=account_id,
        region=region,
        instance_id=instance_id,
        package=package,
        version="",
        channel=channel,
        status=status,
        created_at=now,
        updated_at=now,
        checked_at=now,
    )


def set_clients(tx: Transaction, changes: Sequence[Change], *, now: datetime) -> None:
    """Store what is newly known of clients, many at once."""
    _store.clients.change(tx, changes, now)


def set_channel(tx: Transaction, client_id: str, channel: str, *, now: datetime) -> None:
    """Have a client follow a channel."""
    _store.clients.set_channel(tx, client_id, channel, now)


def take_unchecked(
    tx: Transaction, *, before: datetime, reachable_since: datetime, limit: int, now: datetime
) -> list[Client]:
    """Return clients whose hosts should be asked for their state, and mark them as checked now.

    Two workers that call it at once get different clients.

    Args:
        tx: the transaction to write in.
        before: only clients that were checked last before this moment; those unchecked for longest come first.
        reachable_since: only clients whose hosts could be given work since this moment and are not stopped.
        limit: how many at most. Clients that an order is changing now are left out.
        now: the time of the call.
    """
    return _store.clients.take_unchecked(tx, before, reachable_since, limit, now)


def count_changed(tx: Transaction, account_id: str) -> int:
    """Return how many of an account's clients differ from what their last order left on the host: files, modes."""
    return _store.clients.count_changed(tx, account_id)


def count_by_release(tx: Transaction, account_id: str) -> dict[tuple[str, str, str], int]:
    """Return how many of an account's clients have each (package, version, platform)."""
    return _store.clients.count_by_release(tx, account_id)


def count_installed(tx: Transaction, account_id: str) -> dict[tuple[str, str, str, str], tuple[int, int]]:
    """Return how many of an account's clients have each (package, version, platform, channel), and how many changed."""
    return _store.clients.count_installed(tx, account_id)


def doubt_clients(tx: Transaction, *instance_ids: str) -> None:
    """Record that something may still change the clients of hosts, so that they are asked soon what they have.

    Those that are in doubt already are left as they are: their host is being asked.
    """
    _store.clients.doubt(tx, instance_ids)


def doubt_all_clients(tx: Transaction) -> None:
    """Record that nothing is known for certain of any client, so that all hosts are asked soon what they have."""
    _store.clients.doubt_all(tx)


def clients_for_update(tx: Transaction, client_ids: Sequence[str]) -> dict[str, Client]:
    """Return clients of any account by id, locked in the order of their ids."""
    return _store.clients.for_update(tx, client_ids)


def forget_client(tx: Transaction, client_id: str) -> None:
    """Delete a client and its preferences. Nothing changes on its host."""
    _store.preferences.drop(tx, client_id)
    _store.clients.drop(tx, client_id)


def find_clients(
    tx: Transaction, account_id: str, region: str, selected: ClientFilter, page: Page
) -> Listing[tuple[Client, Instance]]:
    """Return an account's clients with their instances, oldest first."""
    return _store.clients.page_of(tx, account_id, region, selected, page)


def clients_of_package(
    tx: Transaction, account_id: str, region: str, package: str
) -> list[tuple[Client, Instance, dict[str, str]]]:
    """Return every client of a package on enrolled instances, with its instance, and the tags of both.

    A client's own tag wins over one of its instance with the same key.
    """
    found = _store.clients.of_package(tx, account_id, region, package)
    of_instances = _tags(tx, "instance", [instance.id for _, instance in found])
    of_clients = _tags(tx, "client", [client.id for client, _ in found])
    return [
        (client, instance, of_instances.get(instance.id, {}) | of_clients.get(client.id, {}))
        for client, instance in found
    ]


def without_client(
    tx: Transaction, account_id: str, region: str, package: str
) -> list[tuple[Instance, dict[str, str]]]:
    """Return every enrolled instance that has no client of a package, not even one that is not installed; with tags."""
    found = _store.instances.without_client(tx, account_id, region, package)
    tags = _tags(tx, "instance", [instance.id for instance in found])
    return [(instance, tags.get(instance.id, {})) for instance in found]


def clients_on(tx: Transaction, instance_id: str) -> list[Client]:
    """Return the clients on an instance, whatever its account."""
    return _store.clients.on_instances(tx, [instance_id])


def ids_of_package(tx: Transaction, account_id: str, region: str, package: str) -> set[str]:
    """Return the ids of every client of a package on enrolled instances."""
    return _store.clients.ids_of_package(tx, account_id, region, package)


def ids_by_version(tx: Transaction, account_id: str, region: str, package: str) -> dict[str, list[str]]:
    """Return the ids of the clients of a package by their version, where that is known and not in doubt."""
    return _store.clients.ids_by_version(tx, account_id, region, package)


def _tags(tx: Transaction, kind: str, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for start in range(0, len(ids), _store.clients.IDS_AT_ONCE):
        found |= _store.tags.of_resources(tx, kind, ids[start : start + _store.clients.IDS_AT_ONCE])
    return found
