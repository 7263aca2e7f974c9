"""The tags of roles and of policies: JSON in a column of their own tables."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from backfleet.identity._tables import policies, roles
from backfleet.storage import Transaction

_TABLES: Final = {"Role": roles, "Policy": policies}
_NONE: Final = "{}"


def of_account(
    tx: Transaction, account_id: str, kind: str, names: Sequence[str] | None
) -> dict[str, Mapping[str, str]]:
    """Return the tags of those that have some, by name; of these names only, if some are given."""
    table = _TABLES[kind]
    query = sa.select(table.c.name, table.c.tags).where(table.c.account_id == account_id, table.c.tags != _NONE)
    if names is not None:
        query = query.where(table.c.name.in_(names))
    return {row.name: json.loads(row.tags) for row in tx.rows(query.order_by(table.c.name))}


def for_update(tx: Transaction, account_id: str, kind: str, names: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """Return the tags of each of these that exists, by name; others who change them wait."""
    table = _TABLES[kind]
    named = sa.select(table.c.name, table.c.tags).where(table.c.account_id == account_id, table.c.name.in_(names))
    return {row.name: json.loads(row.tags) for row in tx.rows(named.order_by(table.c.name).with_for_update())}


def put(tx: Transaction, account_id: str, kind: str, name: str, tags: Mapping[str, str]) -> None:
    """Set all tags of one of them."""
    table = _TABLES[kind]
    named = sa.and_(table.c.account_id == account_id, table.c.name == name)
    tx.run(sa.update(table).where(named).values(tags=json.dumps(dict(tags))))
