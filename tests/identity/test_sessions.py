"""Temporary credentials: what a token holds, who gets one, and what ends it early."""

import json
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet import identity
from backfleet.identity import sessions
from backfleet.identity.policy import MalformedPolicy
from backfleet.ids import Draw
from backfleet.storage import Database

HOUR = timedelta(hours=1)
READ_ONLY = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"hbr:Describe*","Resource":"*"}]}'


def trusting(account: str) -> str:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": f"acs:ram::{account}:root"}}
    return json.dumps({"Version": "1", "Statement": [statement]})


class Sessions:
    """A user with a key, and roles that trust the account."""

    def __init__(self, database: Database, vault: identity.Vault, account: str, now: datetime, draw: Draw) -> None:
        self.database, self.vault, self.account, self.now, self.draw = database, vault, account, now, draw
        with database.transaction() as tx:
            identity.create_user(tx, account, "ann", now=now, draw=draw)
            self.key = identity.create_key(tx, vault, account, "ann", now=now, draw=draw).access_key_id
            known = identity.find_key(tx, vault, self.key)
        assert known is not None
        self.ann = known.caller

    def role(self, name: str = "Ops", hours: int = 1) -> identity.Role:
        with self.database.transaction() as tx:
            return identity.create_role(
                tx, self.account, name, trusting(self.account), max_session=hours * HOUR, now=self.now, draw=self.draw
            )

    def issue(
        self, role: identity.Role, caller: identity.Caller | None = None, **options: Any
    ) -> identity.TemporaryCredentials:
        asked = identity.SessionOptions(**{"name": "night", "duration": HOUR, **options})
        return identity.issue_credentials(self.vault, role, asked, caller or self.ann, now=self.now, draw=self.draw)

    def caller_of(
        self, issued: identity.TemporaryCredentials, later: timedelta = timedelta()
    ) -> identity.Caller | None:
        content = identity.open_token(self.vault, issued.token)
        with self.database.reading() as tx:
            return identity.session_caller(tx, content, now=self.now + later)

    def may(self, caller: identity.Caller, action: str) -> bool:
        with self.database.reading() as tx:
            return identity.permissions_of(tx, caller).decide(action, f"acs:x:r:{self.account}:*", {}).allowed


@pytest.fixture
def some(database: Database, vault: identity.Vault, account: str, now: datetime, draw: Draw) -> Sessions:
    return Sessions(database, vault, account, now, draw)


def test_a_token_holds_its_session(some: Sessions) -> None:
    """Caller, key, secret and end come back."""
    role = some.role()
    issued = some.issue(role, policy=READ_ONLY, source_identity="ann@work")
    content = identity.open_token(some.vault, issued.token)
    assert issued.access_key_id.startswith("STS.")
    assert (content.access_key_id, content.secret) == (issued.access_key_id, issued.secret)
    assert issued.expires == some.now + HOUR
    caller = some.caller_of(issued)
    assert caller is not None
    assert caller == issued.caller
    assert caller.arn == f"acs:sts::{some.account}:assumed-role/Ops/night"
    assert caller.principal_id == f"{role.id}:night"
    assert caller.session is not None
    assert caller.session.source_identity == "ann@work"
    assert issued.secret not in repr(issued) + repr(content) + issued.token
    assert len(issued.token) < 4096


def test_the_longest_policy_fits_into_an_url(some: Sessions) -> None:
    """A token stays below 4 KiB, whatever the session's policy."""
    noise = "".join(chr(33 + (index * index * 7 + index) % 90) for index in range(4000)).translate({34: None, 92: None})
    statement = {"Effect": "Allow", "Action": "*", "Resource": f"acs:{noise}"[:1900]}
    policy = json.dumps({"Version": "1", "Statement": [statement]})
    assert 1900 < len(policy) <= sessions.LONGEST_SESSION_POLICY
    assert len(some.issue(some.role(), policy=policy).token) < 4096


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_changed_token_is_refused(place: int, bit: int) -> None:
    """Whichever bit is changed."""
    vault = VAULT
    raw = bytearray(TOKEN.encode())
    raw[place % len(raw)] ^= 1 << bit
    changed = raw.decode("latin-1")
    try:
        opened = identity.open_token(vault, changed)
    except identity.TokenNotOurs:
        return
    # base64 has spellings that mean the same: then nothing was changed.
    assert opened == identity.open_token(vault, TOKEN)


