"""The first account."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import sqlalchemy as sa

from backfleet import identity
from backfleet.identity._tables import access_keys, accounts
from backfleet.ids import Draw
from backfleet.ids import draw as real_draw
from backfleet.storage import Database


def test_the_first_account_gets_a_key(database: Database, vault: identity.Vault, now: datetime, draw: Draw) -> None:
    """It has 16 digits, a key of the long-term form, and a secret of 30 characters that works."""
    with database.transaction() as tx:
        made = identity.first_account(tx, vault, now=now, draw=draw)
        assert made is not None
        known = identity.find_key(tx, vault, made.access_key_id)
    assert made.account_id.isdigit()
    assert len(made.account_id) == 16
    assert made.access_key_id.startswith("LTAI")
    assert len(made.access_key_secret) == 30
    assert known is not None
    assert (known.secret, known.active) == (made.access_key_secret, True)
    assert (known.caller.kind, known.caller.arn) == ("Account", f"acs:ram::{made.account_id}:root")


def test_a_later_start_creates_no_account(database: Database, vault: identity.Vault, now: datetime, draw: Draw) -> None:
    """Nor does it show a secret."""
    with database.transaction() as tx:
        assert identity.first_account(tx, vault, now=now, draw=draw)
    with database.transaction() as tx:
        assert identity.first_account(tx, vault, now=now, draw=draw) is None
        assert tx.scalar(sa.select(sa.func.count()).select_from(access_keys)) == 1


def test_replicas_that_start_together_create_one_account(
    database: Database, vault: identity.Vault, now: datetime
) -> None:
    """Eight at once: one account, one key, one replica that gets the secret."""

    def start(_: int) -> identity.NewAccessKey | None:
        with database.transaction() as tx:
            return identity.first_account(tx, vault, now=now, draw=real_draw)

    with ThreadPoolExecutor(8) as pool:
        made = [key for key in pool.map(start, range(8)) if key]
    assert len(made) == 1
    with database.reading() as tx:
        assert [row.id for row in tx.rows(sa.select(accounts))] == [made[0].account_id]
        assert [row.id for row in tx.rows(sa.select(access_keys))] == [made[0].access_key_id]


def test_a_start_that_fails_leaves_nothing(
    database: Database, vault: identity.Vault, now: datetime, draw: Draw
) -> None:
    """If the key cannot be given to its owner, there is no account yet, and the next start creates it."""
    try:
        with database.transaction() as tx:
            identity.first_account(tx, vault, now=now, draw=draw)
            raise OSError("no space left on the device")
    except OSError:
        pass
    with database.transaction() as tx:
        assert identity.first_account(tx, vault, now=now, draw=draw) is not None


def test_secrets_are_not_in_the_database(
    database: Database, vault: identity.Vault, root: identity.NewAccessKey, account: str
) -> None:
    """Neither the stored row nor the repr of a value shows the secret."""
    with database.reading() as tx:
        (row,) = tx.rows(sa.select(access_keys))
        known = identity.find_key(tx, vault, root.access_key_id)
    assert root.access_key_secret not in str(row)
    assert root.access_key_secret not in repr(root)
    assert root.access_key_secret not in repr(known)
