"""Roles."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from backfleet.identity._store.account_table import AccountTable, Row
from backfleet.identity._tables import roles
from backfleet.identity.model import Role
from backfleet.storage import Transaction


def _read(row: Row) -> Role:
    longest = timedelta(seconds=row.max_session)
    facts = (row.id, row.account_id, row.name, row.description, row.trust, longest, row.created_at, row.updated_at)
    return Role(*facts, json.loads(row.tags), row.service)


def _write(role: Role) -> Mapping[str, Any]:
    return {
        "id": role.id,
        "name": role.name,
        "folded_name": role.name.lower(),
        "description": role.description,
        "trust": role.trust,
        "max_session": int(role.max_session.total_seconds()),
        "tags": json.dumps(dict(role.tags)),
        "service": role.service,
        "created_at": role.created_at,
        "updated_at": role.updated_at,
    }


TABLE: Final[AccountTable[Role]] = AccountTable(roles, _read, _write, folded=True)


def by_id(tx: Transaction, ids: Sequence[str]) -> dict[str, Role]:
    """Return the roles with these ids."""
    return {row.id: _read(row) for row in tx.rows(sa.select(roles).where(roles.c.id.in_(set(ids))))}
