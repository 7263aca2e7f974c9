"""What callers do with cloud accounts, and with what is imported from them."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from backfleet import commands, fleet
from backfleet.carriers.ecs import _store
from backfleet.carriers.ecs.model import CloudInstance, EcsAccount, EcsHost, EcsImport, Selection
from backfleet.fleet import CarrierKind
from backfleet.ids import Draw, new_id
from backfleet.storage import Transaction

MOST_ACCOUNTS: Final = 50  # of one account
MOST_IMPORTS: Final = 100
MOST_HOSTS: Final = 10_000
TOPIC: Final = "ecs"  # published when the cloud is to be asked something


class AccountExists(Exception):
    """There is a cloud account of this name."""


class AccountNotFound(Exception):
    """There is no cloud account of this name."""


class AccountInUse(Exception):
    """Instances are imported from this cloud account. `hosts` is how many there are."""

    def __init__(self, hosts: int) -> None:
        super().__init__(hosts)
        self.hosts = hosts


class TooMany(Exception):
    """The account has as many cloud accounts, imports or instances as it may."""


def add_account(tx: Transaction, account: EcsAccount) -> None:
    """Store a cloud account under a new name. Raises AccountExists or TooMany."""
    if _store.find_account(tx, account.account_id, account.name) is not None:
        raise AccountExists
    if len(_store.accounts_of(tx, account.account_id)) >= MOST_ACCOUNTS:
        raise TooMany
    _store.put_account(tx, account)
    tx.publish(TOPIC)


def accounts_of(tx: Transaction, account_id: str, cloud: CarrierKind = CarrierKind.ECS) -> list[EcsAccount]:
    """Return an account's accounts of a cloud by name."""
    return [each for each in _store.accounts_of(tx, account_id) if each.cloud is cloud]


def count_accounts(tx: Transaction) -> dict[tuple[str, CarrierKind, str], int]:
    """Return how many cloud accounts there are, by account, carrier and the code of their problem ("" = none)."""
    return _store.count_accounts(tx)


def find_account(
    tx: Transaction, account_id: str, name: str, cloud: CarrierKind = CarrierKind.ECS, *, lock: bool = False
) -> EcsAccount:
    """Return an account of a cloud, locked against its deletion if asked. Raises AccountNotFound."""
    found = _store.find_account(tx, account_id, name, lock=lock)
    if found is None or found.cloud is not cloud:
        raise AccountNotFound
    return found


def delete_account(tx: Transaction, account_id: str, name: str, cloud: CarrierKind = CarrierKind.ECS) -> None:
    """Delete a cloud account and its imports. Raises AccountNotFound, or AccountInUse while instances are from it."""
    found = find_account(tx, account_id, name, cloud, lock=True)
    hosts = _store.count_hosts(tx, account_id, name)
    if hosts:
        raise AccountInUse(hosts)
    _store.delete_account(tx, found)


def add_import(
    tx: Transaction,
    account_id: str,
    name: str,
    selection: Selection,
    cloud: CarrierKind = CarrierKind.ECS,
    *,
    now: datetime,
    draw: Draw,
) -> EcsImport:
    """Have instances of a cloud account imported, and kept up to date. The same selection stays one import.

    Raises:
        AccountNotFound: there is no such cloud account.
        TooMany: the account has as many imports as it may.
    """
    account = find_account(tx, account_id, name, cloud, lock=True)
    known = _store.imports_of(tx, account_id)
    _store.refresh_at(tx, account, now)
    tx.publish(TOPIC)
    for one in known:
        if (one.ecs_account, one.selection) == (name, selection):
            _store.note_progress(tx, account, "")  # a refresh that is under way may be past it
            _store.note_import(tx, one.import_id, {"synced_at": None, "problem_code": "", "problem": ""})
            return replace(one, synced_at=None, problem_code="", problem="")
    if len(known) >= MOST_IMPORTS:
        raise TooMany
    made = EcsImport(new_id("ei", draw), account_id, name, selection, now)
    _store.put_import(tx, made)
    return made


def imports_of(tx: Transaction, account_id: str, cloud: CarrierKind = CarrierKind.ECS) -> list[EcsImport]:
    """Return an account's imports from a cloud, oldest first."""
    clouds = _store.clouds_of(tx, account_id)
    return [each for each in _store.imports_of(tx, account_id) if clouds.get(each.ecs_account) is cloud]


def delete_import(tx: Transaction, account_id: str, import_id: str, cloud: CarrierKind = CarrierKind.ECS) -> bool:
    """Import nothing more for a selection; what was imported stays. Return whether there was such an import."""
    if import_id not in {each.import_id for each in imports_of(tx, account_id, cloud)}:
        return False
    return _store.delete_import(tx, account_id, import_id)


def find_host(tx: Transaction, instance_id: str) -> EcsHost | None:
    """Return what is known of an imported instance; None if it is none."""
    return _store.hosts(tx, [instance_id]).get(instance_id)


def forget_host(tx: Transaction, instance_id: str) -> None:
    """Forget an imported instance, after it was deregistered."""
    _store.forget_host(tx, instance_id)


def register(
    tx: Transaction,
    account: EcsAccount,
    region: str,
    here: str,
    found: list[CloudInstance],
    *,
    now: datetime,
    draw: Draw,
) -> list[EcsHost]:
    """Register those of these instances that are new, with their own ids where these are free.

    An instance is reached by one cloud account: one that came by another stays there. One that this cloud account had
    in another region, where it is not found any more, is moved.

    Args:
        region: of the cloud.
        here: the region of this installation, which all its instances are in.

    Raises:
        TooMany: the account has as many instances as it may.
    """
    ids = [one.remote_id for one in found]
    known = {host.remote_id for host in _store.hosts_in(tx, account, region, ids)}
    for host in _store.elsewhere(tx, account, region, ids):
        known.add(host.remote_id)
        if host.ecs_account == account.name and host.misses:
            _store.move_host(tx, host.instance_id, region)
    free = MOST_HOSTS - _store.count_hosts(tx, account.account_id)
    made: list[EcsHost] = []
    for one in found:
        if one.remote_id in known:
            continue
        known.add(one.remote_id)
        if len(made) >= free:
            raise TooMany
        name = one.name or one.remote_id
        instance_id = fleet.add_without_agent(
            tx, account.account_id, here, account.cloud, name=name, now=now, draw=draw, instance_id=one.remote_id
        )
        made.append(EcsHost(instance_id, account.account_id, account.name, region, one.remote_id))
        _store.add_host(tx, made[-1])
    return made


def owner_of_others(tx: Transaction, account: EcsAccount, region: str, found: list[CloudInstance]) -> list[EcsHost]:
    """Return those of these instances that came by another cloud account, which reaches them."""
    ids = [one.remote_id for one in found]
    return [host for host in _store.elsewhere(tx, account, region, ids) if host.ecs_account != account.name]


def remove_gone(tx: Transaction, host: EcsHost, *, now: datetime) -> None:
    """Deregister an instance that the cloud has no more."""
    if fleet.deregister(tx, host.instance_id, now=now):
        commands.end_gone(tx, host.instance_id, now=now)
    _store.forget_host(tx, host.instance_id)