VAULT = identity.Vault(b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
ROLE = identity.Role("3", "1", "Ops", "", "", HOUR, datetime(2026, 1, 1), datetime(2026, 1, 1))  # noqa: DTZ001
TOKEN = identity.issue_credentials(
    VAULT,
    ROLE,
    identity.SessionOptions("night", HOUR),
    identity.Caller("1", "RAMUser", "a", "2", "2", "ann", access_key_id="LTAI"),
    now=datetime.fromisoformat("2026-01-02T03:04:05Z"),
    draw=lambda length: "x" * length,
).token


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="nothing"),
        pytest.param("CAISnQ", id="another services's"),
        pytest.param("é" * 40, id="no base64"),
        pytest.param("\udc80", id="no text at all"),
        pytest.param("A" * 9000, id="too long"),
        pytest.param(VAULT.seal("{}"), id="sealed for nothing in particular"),
        pytest.param(VAULT.box("diagnoses").seal("{}"), id="sealed for another purpose"),
        pytest.param(identity.Vault(VAULT._key[:-2] + b"I=").box(sessions.PURPOSE).seal("{}"), id="by another key"),
    ],
)
def test_text_that_is_not_our_token_is_refused(token: str) -> None:
    """Always with the same error."""
    with pytest.raises(identity.TokenNotOurs):
        identity.open_token(VAULT, token)


def test_a_root_may_not_assume_a_role(some: Sessions) -> None:
    """Nor a caller without a key or session, which could not be revoked."""
    role = some.role()
    for caller in (identity.root_caller(some.account, "LTAI1"), replace(some.ann, access_key_id="")):
        with pytest.raises(identity.RootCannotAssume):
            some.issue(role, caller)


@pytest.mark.parametrize(
    ("hours", "asked", "accepted"),
    [
        pytest.param(1, timedelta(minutes=15), True, id="the shortest"),
        pytest.param(1, timedelta(minutes=15, seconds=-1), False, id="too short"),
        pytest.param(1, HOUR, True, id="as long as the role allows"),
        pytest.param(1, HOUR + timedelta(seconds=1), False, id="longer than the role allows"),
        pytest.param(12, 12 * HOUR, True, id="the longest there is"),
    ],
)
def test_the_role_limits_the_duration(some: Sessions, hours: int, asked: timedelta, accepted: bool) -> None:
    """One row for each bound."""
    role = some.role(hours=hours)
    if accepted:
        assert some.issue(role, duration=asked).expires == some.now + asked
        return
    with pytest.raises(identity.SessionTooLong) as refused:
        some.issue(role, duration=asked)
    assert refused.value.longest == hours * HOUR


def test_a_malformed_session_policy_is_refused(some: Sessions) -> None:
    """When the session is made, not when it is used."""
    with pytest.raises(MalformedPolicy):
        some.issue(some.role(), policy='{"Version":"2"}')


def test_a_session_may_do_what_its_role_may(some: Sessions) -> None:
    """With a policy of its own, only what both allow."""
    role = some.role()
    wide, narrow = some.issue(role).caller, some.issue(role, policy=READ_ONLY).caller
    deny = READ_ONLY.replace("Allow", "Deny").replace("hbr:Describe*", "hbr:DescribeTask")
    both = READ_ONLY.replace('"Statement":[', '"Statement":[' + json.dumps(json.loads(deny)["Statement"][0]) + ",")
    strict = some.issue(role, policy=both).caller
    assert not some.may(wide, "hbr:DescribeTask")
    with some.database.transaction() as tx:
        identity.attach_policy(tx, some.account, "Ops", "AliyunHBRFullAccess", "System", to="Role", now=some.now)
    asked = ("hbr:DescribeTask", "hbr:DescribeRegions", "hbr:UpgradeBackupClients", "ecs:DescribeInstances")
    assert [some.may(wide, action) for action in asked] == [True, True, True, False]
    assert [some.may(narrow, action) for action in asked] == [True, True, False, False]
    assert [some.may(strict, action) for action in asked] == [False, True, False, False]
    with some.database.reading() as tx:
        decision = identity.permissions_of(tx, narrow).decide("hbr:UpgradeBackupClients", "*", {})
    assert decision.by_session


