"""Backup clients: which package on which instance, in which version, as far as we know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from backfleet.fleet import _store
from backfleet.fleet.instances import Instance
from backfleet.fleet.tagging import Wanted
from backfleet.ids import Draw, new_id
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction


class ClientStatus(StrEnum):
    """The words of the API."""

    REGISTERED = "REGISTERED"
    ACTIVATED = "ACTIVATED"
    DEACTIVATED = "DEACTIVATED"
    INSTALLING = "INSTALLING"
    INSTALL_FAILED = "INSTALL_FAILED"
    NOT_INSTALLED = "NOT_INSTALLED"
    UPGRADING = "UPGRADING"
    UPGRADE_FAILED = "UPGRADE_FAILED"
    UNINSTALLING = "UNINSTALLING"
    UNINSTALL_FAILED = "UNINSTALL_FAILED"
    STOPPED = "STOPPED"
    UNKNOWN = "UNKNOWN"


MOVING: Final = (ClientStatus.UPGRADING, ClientStatus.INSTALLING, ClientStatus.UNINSTALLING)


@dataclass(frozen=True, slots=True)
class Client:
    """One backup client on one instance. `version` is what the host last told: "" means none is installed."""

    id: str
    account_id: str
    region: str
    instance_id: str
    package: str
    version: str
    channel: str
    pin: str  # a version range it must stay in; "" = any
    status: ClientStatus
    created_at: datetime
    updated_at: datetime
    checked_at: datetime  # when its host last told, or was asked, how it stands; UNSURE = it is to be asked soon
    drift: str = ""  # what is not as the upgrade left it, one sentence a line, as the host last told

    @property
    def is_moving(self) -> bool:
        """Whether an order for it is out."""
        return self.status in MOVING

    @property
    def is_installed(self) -> bool:
        """Whether there is anything on the host."""
        return self.version != ""


@dataclass(frozen=True, slots=True)
class ClientFilter:
    """Which clients are meant; None means all."""

    ids: Sequence[str] | None = None
    instance_ids: Sequence[str] | None = None
    instance_tags: Wanted = ()
    having: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Values of status, version, package, channel, instance_name, hostname: one of each must be."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is now known of a client; None leaves a field as it is."""

    client_id: str
    status: ClientStatus | None = None
    version: str | None = None
    drift: str | None = None
    unsure: bool = False  # its host has not told how it stands now, and is asked soon


@dataclass(frozen=True, slots=True)
class Resolved:
    """What ids name: only what exists in the account and region and is not deregistered."""

    instances: dict[str, Instance]
    clients: dict[str, Client]
    clients_on: dict[str, list[Client]]  # every client of each instance found, by instance id


def resolve(
    tx: Transaction, account_id: str, region: str, instance_ids: Sequence[str], client_ids: Sequence[str]
) -> Resolved:
    """Find what ids name, in three queries whatever their number. Unknown and foreign ids are simply not there."""
    clients = _store.clients_by_id(tx, account_id, region, client_ids)
    wanted = list(dict.fromkeys([*instance_ids, *(client.instance_id for client in clients.values())]))
    instances = _store.instances_by_id(tx, account_id, region, wanted)
    clients_on: dict[str, list[Client]] = {instance_id: [] for instance_id in instances}
    for client in _store.clients_on(tx, list(instances)):
        clients_on[client.instance_id].append(client)
    known = {client_id: client for client_id, client in clients.items() if client.instance_id in instances}
    return Resolved(instances, known, clients_on)


def ensure_client(
    tx: Transaction, on: Instance, package: str, channel: str, *, status: ClientStatus, now: datetime, draw: Draw
) -> Client:
    """The client of this package on this instance; made with `status` if there is none yet."""
    made = Client(
        id=new_id("c", draw),
        account_id=on.account_id,
        region=on.region,
        instance_id=on.id,
        package=package,
        version="",
        channel=channel,
        pin="",
        status=status,
        created_at=now,
        updated_at=now,
        checked_at=now,
    )
    if _store.add_client(tx, made):
        return made
    return next(client for client in _store.clients_on(tx, [on.id]) if client.package == package)


def set_clients(tx: Transaction, changes: Sequence[Change], *, now: datetime) -> None:
    """Write down what is now known of clients, many at once."""
    _store.change_clients(tx, changes, now)


def take_unchecked(
    tx: Transaction, *, before: datetime, heard_since: datetime, limit: int, now: datetime
) -> list[Client]:
    """Clients that were checked last before this moment, whose hosts are heard and that no order is moving.

    Those unchecked for longest come first; they count as checked now. Two workers that look at once see different ones.
    """
    return _store.take_unchecked(tx, before, heard_since, limit, now)


def clients_for_update(tx: Transaction, client_ids: Sequence[str]) -> dict[str, Client]:
    """Clients of any account by id, locked in the order of their ids."""
    return _store.clients_for_update(tx, client_ids)


def forget_client(tx: Transaction, client_id: str) -> None:
    """Forget a client and what was set for it. On its host nothing changes."""
    _store.drop_client(tx, client_id)


def find_clients(
    tx: Transaction, account_id: str, region: str, wanted: ClientFilter, page: Page
) -> Listing[tuple[Client, Instance]]:
    """An account's clients with their instances, oldest first."""
    return _store.clients_page(tx, account_id, region, wanted, page)
