"""Operations on users."""

from typing import Any

import pytest


def test_a_user_is_made_and_read(ram: Any) -> None:
    """In the documented shape, every detail as sent."""
    details = {
        "UserName": "alice",
        "DisplayName": "Alice",
        "Comments": "on call",
        "Email": "alice@example.com",
        "MobilePhone": "86-18600008888",
    }
    made = ram("CreateUser", **details)
    found = ram("GetUser", UserName="alice")
    assert set(made) == {"User"}
    assert made["User"] == {**details, "UserId": made["User"]["UserId"], "CreateDate": "2026-01-02T03:04:05Z"}
    assert found["User"] == {**made["User"], "UpdateDate": "2026-01-02T03:04:05Z"}


def test_details_of_a_user_are_optional(ram: Any) -> None:
    """They are empty texts; the display name is the name."""
    user = ram("CreateUser", UserName="a.b_c-1")["User"]
    assert (user["DisplayName"], user["Comments"], user["Email"], user["MobilePhone"]) == ("a.b_c-1", "", "", "")


def test_a_user_name_is_unique(ram: Any) -> None:
    """A second one is refused."""
    ram("CreateUser", UserName="alice")
    body = ram("CreateUser", UserName="alice")
    assert (body["Status"], body["Code"]) == (409, "EntityAlreadyExists.User")
    assert body["Message"] == "The user does already exist. Name: 'alice'."


BAD: list[tuple[dict[str, str], str]] = [
    ({}, "MissingParameter"),
    ({"UserName": ""}, "MissingParameter"),
    ({"UserName": "a b"}, "InvalidParameter.UserName.InvalidChars"),
    ({"UserName": "a/b"}, "InvalidParameter.UserName.InvalidChars"),
    ({"UserName": "*"}, "InvalidParameter.UserName.InvalidChars"),
    ({"UserName": "a\n"}, "InvalidParameter.UserName.InvalidChars"),
    ({"UserName": "élise"}, "InvalidParameter.UserName.InvalidChars"),
    ({"UserName": "x" * 65}, "InvalidParameter.UserName.Length"),
    ({"UserName": "x" * 2000}, "InvalidParameter"),
    ({"UserName": "a", "DisplayName": "x" * 129}, "InvalidParameter.DisplayName.Length"),
    ({"UserName": "a", "DisplayName": "a\x00b"}, "InvalidParameter.DisplayName.InvalidChars"),
    ({"UserName": "a", "Comments": "x" * 129}, "InvalidParameter.Comments.Length"),
    ({"UserName": "a", "Comments": "\x1b[31m"}, "InvalidParameter.Comments.InvalidChars"),
    ({"UserName": "a", "Email": "nobody"}, "InvalidParameter.Email.Format"),
    ({"UserName": "a", "MobilePhone": "18600008888x"}, "InvalidParameter.MobilePhone.Format"),
]


@pytest.mark.parametrize(("asked", "code"), BAD)
def test_bad_values_are_refused(ram: Any, asked: dict[str, str], code: str) -> None:
    """Each with its own code, and nothing is made."""
    assert ram.refused("CreateUser", **asked) == (400, code)
    assert ram("ListUsers")["Users"]["User"] == []


def test_the_longest_values_are_stored(ram: Any) -> None:
    """Limits count characters of any alphabet, on both engines."""
    reply = {"UserName": "x" * 64, "DisplayName": "名" * 128, "Comments": "é" * 128}
    user = ram("CreateUser", **reply)["User"]
    assert {name: user[name] for name in reply} == reply


def test_an_unknown_user_is_refused(ram: Any) -> None:
    """By every operation in the same way."""
    for action in ("GetUser", "DeleteUser", "CreateAccessKey", "ListAccessKeys", "ListPoliciesForUser"):
        assert ram.refused(action, UserName="nobody") == (404, "EntityNotExist.User"), action


def test_every_user_is_in_one_part(ram: Any) -> None:
    """The marker leads to the next part; the last has none."""
    for name in ("c", "a", "e", "b", "d"):
        ram("CreateUser", UserName=name)
    seen, marker, parts = [], "", 0
    while True:
        part = ram("ListUsers", MaxItems="2", Marker=marker)
        seen += [user["UserName"] for user in part["Users"]["User"]]
        parts += 1
        assert part["IsTruncated"] is ("Marker" in part)
        if not part["IsTruncated"]:
            break
        marker = part["Marker"]
    assert (seen, parts) == (["a", "b", "c", "d", "e"], 3)


