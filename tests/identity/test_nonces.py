"""Each request is accepted once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from backfleet import identity
from backfleet.identity import nonces
from backfleet.identity._tables import nonces as table
from backfleet.ids import Draw
from backfleet.storage import Database

KEEP = timedelta(minutes=30)


def spend(database: Database, key: str, nonce: str, now: datetime) -> bool:
    with database.transaction() as tx:
        return identity.spend_nonce(tx, key, nonce, now=now, keep=KEEP)


@pytest.fixture
def key(database: Database, vault: identity.Vault, account: str, now: datetime, draw: Draw) -> identity.SealedKey:
    """The key of a user, as it was read."""
    with database.transaction() as tx:
        identity.create_user(tx, account, "ann", now=now, draw=draw)
        made = identity.create_key(tx, vault, account, "ann", now=now, draw=draw)
        found = identity.find_sealed_key(tx, made.access_key_id)
    assert found is not None
    return found


def count(database: Database) -> int:
    with database.reading() as tx:
        return int(tx.scalar(sa.select(sa.func.count()).select_from(table)))


def test_a_nonce_is_accepted_once(database: Database, now: datetime) -> None:
    """It stays spent; the same nonce with another key is another nonce."""
    assert spend(database, "LTAI1", "n", now)
    assert not spend(database, "LTAI1", "n", now)
    assert not spend(database, "LTAI1", "n", now + timedelta(minutes=29))
    assert spend(database, "LTAI2", "n", now)
    assert spend(database, "LTAI1", "N", now)


def test_a_key_that_was_read_before_spends_nonces_like_any_other(
    database: Database, key: identity.SealedKey, now: datetime
) -> None:
    """The nonces are the same ones."""
    with database.transaction() as tx:
        assert identity.spend_nonce_of(tx, key, "n", now=now, keep=KEEP)
    with database.transaction() as tx:
        assert not identity.spend_nonce_of(tx, key, "n", now=now, keep=KEEP)
        assert not identity.spend_nonce(tx, key.access_key_id, "n", now=now, keep=KEEP)
        assert identity.spend_nonce_of(tx, key, "n" * 100, now=now, keep=KEEP)
    assert count(database) == 2
    assert key.sealed_secret not in repr(key)


def test_a_root_key_that_was_read_before_spends_nonces(
    database: Database, vault: identity.Vault, account: str, now: datetime, draw: Draw
) -> None:
    """It belongs to no user."""
    with database.transaction() as tx:
        made = identity.create_key(tx, vault, account, None, now=now, draw=draw)
        found = identity.find_sealed_key(tx, made.access_key_id)
        assert found is not None
        assert identity.spend_nonce_of(tx, found, "n", now=now, keep=KEEP)
        assert not identity.spend_nonce_of(tx, found, "n", now=now, keep=KEEP)


@pytest.mark.parametrize("change", ["deactivated", "deleted", "renamed"])
def test_a_key_that_is_not_as_it_was_read_spends_nothing(
    database: Database, account: str, key: identity.SealedKey, now: datetime, change: str
) -> None:
    """Whatever changed: it has to be read again."""
    with database.transaction() as tx:
        if change == "deactivated":
            identity.set_key(tx, account, "ann", key.access_key_id, active=False)
        elif change == "deleted":
            identity.delete_key(tx, account, "ann", key.access_key_id)
        else:
            identity.update_user(tx, account, "ann", new_name="bea", now=now)
    with pytest.raises(identity.KeyChanged), database.transaction() as tx:
        identity.spend_nonce_of(tx, key, "n", now=now, keep=KEEP)
    assert count(database) == 0


def test_of_many_keys_those_used_last_are_kept(key: identity.SealedKey) -> None:
    """However many sign."""
    known = identity.KeyCache(2)
    for number in (1, 2, 3):
        known.put(replace(key, access_key_id=f"LTAI{number}"), "secret")
        known.get("LTAI1")
    assert [known.get(f"LTAI{number}") is not None for number in (1, 2, 3)] == [True, False, True]
    known.drop("LTAI1")
    assert known.get("LTAI1") is None


@pytest.mark.parametrize(
    "nonce", ["n" * 64, "n" * 65, "n" * 5000, "a b", "a\x00b", "нонс", "\ud800", "sha256:" + "0" * 64, ""]
)
def test_any_nonce_is_accepted_once(database: Database, now: datetime, nonce: str) -> None:
    """Clients choose nonces freely, also long and odd ones."""
    assert spend(database, "LTAI1", nonce, now)
    assert not spend(database, "LTAI1", nonce, now)
    assert spend(database, "LTAI1", nonce + "x", now)


def test_the_stored_form_of_a_nonce_is_another_nonce(database: Database, now: datetime) -> None:
    """Sending the hash of a nonce does not spend that nonce."""
    assert spend(database, "LTAI1", "n" * 100, now)
    with database.reading() as tx:
        stored = tx.scalar(sa.select(table.c.nonce))
    assert spend(database, "LTAI1", stored, now)


def test_one_of_many_replicas_accepts_a_nonce(database: Database, now: datetime) -> None:
    """The same request is sent to every replica at once."""
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda _: spend(database, "LTAI1", "n", now), range(16)))
    assert won.count(True) == 1


def test_a_request_that_fails_does_not_spend_its_nonce(database: Database, now: datetime) -> None:
    """The transaction was rolled back."""
    with pytest.raises(RuntimeError), database.transaction() as tx:
        assert identity.spend_nonce(tx, "LTAI1", "n", now=now, keep=KEEP)
        raise RuntimeError
    assert spend(database, "LTAI1", "n", now)


def test_expired_nonces_are_purged(database: Database, now: datetime) -> None:
    """And no others."""
    spend(database, "LTAI1", "old", now)
    spend(database, "LTAI1", "new", now + timedelta(minutes=1))
    with database.transaction() as tx:
        assert identity.purge_nonces(tx, now + KEEP) == 0
        assert identity.purge_nonces(tx, now + KEEP + timedelta(seconds=1)) == 1
    assert not spend(database, "LTAI1", "new", now)
    assert spend(database, "LTAI1", "old", now)


def test_a_purge_has_a_limit(database: Database, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Very many are purged in several calls, none of them long."""
    monkeypatch.setattr(nonces, "PURGED_AT_ONCE", 3)
    for number in range(7):
        spend(database, "LTAI1", str(number), now)
    later = now + timedelta(days=1)
    for gone in (3, 3, 1, 0):
        with database.transaction() as tx:
            assert identity.purge_nonces(tx, later) == gone
    assert count(database) == 0


def test_replicas_purge_together(database: Database, now: datetime) -> None:
    """None waits for another, none fails, and all expired nonces are purged."""
    for number in range(40):
        spend(database, "LTAI1", str(number), now)

    def purge(_: int) -> int:
        with database.transaction() as tx:
            return identity.purge_nonces(tx, now + timedelta(days=1))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(purge, range(8))) == 40
    assert count(database) == 0
