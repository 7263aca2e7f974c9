"""Users of an account."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from backfleet import identity
from backfleet.identity import users
from backfleet.ids import Draw
from backfleet.ids import draw as real_draw
from backfleet.storage import Database


def test_a_created_user_is_found(database: Database, account: str, now: datetime, draw: Draw) -> None:
    """Every detail comes back; the display name defaults to the name."""
    with database.transaction() as tx:
        made = identity.create_user(
            tx,
            account,
            "alice",
            display_name="Alice",
            comments="line one\nline two",
            email="alice@example.com",
            mobile_phone="86-18600008888",
            now=now,
            draw=draw,
        )
        plain = identity.create_user(tx, account, "bob", now=now, draw=draw)
    with database.reading() as tx:
        assert identity.find_user(tx, account, "alice") == made
        assert identity.find_user(tx, account, "bob") == plain
    assert made.id.isdigit()
    assert made.created_at == now
    assert plain.display_name == "bob"


def test_a_user_name_is_unique_in_an_account(
    database: Database, account: str, other: str, now: datetime, draw: Draw
) -> None:
    """Another account may use it; letter case makes another name."""
    with database.transaction() as tx:
        identity.create_user(tx, account, "alice", now=now, draw=draw)
        identity.create_user(tx, account, "Alice", now=now, draw=draw)
        identity.create_user(tx, other, "alice", now=now, draw=draw)
        with pytest.raises(identity.AlreadyExists) as refused:
            identity.create_user(tx, account, "alice", now=now, draw=draw)
    assert (refused.value.kind, refused.value.name) == ("User", "alice")


def test_one_of_many_calls_creates_the_user(database: Database, account: str, now: datetime) -> None:
    """The others get AlreadyExists."""

    def make(_: int) -> str:
        try:
            with database.transaction() as tx:
                return identity.create_user(tx, account, "alice", now=now, draw=real_draw).id
        except identity.AlreadyExists:
            return ""

    with ThreadPoolExecutor(4) as pool:
        made = [user_id for user_id in pool.map(make, range(8)) if user_id]
    assert len(made) == 1


def test_users_are_listed_page_by_page(database: Database, account: str, other: str, now: datetime, draw: Draw) -> None:
    """Each once, by name, and none of another account."""
    names = ["b", "a", "d", "c", "e"]
    with database.transaction() as tx:
        for name in names:
            identity.create_user(tx, account, name, now=now, draw=draw)
        identity.create_user(tx, other, "aa", now=now, draw=draw)
    seen: list[str] = []
    with database.reading() as tx:
        while part := identity.list_users(tx, account, after=seen[-1] if seen else "", limit=2):
            seen += [user.name for user in part]
    assert seen == sorted(names)


def test_an_account_has_a_limited_number_of_users(
    database: Database, account: str, now: datetime, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After one is deleted, another can be made."""
    monkeypatch.setattr(users, "USERS_PER_ACCOUNT", 2)
    with database.transaction() as tx:
        for name in ("a", "b"):
            identity.create_user(tx, account, name, now=now, draw=draw)
        with pytest.raises(identity.LimitReached) as refused:
            identity.create_user(tx, account, "c", now=now, draw=draw)
        identity.delete_user(tx, account, "a")
        identity.create_user(tx, account, "c", now=now, draw=draw)
    assert (refused.value.kind, refused.value.limit) == ("User", 2)


def test_a_user_with_keys_or_policies_cannot_be_deleted(
    database: Database, vault: identity.Vault, account: str, now: datetime, draw: Draw
) -> None:
    """Keys and policies must be removed first."""
    with database.transaction() as tx:
        identity.create_user(tx, account, "alice", now=now, draw=draw)
        key = identity.create_key(tx, vault, account, "alice", now=now, draw=draw)
        identity.attach_policy(tx, account, "alice", "AliyunHBRFullAccess", "System", now=now)
        with pytest.raises(identity.StillInUse) as by_key:
            identity.delete_user(tx, account, "alice")
        identity.delete_key(tx, account, "alice", key.access_key_id)
        with pytest.raises(identity.StillInUse) as by_policy:
            identity.delete_user(tx, account, "alice")
        assert identity.find_user(tx, account, "alice").name == "alice"
        identity.detach_policy(tx, account, "alice", "AliyunHBRFullAccess", "System")
        identity.delete_user(tx, account, "alice")
        with pytest.raises(identity.NotFound):
            identity.find_user(tx, account, "alice")
    assert (by_key.value.kind, by_policy.value.kind) == ("User.AccessKey", "User.Policy")


def test_a_user_of_another_account_is_not_found(
    database: Database, vault: identity.Vault, account: str, other: str, now: datetime, draw: Draw
) -> None:
    """No verb distinguishes such a user from one that does not exist."""
    with database.transaction() as tx:
        identity.create_user(tx, account, "alice", now=now, draw=draw)
        key = identity.create_key(tx, vault, account, "alice", now=now, draw=draw)
    verbs = [
        lambda tx, name: identity.find_user(tx, other, name),
        lambda tx, name: identity.delete_user(tx, other, name),
        lambda tx, name: identity.create_key(tx, vault, other, name, now=now, draw=draw),
        lambda tx, name: identity.list_keys(tx, other, name),
        lambda tx, name: identity.set_key(tx, other, name, key.access_key_id, active=False),
        lambda tx, name: identity.delete_key(tx, other, name, key.access_key_id),
        lambda tx, name: identity.policies_of_user(tx, other, name),
        lambda tx, name: identity.attach_policy(tx, other, name, "AdministratorAccess", "System", now=now),
        lambda tx, name: identity.detach_policy(tx, other, name, "AdministratorAccess", "System"),
    ]
    for verb in verbs:
        messages = []
        for name in ("alice", "nobody"):
            with pytest.raises(identity.NotFound) as refused, database.transaction() as tx:
                verb(tx, name)
            messages.append(str(refused.value).replace(name, "?"))
        assert messages[0] == messages[1]
    with database.reading() as tx:
        assert [k.active for k in identity.list_keys(tx, account, "alice")] == [True]