# --- Endings --------------------------------------------------------------------------------------------------------


def test_a_session_ends_when_its_token_expires(some: Sessions) -> None:
    """To the second."""
    issued = some.issue(some.role())
    assert some.caller_of(issued, HOUR - timedelta(seconds=1)) is not None
    assert some.caller_of(issued, HOUR) is None
    assert identity.open_token(some.vault, issued.token).is_over(some.now + HOUR)


def test_a_shorter_maximum_ends_older_sessions(some: Sessions) -> None:
    """The maximum of the role counts as it is now."""
    issued = some.issue(some.role(hours=4), duration=4 * HOUR)
    assert some.caller_of(issued, 2 * HOUR) is not None
    with some.database.transaction() as tx:
        identity.update_role(tx, some.account, "Ops", max_session=HOUR, now=some.now)
    assert some.caller_of(issued, 2 * HOUR) is None
    assert some.caller_of(issued, HOUR / 2) is not None


def test_a_session_ends_with_its_role(some: Sessions) -> None:
    """Another role of the same name does not revive it."""
    issued = some.issue(some.role())
    with some.database.transaction() as tx:
        identity.delete_role(tx, some.account, "Ops")
    assert some.caller_of(issued) is None
    some.role()
    assert some.caller_of(issued) is None


def test_a_session_ends_with_the_key_it_was_made_with(some: Sessions) -> None:
    """While the key is inactive, and for good when it is deleted."""
    issued = some.issue(some.role())
    for active in (False, True):
        with some.database.transaction() as tx:
            identity.set_key(tx, some.account, "ann", some.key, active=active)
        assert (some.caller_of(issued) is not None) is active
    with some.database.transaction() as tx:
        identity.delete_key(tx, some.account, "ann", some.key)
    assert some.caller_of(issued) is None


# --- Sessions that make sessions ------------------------------------------------------------------------------------


def test_a_chained_session_ends_with_the_first(some: Sessions) -> None:
    """In time, and with every role it was made through; the source identity is inherited."""
    first = some.issue(some.role("One"), source_identity="ann")
    later = replace(some.issue(some.role("Two", hours=4), first.caller, duration=4 * HOUR, source_identity="eve"))
    assert later.expires == first.expires
    assert later.caller.session is not None
    assert later.caller.session.source_identity == "ann"
    assert some.caller_of(later) == later.caller
    with some.database.transaction() as tx:
        identity.delete_role(tx, some.account, "One")
    assert some.caller_of(later) is None


def test_a_chained_session_ends_with_the_first_key(some: Sessions) -> None:
    """However long the chain is."""
    second = some.issue(some.role("Two"), some.issue(some.role("One")).caller)
    with some.database.transaction() as tx:
        identity.set_key(tx, some.account, "ann", some.key, active=False)
    assert some.caller_of(second) is None


def test_a_chain_of_sessions_has_a_limit(some: Sessions) -> None:
    """A role that trusts itself cannot be renewed for ever."""
    role, issued = some.role(), None
    for _ in range(sessions.ROLES_IN_A_CHAIN):
        issued = some.issue(role, issued and issued.caller)
    assert issued is not None
    with pytest.raises(identity.LimitReached):
        some.issue(role, issued.caller)


def test_a_token_keeps_every_field(some: Sessions) -> None:
    """None is lost on the way."""
    issued = some.issue(some.role("Two"), some.issue(some.role("One"), source_identity="ann").caller, policy=READ_ONLY)
    content = identity.open_token(some.vault, issued.token)
    empty = {name for name, value in asdict(content).items() if not value}
    assert empty == {"provider", "person"}
