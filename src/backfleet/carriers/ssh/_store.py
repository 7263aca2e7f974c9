"""The only SQL on hosts without an agent and the server's keys for them."""

import dataclasses
import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from backfleet import commands
from backfleet.carriers.ssh._tables import ssh_hosts, ssh_keys
from backfleet.carriers.ssh.model import Hop, SshHost, SshKey
from backfleet.storage import Transaction

MOST_HELD = timedelta(minutes=5)
_WAY = ("host_keys", "key_name", "sudo", "jumps")


def put_key(tx: Transaction, key: SshKey) -> None:
    """Store a key that is new."""
    tx.add(ssh_keys, [dataclasses.asdict(key)])


def keys_of(tx: Transaction, account_id: str) -> list[SshKey]:
    """Return an account's keys by name."""
    query = sa.select(ssh_keys).where(ssh_keys.c.account_id == account_id).order_by(ssh_keys.c.name)
    return [SshKey(**row._mapping) for row in tx.rows(query)]


def find_key(tx: Transaction, account_id: str, name: str, *, lock: bool = False) -> SshKey | None:
    """Return a key, locked against its deletion if asked."""
    query = sa.select(ssh_keys).where(ssh_keys.c.account_id == account_id, ssh_keys.c.name == name)
    row = tx.first(query.with_for_update() if lock else query)
    return None if row is None else SshKey(**row._mapping)


def delete_key(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a key."""
    tx.run(sa.delete(ssh_keys).where(ssh_keys.c.account_id == account_id, ssh_keys.c.name == name))


def count_with_key(tx: Transaction, account_id: str, name: str) -> int:
    """Return how many hosts the server logs in to with this key."""
    with_key = sa.and_(ssh_hosts.c.account_id == account_id, ssh_hosts.c.key_name == name)
    return int(tx.scalar(sa.select(sa.func.count()).select_from(ssh_hosts).where(with_key)))


def count_hosts(tx: Transaction, account_id: str) -> int:
    """Return how many hosts the account has."""
    query = sa.select(sa.func.count()).select_from(ssh_hosts).where(ssh_hosts.c.account_id == account_id)
    return int(tx.scalar(query))


def find_same(tx: Transaction, host: SshHost) -> str | None:
    """Return the instance that was imported with this address, port, user and root; None if there is none."""
    target = host.target
    same = sa.and_(
        ssh_hosts.c.account_id == host.account_id,
        ssh_hosts.c.address == target.address,
        ssh_hosts.c.port == target.port,
        ssh_hosts.c.username == target.user,
        ssh_hosts.c.root == host.root,
    )
    row = tx.first(sa.select(ssh_hosts.c.instance_id).where(same))
    return None if row is None else str(row.instance_id)


def add_host(tx: Transaction, host: SshHost, now: datetime) -> None:
    """Store a host, to be visited at once."""
    tx.add(ssh_hosts, [{**_row(host), "next_visit_at": now}])


def change_way(tx: Transaction, host: SshHost, now: datetime) -> None:
    """Store how a known host is reached from now on, and have it visited at once."""
    values: dict[str, Any] = {name: value for name, value in _row(host).items() if name in _WAY}
    values |= {"problem_code": "", "problem": "", "next_visit_at": now, "free_at": None}
    tx.run(sa.update(ssh_hosts).where(ssh_hosts.c.instance_id == host.instance_id).values(values))


def forget_host(tx: Transaction, instance_id: str) -> None:
    """Delete a host."""
    tx.run(sa.delete(ssh_hosts).where(ssh_hosts.c.instance_id == instance_id))


def hosts(tx: Transaction, instance_ids: Collection[str]) -> dict[str, SshHost]:
    """Return these hosts by id."""
    query = sa.select(ssh_hosts).where(ssh_hosts.c.instance_id.in_(instance_ids))
    return {row.instance_id: _host(row) for row in tx.rows(query)}


def exist(tx: Transaction) -> bool:
    """Return whether there is any host."""
    return tx.first(sa.select(ssh_hosts.c.instance_id).limit(1)) is not None


def take_with_work(tx: Transaction, now: datetime, until: datetime, limit: int) -> list[str]:
    """Return hosts that have commands to fetch, or to stop, each to one replica alone. They are taken until `until`."""
    work = commands.has_work(ssh_hosts.c.instance_id)
    found = _free(tx, sa.select(ssh_hosts.c.instance_id).where(work), now, limit)
    hold(tx, found, until)
    return found


def take_due(tx: Transaction, now: datetime, until: datetime, again_at: datetime, limit: int) -> list[str]:
    """Return hosts whose visit is due, as above: the next visit is then due at `again_at`."""
    at = ssh_hosts.c.next_visit_at
    is_due = sa.or_(at <= now, at > again_at + MOST_HELD)  # beyond that the clock was set back
    query = sa.select(ssh_hosts.c.instance_id).where(is_due)
    found = _free(tx, query.order_by(ssh_hosts.c.next_visit_at), now, limit)
    if found:
        tx.run(sa.update(ssh_hosts).where(ssh_hosts.c.instance_id.in_(found)).values(next_visit_at=again_at))
    hold(tx, found, until)
    return found


def _free(tx: Transaction, query: sa.Select[Any], now: datetime, limit: int) -> list[str]:
    at = ssh_hosts.c.free_at
    free = sa.or_(at.is_(None), at <= now, at > now + MOST_HELD)  # beyond that the clock was set back
    query = query.where(free).order_by(at.is_not(None), at).limit(limit)  # those that waited longest
    return [row.instance_id for row in tx.rows(query.with_for_update(skip_locked=True))]


def hold(tx: Transaction, instance_ids: Collection[str], until: datetime) -> None:
    """Let nobody else visit these hosts until then."""
    if instance_ids:
        tx.run(sa.update(ssh_hosts).where(ssh_hosts.c.instance_id.in_(instance_ids)).values(free_at=until))


def note_visit(tx: Transaction, instance_id: str, now: datetime) -> None:
    """Record that a host was found in order."""
    values = {"visited_at": now, "problem_code": "", "problem": ""}
    tx.run(sa.update(ssh_hosts).where(ssh_hosts.c.instance_id == instance_id).values(values))


def note_problem(tx: Transaction, instance_id: str, code: str, problem: str) -> None:
    """Record what was wrong at the last visit."""
    values = {"problem_code": code, "problem": problem}
    tx.run(sa.update(ssh_hosts).where(ssh_hosts.c.instance_id == instance_id).values(values))


def _row(host: SshHost) -> dict[str, Any]:
    return {
        "instance_id": host.instance_id,
        "account_id": host.account_id,
        "address": host.target.address,
        "port": host.target.port,
        "username": host.target.user,
        "root": host.root,
        "host_keys": "\n".join(host.target.host_keys),
        "key_name": host.key_name,
        "sudo": host.sudo,
        "jumps": json.dumps([dataclasses.asdict(hop) for hop in host.jumps]),
    }


def _host(row: sa.Row[Any]) -> SshHost:
    jumps: Sequence[dict[str, Any]] = json.loads(row.jumps)
    return SshHost(
        row.instance_id,
        row.account_id,
        Hop(row.address, row.port, row.username, tuple(row.host_keys.splitlines())),
        row.key_name,
        row.sudo,
        row.root,
        tuple(Hop(**{**hop, "host_keys": tuple(hop["host_keys"])}) for hop in jumps),
        row.problem_code,
        row.problem,
        row.visited_at,
    )
