"""What callers do with hosts that have no agent, and with the keys that the server logs in with."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from backfleet import fleet
from backfleet.carriers.ssh import _store
from backfleet.carriers.ssh.model import SshHost, SshKey
from backfleet.fleet import CarrierKind
from backfleet.ids import Draw
from backfleet.storage import Transaction

MOST_KEYS: Final = 20  # of one account
MOST_HOSTS: Final = 5000  # of one account
TOPIC: Final = "ssh"  # published when a host is to be visited


class KeyExists(Exception):
    """The account has a key of this name."""


class KeyNotFound(Exception):
    """The account has no key of this name."""


class KeyInUse(Exception):
    """The server logs in to hosts with this key. `hosts` is how many there are."""

    def __init__(self, hosts: int) -> None:
        super().__init__(hosts)
        self.hosts = hosts


class TooMany(Exception):
    """The account has as many keys or hosts as it may."""


def add_key(tx: Transaction, key: SshKey) -> None:
    """Store a key under a new name. Raises KeyExists or TooMany."""
    if _store.find_key(tx, key.account_id, key.name) is not None:
        raise KeyExists
    if len(_store.keys_of(tx, key.account_id)) >= MOST_KEYS:
        raise TooMany
    _store.put_key(tx, key)


def keys_of(tx: Transaction, account_id: str) -> list[SshKey]:
    """Return an account's keys by name."""
    return _store.keys_of(tx, account_id)


def delete_key(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a key. Raises KeyNotFound, or KeyInUse while the server logs in with it."""
    if _store.find_key(tx, account_id, name, lock=True) is None:
        raise KeyNotFound
    hosts = _store.count_with_key(tx, account_id, name)
    if hosts:
        raise KeyInUse(hosts)
    _store.delete_key(tx, account_id, name)


def import_host(
    tx: Transaction, host: SshHost, *, region: str, name: str, now: datetime, draw: Draw
) -> tuple[SshHost, bool]:
    """Register a host that has no agent, to be visited at once. Known by address, port, user and root, it stays one.

    Args:
        host: without an instance id.

    Returns:
        The host with its instance id, and whether it is new. One that was known is reached from now on as given here.

    Raises:
        KeyNotFound: the account has no key of this name.
        TooMany: the account has as many hosts as it may.
        Conflict: another transaction was importing the same one; try the whole transaction again.
    """
    if _store.find_key(tx, host.account_id, host.key_name, lock=True) is None:
        raise KeyNotFound
    known = _store.find_same(tx, host)
    tx.publish(TOPIC)
    if known is not None:
        host = replace(host, instance_id=known)
        _store.change_way(tx, host, now)
        if name:
            fleet.rename(tx, known, name)
        return host, False
    if _store.count_hosts(tx, host.account_id) >= MOST_HOSTS:
        raise TooMany
    made = fleet.add_without_agent(
        tx, host.account_id, region, CarrierKind.SSH, name=name or host.target.address, now=now, draw=draw
    )
    host = replace(host, instance_id=made)
    _store.add_host(tx, host, now)
    return host, True


def find_host(tx: Transaction, instance_id: str) -> SshHost | None:
    """Return how an instance is reached by SSH; None if it is not."""
    return _store.hosts(tx, [instance_id]).get(instance_id)


def forget_host(tx: Transaction, instance_id: str) -> None:
    """Forget how an instance is reached, after it was deregistered."""
    _store.forget_host(tx, instance_id)
