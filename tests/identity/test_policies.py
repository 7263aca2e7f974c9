"""Policies, and whom they are attached to."""

import threading
from datetime import datetime

import pytest

from backfleet import identity
from backfleet.identity import attachments, policies
from backfleet.identity.policy import MalformedPolicy
from backfleet.identity.system_policies import SYSTEM_POLICIES
from backfleet.ids import Draw
from backfleet.storage import Database

DOCUMENT = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"hbr:*","Resource":"*"}]}'


@pytest.fixture
def alice(database: Database, account: str, now: datetime, draw: Draw) -> identity.User:
    """Create a user, and a policy `Own` that is attached to nobody."""
    with database.transaction() as tx:
        identity.create_policy(tx, account, "Own", DOCUMENT, description="ours", now=now)
        return identity.create_user(tx, account, "alice", now=now, draw=draw)


def test_a_created_policy_is_found(database: Database, account: str, alice: identity.User, now: datetime) -> None:
    """The document comes back exactly as it was sent."""
    with database.reading() as tx:
        own = identity.find_policy(tx, account, "Own", "Custom")
        system = identity.find_policy(tx, account, "AliyunHBRFullAccess", "System")
    assert own == identity.Policy("Own", "Custom", "ours", DOCUMENT, now, now)
    assert system.document == SYSTEM_POLICIES["AliyunHBRFullAccess"].document


@pytest.mark.parametrize(
    ("name", "kind"),
    [("own", "Custom"), ("Own", "System"), ("AliyunHBRFullAccess", "Custom"), ("AliyunHbrFullAccess", "System")],
)
def test_name_and_type_must_both_match(
    database: Database, account: str, alice: identity.User, name: str, kind: str
) -> None:
    """Letter case matters, and older spellings of system policies are not accepted."""
    with database.reading() as tx, pytest.raises(identity.NotFound) as refused:
        identity.find_policy(tx, account, name, kind)
    assert refused.value.kind == "Policy"


@pytest.mark.parametrize("name", ["Own", "AdministratorAccess"])
def test_a_policy_name_is_unique_in_an_account(
    database: Database, account: str, other: str, alice: identity.User, now: datetime, name: str
) -> None:
    """System policies count; another account may use the same name."""
    with database.transaction() as tx, pytest.raises(identity.AlreadyExists):
        identity.create_policy(tx, account, name, DOCUMENT, now=now)
    with database.transaction() as tx:
        assert identity.create_policy(tx, other, "Own", DOCUMENT, now=now)


def test_a_malformed_document_is_not_stored(database: Database, account: str, now: datetime) -> None:
    """It is refused before anything is written."""
    with database.transaction() as tx:
        with pytest.raises(MalformedPolicy):
            identity.create_policy(tx, account, "Bad", '{"Version":"1"}', now=now)
        assert identity.create_policy(tx, account, "Bad", DOCUMENT, now=now)


