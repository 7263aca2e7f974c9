"""Operations on access keys."""

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from backfleet import identity
from backfleet.operations.catalogue import Call
from backfleet.operations.ram.access_keys import KeyOwner, create_access_key
from backfleet.storage import metadata
from backfleet.wire.errors import MissingParameter

SELF_SERVICE = (
    '{"Version":"1","Statement":[{"Effect":"Allow","Action":"ram:*AccessKey*","Resource":"acs:ram:*:*:user/alice"}]}'
)


@pytest.fixture
def alice(ram: Any) -> Any:
    """A user who may change her own keys, as a caller; she has one key."""
    ram("CreateUser", UserName="alice")
    ram("CreatePolicy", PolicyName="OwnKeys", PolicyDocument=SELF_SERVICE)
    ram("AttachPolicyToUser", UserName="alice", PolicyName="OwnKeys", PolicyType="Custom")
    return ram.as_user("alice")


def known(ram: Any, key_id: str) -> identity.KnownKey | None:
    with ram.services.database.reading() as tx:
        return identity.find_key(tx, ram.services.vault, key_id)


def test_a_key_is_made(ram: Any) -> None:
    """The answer has its secret, which works; no list shows it again."""
    ram("CreateUser", UserName="alice")
    made = ram("CreateAccessKey", UserName="alice")
    key = made["AccessKey"]
    assert set(made) == {"AccessKey"}
    assert set(key) == {"AccessKeyId", "AccessKeySecret", "Status", "CreateDate"}
    assert (key["Status"], key["CreateDate"]) == ("Active", "2026-01-02T03:04:05Z")
    found = known(ram, key["AccessKeyId"])
    assert found is not None
    assert found.secret == key["AccessKeySecret"]
    listed = ram("ListAccessKeys", UserName="alice")
    without_secret = {name: value for name, value in key.items() if name != "AccessKeySecret"}
    assert listed == {"AccessKeys": {"AccessKey": [without_secret]}}


def test_a_user_has_at_most_two_keys(ram: Any) -> None:
    """A third is refused."""
    ram("CreateUser", UserName="alice")
    for _ in range(2):
        ram("CreateAccessKey", UserName="alice")
    assert ram.refused("CreateAccessKey", UserName="alice") == (409, "LimitExceeded.User.AccessKey")
    assert len(ram("ListAccessKeys", UserName="alice")["AccessKeys"]["AccessKey"]) == 2


def test_a_key_can_be_disabled_and_enabled(ram: Any) -> None:
    """It counts at once."""
    ram("CreateUser", UserName="alice")
    key_id = ram("CreateAccessKey", UserName="alice")["AccessKey"]["AccessKeyId"]
    for status in ("Inactive", "Inactive", "Active"):
        assert ram("UpdateAccessKey", UserName="alice", UserAccessKeyId=key_id, Status=status) == {}
        found = known(ram, key_id)
        assert found is not None
        assert found.active is (status == "Active")
        assert ram("ListAccessKeys", UserName="alice")["AccessKeys"]["AccessKey"][0]["Status"] == status


def test_a_key_can_be_deleted(ram: Any) -> None:
    """A second deletion is refused."""
    ram("CreateUser", UserName="alice")
    key_id = ram("CreateAccessKey", UserName="alice")["AccessKey"]["AccessKeyId"]
    assert ram("DeleteAccessKey", UserName="alice", UserAccessKeyId=key_id) == {}
    assert known(ram, key_id) is None
    again = ram.refused("DeleteAccessKey", UserName="alice", UserAccessKeyId=key_id)
    assert again == (404, "EntityNotExist.User.AccessKey")


def test_a_key_is_found_under_its_own_user_only(ram: Any) -> None:
    """Under another user it does not exist."""
    for name in ("alice", "bob"):
        ram("CreateUser", UserName=name)
    key_id = ram("CreateAccessKey", UserName="alice")["AccessKey"]["AccessKeyId"]
    missing = (404, "EntityNotExist.User.AccessKey")
    assert ram.refused("DeleteAccessKey", UserName="bob", UserAccessKeyId=key_id) == missing
    assert ram.refused("UpdateAccessKey", UserName="bob", UserAccessKeyId=key_id, Status="Inactive") == missing
    assert known(ram, key_id) is not None


