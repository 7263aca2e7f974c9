"""An account to act in, and one beside it that must never be seen."""

from datetime import datetime
from pathlib import Path

import pytest

from backfleet import identity
from backfleet.identity._tables import accounts
from backfleet.ids import Draw
from backfleet.storage import Database

OTHER = "9999999999999999"


@pytest.fixture
def vault(tmp_path: Path) -> identity.Vault:
    """A vault of its own for every test."""
    return identity.Vault.open(tmp_path)


@pytest.fixture
def root(database: Database, vault: identity.Vault, now: datetime, draw: Draw) -> identity.NewAccessKey:
    """The first account and its key."""
    with database.transaction() as tx:
        made = identity.first_account(tx, vault, now=now, draw=draw)
    assert made is not None
    return made


@pytest.fixture
def account(root: identity.NewAccessKey) -> str:
    """The id of the first account."""
    return root.account_id


@pytest.fixture
def other(database: Database, root: identity.NewAccessKey, now: datetime) -> str:
    """The id of another account; nothing offers to make one yet, so it is a row."""
    with database.transaction() as tx:
        tx.add(accounts, [{"id": OTHER, "created_at": now}])
    return OTHER