def test_an_account_has_a_limited_number_of_policies(
    database: Database, account: str, alice: identity.User, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more than the limit is refused."""
    monkeypatch.setattr(policies, "POLICIES_PER_ACCOUNT", 1)
    with database.transaction() as tx, pytest.raises(identity.LimitReached) as refused:
        identity.create_policy(tx, account, "More", DOCUMENT, now=now)
    assert refused.value.kind == "Policy"


def test_a_policy_is_attached_and_detached_once(
    database: Database, account: str, alice: identity.User, now: datetime
) -> None:
    """Both types; a second time is refused."""
    both = [("Own", "Custom"), ("AliyunHBRFullAccess", "System")]
    for name, kind in both:
        with database.transaction() as tx:
            identity.attach_policy(tx, account, "alice", name, kind, now=now)
        with database.transaction() as tx, pytest.raises(identity.AlreadyExists) as again:
            identity.attach_policy(tx, account, "alice", name, kind, now=now)
        assert again.value.kind == "User.Policy"
    with database.reading() as tx:
        found = identity.policies_of_user(tx, account, "alice")
        counted = [identity.find_policy(tx, account, name, kind).attached for name, kind in both]
    assert [(policy.name, policy.kind, policy.attached_at) for policy in found] == [(*pair, now) for pair in both]
    assert [policy.description for policy in found] == ["ours", SYSTEM_POLICIES["AliyunHBRFullAccess"].description]
    assert counted == [1, 1]
    for name, kind in both:
        with database.transaction() as tx:
            identity.detach_policy(tx, account, "alice", name, kind)
        with database.transaction() as tx, pytest.raises(identity.NotFound) as gone:
            identity.detach_policy(tx, account, "alice", name, kind)
        assert gone.value.kind == "User.Policy"


def test_a_user_has_a_limited_number_of_policies(
    database: Database, account: str, alice: identity.User, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each type."""
    monkeypatch.setattr(attachments, "POLICIES_PER_HOLDER", 1)
    with database.transaction() as tx:
        identity.attach_policy(tx, account, "alice", "AliyunHBRFullAccess", "System", now=now)
        identity.attach_policy(tx, account, "alice", "Own", "Custom", now=now)
        with pytest.raises(identity.LimitReached) as refused:
            identity.attach_policy(tx, account, "alice", "AliyunECSFullAccess", "System", now=now)
    assert refused.value.kind == "User.Policy"


def test_an_attached_policy_cannot_be_deleted(
    database: Database, account: str, alice: identity.User, now: datetime
) -> None:
    """It must be detached from everyone first."""
    with database.transaction() as tx:
        identity.attach_policy(tx, account, "alice", "Own", "Custom", now=now)
        with pytest.raises(identity.StillInUse) as refused:
            identity.delete_policy(tx, account, "Own")
        identity.detach_policy(tx, account, "alice", "Own", "Custom")
        identity.delete_policy(tx, account, "Own")
        with pytest.raises(identity.NotFound):
            identity.delete_policy(tx, account, "Own")
    assert refused.value.kind == "Policy.User"


def test_system_policies_cannot_be_deleted(database: Database, account: str) -> None:
    """They do not belong to the account."""
    with database.transaction() as tx, pytest.raises(identity.NotFound):
        identity.delete_policy(tx, account, "AdministratorAccess")


def test_a_policy_is_not_deleted_while_it_is_attached(
    database: Database, account: str, alice: identity.User, now: datetime
) -> None:
    """Whichever call is first, no user keeps a policy that does not exist."""
    begun, attached = threading.Event(), threading.Event()
    refused: list[str] = []

    def delete() -> None:
        begun.wait(10)
        try:
            with database.transaction() as tx:
                identity.delete_policy(tx, account, "Own")
        except identity.StillInUse:
            refused.append("still in use")

    thread = threading.Thread(target=delete)
    thread.start()
    with database.transaction() as tx:
        identity.attach_policy(tx, account, "alice", "Own", "Custom", now=now)
        begun.set()
        attached.wait(0.3)  # the other comes to wait for the policy's row
    thread.join(10)
    assert refused == ["still in use"]
    with database.reading() as tx:
        assert [policy.document for policy in identity.policies_of_user(tx, account, "alice")] == [DOCUMENT]


@pytest.mark.parametrize("kind", [None, "Custom", "System"])
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_policies_are_listed_page_by_page(
    database: Database, account: str, other: str, now: datetime, draw: Draw, kind: str | None, limit: int
) -> None:
    """Custom policies, then system policies, each once with its count, and none of another account."""
    with database.transaction() as tx:
        for name in ("b", "a", "zz", "c"):
            identity.create_policy(tx, account, name, DOCUMENT, now=now)
        identity.create_policy(tx, other, "ab", DOCUMENT, now=now)
        identity.create_user(tx, account, "alice", now=now, draw=draw)
        identity.attach_policy(tx, account, "alice", "a", "Custom", now=now)
    expected = [("Custom", name) for name in ("a", "b", "c", "zz")] if kind != "System" else []
    expected += [("System", name) for name in sorted(SYSTEM_POLICIES)] if kind != "Custom" else []
    seen: list[identity.Policy] = []
    with database.reading() as tx:
        while True:
            after = (seen[-1].kind, seen[-1].name) if seen else None
            part = identity.list_policies(tx, account, kind=kind, after=after, limit=limit)
            if not part:
                break
            seen += part
    assert [(policy.kind, policy.name) for policy in seen] == expected
    assert {policy.name: policy.attached for policy in seen if policy.attached} == (
        {} if kind == "System" else {"a": 1}
    )
