"""A caller of one account acts in another, by a role that trusts them."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from backfleet import identity
from backfleet.ids import Draw
from backfleet.storage import Database

CROSS = "crossbackup.hbr.aliyuncs.com"
LINKED = "AliyunServiceRoleForHbrCrossAccountBackup"
HBR = "hbr:UpgradeBackupClients"


def trusting(principal: dict[str, Any], effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": "sts:AssumeRole", "Principal": principal, **more}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "1", "Statement": list(statements)})


class Two:
    """An account with callers, and another account that has the role `Backup`."""

    def __init__(self, database: Database, account: str, other: str, now: datetime, draw: Draw) -> None:
        self.database, self.account, self.other, self.now, self.draw = database, account, other, now, draw
        with database.transaction() as tx:
            ann = identity.create_user(tx, account, "ann", now=now, draw=draw)
        arn = f"acs:ram::{account}:user/ann"
        self.ann = identity.Caller(account, "RAMUser", arn, ann.id, ann.id, "ann", access_key_id="LTAI1")
        self.root = identity.root_caller(account)

    def role(self, *statements: dict[str, Any], name: str = "Backup") -> identity.Role:
        with self.database.transaction() as tx:
            return identity.create_role(tx, self.other, name, document(*statements), now=self.now, draw=self.draw)

    def act(self, caller: identity.Caller, name: str = "Backup", **more: Any) -> identity.Caller:
        with self.database.reading() as tx:
            return identity.assume_role(tx, caller, self.other, name, self.now, **more)

    def may(self, caller: identity.Caller, action: str) -> bool:
        resource = f"acs:hbr:r:{caller.account_id}:*"
        with self.database.reading() as tx:
            return identity.permissions_of(tx, caller).decide(action, resource, {}).allowed


@pytest.fixture
def two(database: Database, account: str, other: str, now: datetime, draw: Draw) -> Two:
    return Two(database, account, other, now, draw)


def test_the_caller_acts_as_the_account_of_the_role(two: Two) -> None:
    """They may do what the role may do, and the session name shows who they are."""
    role = two.role(trusting({"RAM": f"acs:ram::{two.account}:root"}))
    acting = two.act(two.ann)
    assert (acting.account_id, acting.kind, acting.role_id) == (two.other, "AssumedRoleUser", role.id)
    assert acting.arn == f"acs:sts::{two.other}:assumed-role/Backup/{two.account}@ann"
    assert acting.principal_arn == role.arn
    assert not two.may(acting, HBR)
    with two.database.transaction() as tx:
        identity.attach_policy(tx, two.other, "Backup", "AliyunHBRFullAccess", "System", to="Role", now=two.now)
    assert two.may(acting, HBR)
    assert not two.may(acting, "ram:CreateUser")


ROOT, ANN, BOB = ({"RAM": "acs:ram::{a}:" + who} for who in ("root", "user/ann", "user/bob"))
ROLE = "acs:ram::{a}:role/"

TRUSTED: list[tuple[str, list[dict[str, Any]], dict[str, Any], bool]] = [
    ("the account", [trusting(ROOT)], {}, True),
    ("the account, in a list", [trusting({"RAM": ["acs:ram::1:root", "acs:ram::{a}:root"]})], {}, True),
    ("another account", [trusting({"RAM": "acs:ram::1:root"})], {}, False),
    ("the user", [trusting(ANN)], {}, True),
    ("another user", [trusting(BOB)], {}, False),
    ("a user in other letters", [trusting({"RAM": "acs:ram::{a}:user/Ann"})], {}, False),
    ("a user of that name elsewhere", [trusting({"RAM": "acs:ram::1:user/ann"})], {}, False),
    ("the service, which was not named", [trusting({"Service": [CROSS]})], {}, False),
    ("the service, which was named", [trusting({"Service": [CROSS]})], {"service": CROSS}, True),
    ("another service", [trusting({"Service": ["ecs.aliyuncs.com"]})], {"service": CROSS}, False),
    ("the linked role", [trusting({"RAM": "acs:ram::{a}:role/" + LINKED})], {"linked_role": LINKED}, True),
    ("the linked role, any case", [trusting({"RAM": ROLE + LINKED.lower()})], {"linked_role": LINKED}, True),
    ("the linked role, not named", [trusting({"RAM": "acs:ram::{a}:role/" + LINKED})], {}, False),
    ("another's linked role", [trusting({"RAM": "acs:ram::1:role/" + LINKED})], {"linked_role": LINKED}, False),
    ("an identity provider", [trusting({"Federated": "acs:ram::{a}:oidc-provider/x"})], {"service": CROSS}, False),
    ("a deny beside an allow", [trusting(ROOT), trusting(ANN, "Deny")], {}, False),
    ("a deny of somebody else", [trusting(ROOT), trusting(BOB, "Deny")], {}, True),
    ("another action", [{**trusting(ROOT), "Action": "sts:AssumeRoleWithSAML"}], {}, False),
    ("every action of the service", [{**trusting(ROOT), "Action": ["sts:*"]}], {}, True),
    (
        "a condition that holds",
        [trusting(ROOT, Condition={"StringEquals": {"sts:ExternalId": "x"}})],
        {"context": {"sts:ExternalId": "x"}},
        True,
    ),
    (
        "a condition that does not",
        [trusting(ROOT, Condition={"StringEquals": {"sts:ExternalId": "x"}})],
        {},
        False,
    ),
    (
        "a name nobody can give themselves",
        [trusting(ROOT, Condition={"StringLike": {"acs:PrincipalARN": "*:user/bob"}})],
        {"context": {"acs:PrincipalARN": "acs:ram::1:user/bob"}},
        False,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("statements", "more", "trusted"), [pytest.param(*row[1:], id=row[0]) for row in TRUSTED])
def test_the_trust_policy_decides_who_may_assume_the_role(
    two: Two, statements: list[dict[str, Any]], more: dict[str, Any], trusted: bool
) -> None:
    """One row for each kind of principal and condition."""
    two.role(*json.loads(json.dumps(statements).replace("{a}", two.account)))
    if trusted:
        assert two.act(two.ann, **more).account_id == two.other
    else:
        with pytest.raises(identity.NotTrusted):
            two.act(two.ann, **more)


def test_a_session_is_trusted_as_its_role(two: Two) -> None:
    """A trust in a role covers its sessions; a trust in a user does not cover a role session of the same name."""
    session = identity.Session("ann", "s")
    caller = replace(two.ann, kind="AssumedRoleUser", session=session, arn="acs:sts::x", user_id=None, user_name=None)
    two.role(trusting({"RAM": f"acs:ram::{two.account}:user/ann"}))
    with pytest.raises(identity.NotTrusted):
        two.act(caller)
    two.role(trusting({"RAM": f"acs:ram::{two.account}:role/ANN"}), name="Second")
    assert two.act(caller, "second").session == identity.Session("Second", f"{two.account}@s")


def test_a_role_that_does_not_exist_cannot_be_assumed(two: Two) -> None:
    """The account has no such role, or there is no such account."""
    with pytest.raises(identity.NotFound):
        two.act(two.root)
    with two.database.reading() as tx, pytest.raises(identity.NotFound):
        identity.assume_role(tx, two.root, "1", "Backup", two.now)
    two.role(trusting({"RAM": f"acs:ram::{two.account}:root"}))
    assert two.act(two.root).session == identity.Session("Backup", f"{two.account}@root")
