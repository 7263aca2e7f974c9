"""Identity providers."""

import json
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from backfleet.identity._store.account_table import AccountTable, Row
from backfleet.identity._tables import oidc_providers
from backfleet.identity.model import Provider
from backfleet.storage import Transaction


def _read(row: Row) -> Provider:
    facts = (row.id, row.account_id, row.name, row.issuer, tuple(json.loads(row.client_ids)), row.keys)
    return Provider(*facts, row.description, row.created_at, row.updated_at)


def _write(provider: Provider) -> Mapping[str, Any]:
    return {
        "id": provider.id,
        "name": provider.name,
        "issuer": provider.issuer,
        "client_ids": json.dumps(provider.client_ids),
        "keys": provider.keys,
        "description": provider.description,
        "created_at": provider.created_at,
        "updated_at": provider.updated_at,
    }


TABLE: Final[AccountTable[Provider]] = AccountTable(oidc_providers, _read, _write)


def exists(tx: Transaction, provider_id: str) -> bool:
    """Return whether an identity provider with this id exists."""
    return tx.first(sa.select(oidc_providers.c.id).where(oidc_providers.c.id == provider_id)) is not None
