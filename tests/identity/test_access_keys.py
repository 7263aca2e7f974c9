"""Access keys of users and of the account itself."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from backfleet import identity
from backfleet.ids import Draw
from backfleet.ids import draw as real_draw
from backfleet.storage import Database


@pytest.fixture
def alice(database: Database, account: str, now: datetime, draw: Draw) -> identity.User:
    """Create a user and return the name."""
    with database.transaction() as tx:
        return identity.create_user(tx, account, "alice", now=now, draw=draw)


def test_a_user_has_at_most_two_keys(
    database: Database, vault: identity.Vault, account: str, alice: identity.User, now: datetime, draw: Draw
) -> None:
    """Enough to replace one by the next; an inactive one counts, a deleted one does not."""
    with database.transaction() as tx:
        first = identity.create_key(tx, vault, account, "alice", now=now, draw=draw)
        second = identity.create_key(tx, vault, account, "alice", now=now + timedelta(seconds=1), draw=draw)
        identity.set_key(tx, account, "alice", first.access_key_id, active=False)
        with pytest.raises(identity.LimitReached) as refused:
            identity.create_key(tx, vault, account, "alice", now=now, draw=draw)
        listed = identity.list_keys(tx, account, "alice")
        identity.delete_key(tx, account, "alice", first.access_key_id)
        identity.create_key(tx, vault, account, "alice", now=now, draw=draw)
    assert (refused.value.kind, refused.value.limit) == ("User.AccessKey", 2)
    assert [(key.id, key.active) for key in listed] == [(first.access_key_id, False), (second.access_key_id, True)]


def test_the_limit_holds_for_calls_at_once(
    database: Database, vault: identity.Vault, account: str, alice: identity.User, now: datetime
) -> None:
    """Calls that race create two keys."""

    def make(_: int) -> bool:
        try:
            with database.transaction() as tx:
                identity.create_key(tx, vault, account, "alice", now=now, draw=real_draw)
        except identity.LimitReached:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(make, range(6))).count(True) == 2
    with database.reading() as tx:
        assert len(identity.list_keys(tx, account, "alice")) == 2


def test_a_key_belongs_to_its_user(
    database: Database, vault: identity.Vault, account: str, alice: identity.User, now: datetime, draw: Draw
) -> None:
    """Other users and the account itself do not have it."""
    with database.transaction() as tx:
        identity.create_user(tx, account, "bob", now=now, draw=draw)
        key = identity.create_key(tx, vault, account, "alice", now=now, draw=draw)
    for owner in ("bob", None):
        with pytest.raises(identity.NotFound) as refused, database.transaction() as tx:
            identity.set_key(tx, account, owner, key.access_key_id, active=False)
        assert refused.value.kind == "User.AccessKey"
        with pytest.raises(identity.NotFound), database.transaction() as tx:
            identity.delete_key(tx, account, owner, key.access_key_id)
    with database.reading() as tx:
        assert identity.list_keys(tx, account, "bob") == []
        assert identity.list_keys(tx, account, "alice") == [identity.AccessKey(key.access_key_id, True, now)]


def test_the_account_replaces_its_own_key(
    database: Database, vault: identity.Vault, root: identity.NewAccessKey, now: datetime, draw: Draw
) -> None:
    """It creates a second key, then deletes the first."""
    with database.transaction() as tx:
        new = identity.create_key(tx, vault, root.account_id, None, now=now, draw=draw)
        with pytest.raises(identity.LimitReached):
            identity.create_key(tx, vault, root.account_id, None, now=now, draw=draw)
        identity.delete_key(tx, root.account_id, None, root.access_key_id)
        known = identity.find_key(tx, vault, new.access_key_id)
        assert identity.find_key(tx, vault, root.access_key_id) is None
    assert known is not None
    assert known.caller.kind == "Account"


def test_the_last_active_root_key_stays(
    database: Database, vault: identity.Vault, root: identity.NewAccessKey, now: datetime, draw: Draw
) -> None:
    """It can be neither deleted nor deactivated, even if there is a second, inactive one."""
    account, only = root.account_id, root.access_key_id
    with database.transaction() as tx:
        spare = identity.create_key(tx, vault, account, None, now=now, draw=draw)
        identity.set_key(tx, account, None, spare.access_key_id, active=False)
    for verb in (
        lambda tx: identity.delete_key(tx, account, None, only),
        lambda tx: identity.set_key(tx, account, None, only, active=False),
    ):
        with pytest.raises(identity.StillInUse) as refused, database.transaction() as tx:
            verb(tx)
        assert refused.value.kind == "Account.AccessKey"
    with database.transaction() as tx:
        identity.delete_key(tx, account, None, spare.access_key_id)
        assert identity.list_keys(tx, account, None) == [identity.AccessKey(only, True, now)]


def test_the_root_key_of_another_account_is_not_found(
    database: Database, vault: identity.Vault, root: identity.NewAccessKey, other: str, now: datetime, draw: Draw
) -> None:
    """An account sees only its own keys."""
    with database.transaction() as tx:
        identity.create_key(tx, vault, root.account_id, None, now=now, draw=draw)
        assert identity.list_keys(tx, other, None) == []
    for verb in (
        lambda tx: identity.delete_key(tx, other, None, root.access_key_id),
        lambda tx: identity.set_key(tx, other, None, root.access_key_id, active=False),
    ):
        with pytest.raises(identity.NotFound), database.transaction() as tx:
            verb(tx)
    with database.reading() as tx:
        assert [key.active for key in identity.list_keys(tx, root.account_id, None)] == [True, True]
