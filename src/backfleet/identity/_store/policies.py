"""Custom policies and their versions. System policies are code."""

from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from backfleet.identity._store.account_table import Row, count_of_account
from backfleet.identity._tables import policies, policy_versions
from backfleet.identity.model import CUSTOM, Policy, PolicyVersion
from backfleet.storage import Transaction

_WITH_DOCUMENT: Final = sa.select(policies, policy_versions.c.document).join(
    policy_versions,
    sa.and_(
        policy_versions.c.account_id == policies.c.account_id,
        policy_versions.c.policy_name == policies.c.name,
        policy_versions.c.number == policies.c.default_version,
    ),
)


def add(tx: Transaction, account_id: str, name: str, document: str, description: str, now: datetime) -> None:
    """Add a new policy with its first version. A name that is taken is a Conflict."""
    row = {"account_id": account_id, "name": name, "description": description, "created_at": now, "updated_at": now}
    tx.add(policies, [{**row, "default_version": 1, "last_version": 1}])
    add_version(tx, account_id, name, 1, document, now)


def find(tx: Transaction, account_id: str, name: str, *, lock: bool = False) -> Policy | None:
    """Return a policy with its default document. `lock` makes others who change it wait."""
    named = _named(account_id, name)
    if lock:  # a statement of its own, so that the next one reads what the previous holder of the lock left
        tx.first(sa.select(policies.c.name).where(named).with_for_update())
    row = tx.first(_WITH_DOCUMENT.where(named))
    return None if row is None else _policy(row)


def last_version(tx: Transaction, account_id: str, name: str) -> int:
    """Return the highest version number that the policy ever had."""
    return int(tx.scalar(sa.select(policies.c.last_version).where(_named(account_id, name))))


def after(tx: Transaction, account_id: str, after: str, limit: int) -> list[Policy]:
    """Return the policies whose names come after this one, by name."""
    query = _WITH_DOCUMENT.where(policies.c.account_id == account_id, policies.c.name > after)
    return [_policy(row) for row in tx.rows(query.order_by(policies.c.name).limit(limit))]


def count(tx: Transaction, account_id: str) -> int:
    """Return how many custom policies the account has."""
    return count_of_account(tx, policies, account_id)


def change(tx: Transaction, account_id: str, name: str, **values: Any) -> None:
    """Change columns of a policy."""
    tx.run(sa.update(policies).where(_named(account_id, name)).values(**values))


def drop(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a policy and its versions; it must not be attached to anyone."""
    tx.run(sa.delete(policy_versions).where(_version_of(account_id, name)))
    tx.run(sa.delete(policies).where(_named(account_id, name)))


def add_version(tx: Transaction, account_id: str, name: str, number: int, document: str, now: datetime) -> None:
    """Add a version of a policy."""
    row = {"account_id": account_id, "policy_name": name, "number": number, "document": document, "created_at": now}
    tx.add(policy_versions, [row])


def versions(tx: Transaction, account_id: str, policy: Policy) -> list[PolicyVersion]:
    """Return the versions of a policy, oldest first."""
    query = sa.select(policy_versions).where(_version_of(account_id, policy.name)).order_by(policy_versions.c.number)
    return [
        PolicyVersion(row.number, row.document, row.number == policy.version, row.created_at) for row in tx.rows(query)
    ]


def drop_version(tx: Transaction, account_id: str, name: str, number: int) -> None:
    """Delete a version; it must not be the default one."""
    tx.run(sa.delete(policy_versions).where(_version_of(account_id, name), policy_versions.c.number == number))


def _named(account_id: str, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(policies.c.account_id == account_id, policies.c.name == name)


def _version_of(account_id: str, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(policy_versions.c.account_id == account_id, policy_versions.c.policy_name == name)


def _policy(row: Row) -> Policy:
    dates = (row.created_at, row.updated_at)
    return Policy(row.name, CUSTOM, row.description, row.document, *dates, row.default_version)