def test_a_list_that_fits_is_not_truncated(ram: Any) -> None:
    """Exactly MaxItems users."""
    for name in ("a", "b"):
        ram("CreateUser", UserName=name)
    assert ram("ListUsers", MaxItems="2")["IsTruncated"] is False


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"MaxItems": "0"}, "InvalidParameter"),
        ({"MaxItems": "1001"}, "InvalidParameter"),
        ({"MaxItems": "many"}, "InvalidParameter"),
        ({"Marker": "not a marker"}, "InvalidParameter.Marker.Format"),
        ({"Marker": "a\x00"}, "InvalidParameter.Marker.Format"),
    ],
)
def test_bad_parts_are_refused(ram: Any, asked: dict[str, str], code: str) -> None:
    """A marker or a number out of range."""
    assert ram.refused("ListUsers", **asked) == (400, code)


def test_a_user_with_keys_or_policies_cannot_be_deleted(ram: Any) -> None:
    """Each conflict has its code."""
    ram("CreateUser", UserName="alice")
    key_id = ram("CreateAccessKey", UserName="alice")["AccessKey"]["AccessKeyId"]
    ram("AttachPolicyToUser", UserName="alice", PolicyName="AliyunHBRFullAccess", PolicyType="System")
    assert ram.refused("DeleteUser", UserName="alice") == (409, "DeleteConflict.User.AccessKey")
    ram("DeleteAccessKey", UserName="alice", UserAccessKeyId=key_id)
    assert ram.refused("DeleteUser", UserName="alice") == (409, "DeleteConflict.User.Policy")
    ram("DetachPolicyFromUser", UserName="alice", PolicyName="AliyunHBRFullAccess", PolicyType="System")
    assert ram("DeleteUser", UserName="alice") == {}
    assert ram.refused("GetUser", UserName="alice") == (404, "EntityNotExist.User")


def test_users_of_another_account_do_not_exist(ram: Any, elsewhere: Any) -> None:
    """The same name is free there, and what happens there does not touch ours."""
    ours = ram("CreateUser", UserName="alice")
    assert elsewhere("ListUsers")["Users"]["User"] == []
    for action in ("GetUser", "DeleteUser", "ListAccessKeys", "ListPoliciesForUser"):
        known, unknown = elsewhere(action, UserName="alice"), elsewhere(action, UserName="nobody")
        assert known["Message"].replace("alice", "nobody") == unknown["Message"]
    elsewhere("CreateUser", UserName="alice")
    elsewhere("DeleteUser", UserName="alice")
    assert ram("GetUser", UserName="alice")["User"]["UserId"] == ours["User"]["UserId"]


OPERATIONS = [
    ("CreateUser", {"UserName": "bob"}),
    ("GetUser", {"UserName": "alice"}),
    ("ListUsers", {}),
    ("DeleteUser", {"UserName": "alice"}),
    ("CreateAccessKey", {"UserName": "alice"}),
    ("ListAccessKeys", {"UserName": "alice"}),
    ("UpdateAccessKey", {"UserName": "alice", "UserAccessKeyId": "LTAI1", "Status": "Inactive"}),
    ("DeleteAccessKey", {"UserName": "alice", "UserAccessKeyId": "LTAI1"}),
    ("CreatePolicy", {"PolicyName": "p", "PolicyDocument": "{}"}),
    ("GetPolicy", {"PolicyName": "AdministratorAccess", "PolicyType": "System"}),
    ("ListPolicies", {}),
    ("DeletePolicy", {"PolicyName": "p"}),
    ("AttachPolicyToUser", {"UserName": "alice", "PolicyName": "AdministratorAccess", "PolicyType": "System"}),
    ("DetachPolicyFromUser", {"UserName": "alice", "PolicyName": "AdministratorAccess", "PolicyType": "System"}),
    ("ListPoliciesForUser", {"UserName": "alice"}),
]