@pytest.mark.parametrize(
    ("action", "asked", "code"),
    [
        ("UpdateAccessKey", {"UserAccessKeyId": "LTAI1"}, "MissingParameter"),
        ("UpdateAccessKey", {"UserAccessKeyId": "LTAI1", "Status": "active"}, "InvalidParameter"),
        ("UpdateAccessKey", {"Status": "Active"}, "MissingParameter"),
        ("DeleteAccessKey", {}, "MissingParameter"),
        ("DeleteAccessKey", {"UserAccessKeyId": "a\x00"}, "InvalidParameter"),
        ("CreateAccessKey", {"UserName": "a b"}, "InvalidParameter.UserName.InvalidChars"),
    ],
)
def test_bad_values_are_refused(ram: Any, action: str, asked: dict[str, str], code: str) -> None:
    """Each with its own code."""
    assert ram.refused(action, **asked) == (400, code)


def test_a_user_can_change_her_own_keys(alice: Any) -> None:
    """Without a name the caller's keys are meant."""
    (first,) = alice("ListAccessKeys")["AccessKeys"]["AccessKey"]
    second = alice("CreateAccessKey")["AccessKey"]["AccessKeyId"]
    assert alice("UpdateAccessKey", UserAccessKeyId=first["AccessKeyId"], Status="Inactive") == {}
    assert alice("DeleteAccessKey", UserAccessKeyId=first["AccessKeyId"]) == {}
    assert [key["AccessKeyId"] for key in alice("ListAccessKeys")["AccessKeys"]["AccessKey"]] == [second]


def test_a_user_cannot_change_keys_of_others(ram: Any, alice: Any) -> None:
    """Neither another user's nor the account's."""
    ram("CreateUser", UserName="bob")
    assert alice.refused("ListAccessKeys", UserName="bob")[0] == 403
    (own,) = ram("ListAccessKeys")["AccessKeys"]["AccessKey"]
    missing = (404, "EntityNotExist.User.AccessKey")
    assert alice.refused("DeleteAccessKey", UserAccessKeyId=own["AccessKeyId"]) == missing
    assert known(ram, own["AccessKeyId"]) is not None


def test_the_root_can_renew_its_own_key(ram: Any) -> None:
    """And cannot lock itself out."""
    (first,) = ram("ListAccessKeys")["AccessKeys"]["AccessKey"]
    conflict = (409, "DeleteConflict.Account.AccessKey")
    assert ram.refused("DeleteAccessKey", UserAccessKeyId=first["AccessKeyId"]) == conflict
    assert ram.refused("UpdateAccessKey", UserAccessKeyId=first["AccessKeyId"], Status="Inactive") == conflict
    second = ram("CreateAccessKey")["AccessKey"]["AccessKeyId"]
    assert ram("DeleteAccessKey", UserAccessKeyId=first["AccessKeyId"]) == {}
    found = known(ram, second)
    assert found is not None
    assert found.caller.kind == "Account"


def test_a_session_must_name_a_user(ram: Any) -> None:
    """Without a name it does not get the account's own keys."""
    session = replace(ram.caller, kind="AssumedRoleUser")
    call = Call("R-1", session, "cn-hangzhou", ram.now, "10.0.0.7", True, ram.services)
    with pytest.raises(MissingParameter):
        create_access_key(call, KeyOwner(""))
    assert len(ram("ListAccessKeys")["AccessKeys"]["AccessKey"]) == 1


def test_the_secret_is_in_no_table(ram: Any) -> None:
    """Neither among the keys nor in the audit trail."""
    ram("CreateUser", UserName="alice")
    secret = ram("CreateAccessKey", UserName="alice")["AccessKey"]["AccessKeySecret"]
    with ram.services.database.reading() as tx:
        for table in metadata.sorted_tables:
            assert secret not in str(tx.rows(sa.select(table))), table.name