@pytest.mark.parametrize(("action", "asked"), OPERATIONS)
def test_callers_without_permission_are_refused(ram: Any, action: str, asked: dict[str, str]) -> None:
    """Even for a user who does not exist; nothing changes."""
    ram("CreateUser", UserName="alice")
    nobody = ram.as_user("alice")
    status, _ = nobody.refused(action, **asked)
    assert status == 403
    assert nobody(action, **asked)["AccessDeniedDetail"]["AuthAction"] == f"ram:{action}"
    assert [user["UserName"] for user in ram("ListUsers")["Users"]["User"]] == ["alice"]
    assert len(ram("ListAccessKeys", UserName="alice")["AccessKeys"]["AccessKey"]) == 1
    assert ram("ListPoliciesForUser", UserName="alice")["Policies"]["Policy"] == []


@pytest.mark.parametrize(("action", "asked"), OPERATIONS)
def test_full_access_allows_every_operation(ram: Any, action: str, asked: dict[str, str]) -> None:
    """AliyunRAMFullAccess."""
    ram("CreateUser", UserName="alice")
    ram("CreateUser", UserName="admin")
    ram("AttachPolicyToUser", UserName="admin", PolicyName="AliyunRAMFullAccess", PolicyType="System")
    assert ram.as_user("admin")(action, **asked).get("Status") != 403


def test_a_policy_can_allow_one_user(ram: Any) -> None:
    """Permission on alice does not include bob or the list."""
    document = (
        '{"Version":"1","Statement":[{"Effect":"Allow","Action":"ram:Get*","Resource":"acs:ram:*:*:user/alice"}]}'
    )
    for name in ("alice", "bob"):
        ram("CreateUser", UserName=name)
    ram("CreatePolicy", PolicyName="LookAtAlice", PolicyDocument=document)
    ram("AttachPolicyToUser", UserName="bob", PolicyName="LookAtAlice", PolicyType="Custom")
    bob = ram.as_user("bob")
    assert bob("GetUser", UserName="alice")["User"]["UserName"] == "alice"
    assert bob.refused("GetUser", UserName="bob")[0] == 403
    assert bob.refused("ListUsers")[0] == 403


@pytest.mark.parametrize(
    ("action", "what"),
    [
        ("GetLoginProfile", "LoginProfile"),
        ("DeleteLoginProfile", "LoginProfile"),
        ("GetUserMFAInfo", "MFADevice"),
        ("UnbindMFADevice", "MFADevice"),
    ],
)
def test_no_user_has_a_console_login_or_a_device(ram: Any, action: str, what: str) -> None:
    """`alicloud_ram_user` with force asks for both before it deletes a user, and takes no other refusal."""
    assert ram.refused(action, UserName="alice") == (404, "EntityNotExist.User")
    ram("CreateUser", UserName="alice")
    assert ram.refused(action, UserName="alice") == (404, f"EntityNotExist.User.{what}")


def test_a_user_is_destroyed_as_terraform_does_with_force(ram: Any) -> None:
    """Keys, policies, groups, login profile and device, one after the other; then the user goes."""
    ram("CreateUser", UserName="bob")
    key = ram("CreateAccessKey", UserName="bob")["AccessKey"]["AccessKeyId"]
    ram("CreateGroup", GroupName="ops")
    ram("AddUserToGroup", UserName="bob", GroupName="ops")
    ram("AttachPolicyToUser", PolicyType="System", PolicyName="AdministratorAccess", UserName="bob")
    for each in ram("ListAccessKeys", UserName="bob")["AccessKeys"]["AccessKey"]:
        assert each["AccessKeyId"] == key
        ram("DeleteAccessKey", UserName="bob", UserAccessKeyId=key)
    for policy in ram("ListPoliciesForUser", UserName="bob")["Policies"]["Policy"]:
        ram("DetachPolicyFromUser", PolicyType="System", PolicyName=policy["PolicyName"], UserName="bob")
    for group in ram("ListGroupsForUser", UserName="bob")["Groups"]["Group"]:
        ram("RemoveUserFromGroup", UserName="bob", GroupName=group["GroupName"])
    assert ram("DeleteLoginProfile", UserName="bob")["Code"] == "EntityNotExist.User.LoginProfile"
    assert ram("UnbindMFADevice", UserName="bob")["Code"] == "EntityNotExist.User.MFADevice"
    assert ram("DeleteUser", UserName="bob") == {}
    assert ram.refused("GetUser", UserName="bob") == (404, "EntityNotExist.User")
