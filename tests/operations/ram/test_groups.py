"""Operations on groups, roles, versions, entities and diagnoses: the documented shapes and codes."""

import json
from typing import Any

import pytest

NOW = "2026-01-02T03:04:05Z"
SYSTEM = {"PolicyName": "AliyunHBRFullAccess", "PolicyType": "System"}
OWN = {"PolicyName": "Own", "PolicyType": "Custom"}
ALLOW = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"hbr:*","Resource":"*"}]}'


def trusting(who: str = "acs:ram::1:root") -> str:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": who}}
    return json.dumps({"Version": "1", "Statement": [statement]})


# --- Users ----------------------------------------------------------------------------------------------------------


def test_a_user_can_be_changed(ram: Any) -> None:
    """What is not given stays; every limit has its code."""
    ram("CreateUser", UserName="ann", DisplayName="Ann", Email="a@example.com")
    changed = ram("UpdateUser", UserName="ann", NewUserName="anna", NewComments="night")["User"]
    assert (changed["UserName"], changed["DisplayName"], changed["Comments"]) == ("anna", "Ann", "night")
    assert ram("GetUser", UserName="anna")["User"] == changed
    ram("CreateUser", UserName="bob")
    assert ram.refused("UpdateUser", UserName="bob", NewUserName="anna") == (409, "EntityAlreadyExists.User")
    for name, value, code in (
        ("NewUserName", "a b", "NewUserName.InvalidChars"),
        ("NewUserName", "x" * 65, "NewUserName.Length"),
        ("NewEmail", "none", "Email.Format"),
        ("NewMobilePhone", "1", "MobilePhone.Format"),
        ("NewDisplayName", "x" * 129, "NewDisplayName.Length"),
        ("NewComments", "\x01", "NewComments.InvalidChars"),
    ):
        assert ram.refused("UpdateUser", UserName="bob", **{name: value}) == (400, f"InvalidParameter.{code}")


def test_renaming_needs_permission_on_both_names(ram: Any) -> None:
    """A policy can protect the new name."""
    for name in ("ann", "bob"):
        ram("CreateUser", UserName=name)
    statement = {"Effect": "Allow", "Action": "ram:UpdateUser", "Resource": "acs:ram:*:*:user/ann"}
    ram("CreatePolicy", PolicyName="Own", PolicyDocument=json.dumps({"Version": "1", "Statement": [statement]}))
    ram("AttachPolicyToUser", UserName="bob", **OWN)
    bob = ram.as_user("bob")
    assert "User" in bob("UpdateUser", UserName="ann", NewComments="x")
    assert bob.refused("UpdateUser", UserName="ann", NewUserName="carol")[0] == 403


# --- Groups ---------------------------------------------------------------------------------------------------------


def test_a_group_from_making_to_deleting(ram: Any) -> None:
    """Made, read, changed, filled, emptied, deleted."""
    made = ram("CreateGroup", GroupName="ops", Comments="ours")["Group"]
    assert (made["GroupName"], made["Comments"], made["CreateDate"]) == ("ops", "ours", NOW)
    assert ram("GetGroup", GroupName="ops")["Group"] == {**made, "UpdateDate": NOW}
    assert ram.refused("CreateGroup", GroupName="ops") == (409, "EntityAlreadyExists.Group")
    assert ram("UpdateGroup", GroupName="ops", NewGroupName="night")["Group"]["GroupName"] == "night"
    ram("CreateUser", UserName="ann", DisplayName="Ann")
    member = {"GroupName": "night", "UserName": "ann"}
    assert ram("AddUserToGroup", **member) == {}
    assert ram.refused("AddUserToGroup", **member) == (409, "EntityAlreadyExists.User.Group")
    users = ram("ListUsersForGroup", GroupName="night")
    assert users["Users"]["User"] == [{"UserName": "ann", "DisplayName": "Ann", "JoinDate": NOW}]
    (group,) = ram("ListGroupsForUser", UserName="ann")["Groups"]["Group"]
    assert (group["GroupName"], group["JoinDate"]) == ("night", NOW)
    assert ram.refused("DeleteUser", UserName="ann") == (409, "DeleteConflict.User.Group")
    assert ram.refused("DeleteGroup", GroupName="night") == (409, "DeleteConflict.Group.User")
    assert ram("RemoveUserFromGroup", **member) == {}
    assert ram.refused("RemoveUserFromGroup", **member) == (404, "EntityNotExist.User.Group")
    assert ram("DeleteGroup", GroupName="night") == {}
    for action in ("GetGroup", "DeleteGroup", "ListUsersForGroup", "ListPoliciesForGroup", "UpdateGroup"):
        assert ram.refused(action, GroupName="night") == (404, "EntityNotExist.Group")


@pytest.mark.parametrize("kind", ["Group", "Role"])
def test_policies_can_be_attached_and_detached(ram: Any, kind: str) -> None:
    """As with users; a group or role with policies cannot be deleted."""
    named = {f"{kind}Name": "Ops"}
    ram(f"Create{kind}", **named, **({"AssumeRolePolicyDocument": trusting()} if kind == "Role" else {}))
    assert ram(f"AttachPolicyTo{kind}", **named, **SYSTEM) == {}
    again = ram.refused(f"AttachPolicyTo{kind}", **named, **SYSTEM)
    assert again == (409, f"EntityAlreadyExists.{kind}.Policy")
    (policy,) = ram(f"ListPoliciesFor{kind}", **named)["Policies"]["Policy"]
    assert (policy["PolicyName"], policy["AttachDate"], policy["DefaultVersion"]) == ("AliyunHBRFullAccess", NOW, "v1")
    assert ram("GetPolicy", **SYSTEM)["Policy"]["AttachmentCount"] == 1
    found = ram("ListEntitiesForPolicy", **SYSTEM)[f"{kind}s"][kind]
    assert [entity[f"{kind}Name"] for entity in found] == ["Ops"]
    assert ram.refused(f"Delete{kind}", **named) == (409, f"DeleteConflict.{kind}.Policy")
    assert (
        ram.refused(f"AttachPolicyTo{kind}", **named, **SYSTEM, ResourceGroupId="rg")[1]
        == "InvalidParameter.ResourceGroupId"
    )
    assert ram(f"DetachPolicyFrom{kind}", **named, **SYSTEM) == {}
    assert ram.refused(f"DetachPolicyFrom{kind}", **named, **SYSTEM) == (404, f"EntityNotExist.{kind}.Policy")
    assert ram(f"Delete{kind}", **named) == {}
    assert ram.refused(f"AttachPolicyTo{kind}", **named, **SYSTEM) == (404, f"EntityNotExist.{kind}")
    assert ram.refused(f"AttachPolicyTo{kind}", **{f"{kind}Name": "a b"}, **SYSTEM) == (
        400, f"InvalidParameter.{kind}Name.InvalidChars",
    )  # fmt: skip


def test_a_user_has_the_permissions_of_the_group(ram: Any) -> None:
    """From the next request on, and not after leaving."""
    ram("CreateUser", UserName="ann")
    ram("CreateGroup", GroupName="ops")
    ram("AttachPolicyToGroup", GroupName="ops", PolicyName="AliyunRAMFullAccess", PolicyType="System")
    ann = ram.as_user("ann")
    assert ann.refused("ListUsers")[0] == 403
    ram("AddUserToGroup", GroupName="ops", UserName="ann")
    assert "Users" in ann("ListUsers")
    ram("RemoveUserFromGroup", GroupName="ops", UserName="ann")
    assert ann.refused("ListUsers")[0] == 403


def test_adding_to_a_group_needs_permission_on_user_and_group(ram: Any) -> None:
    """Permission on one user does not include every group."""
    for name in ("ann", "bob"):
        ram("CreateUser", UserName=name)
    for name in ("admins", "guests"):
        ram("CreateGroup", GroupName=name)
    resources = ["acs:ram:*:*:user/ann", "acs:ram:*:*:group/guests"]
    statement = {"Effect": "Allow", "Action": "ram:AddUserToGroup", "Resource": resources}
    ram("CreatePolicy", PolicyName="Own", PolicyDocument=json.dumps({"Version": "1", "Statement": [statement]}))
    ram("AttachPolicyToUser", UserName="bob", **OWN)
    bob = ram.as_user("bob")
    assert bob.refused("AddUserToGroup", UserName="ann", GroupName="admins")[0] == 403
    assert bob.refused("AddUserToGroup", UserName="bob", GroupName="guests")[0] == 403
    assert bob("AddUserToGroup", UserName="ann", GroupName="guests") == {}


@pytest.mark.parametrize("most", [1, 2, 100])
@pytest.mark.parametrize(
    ("action", "outer", "inner"), [("ListGroups", "Groups", "Group"), ("ListRoles", "Roles", "Role")]
)
def test_every_group_is_in_one_part(ram: Any, action: str, outer: str, inner: str, most: int) -> None:
    """By name."""
    for name in ("b", "a", "c"):
        ram("CreateGroup", GroupName=name)
        ram("CreateRole", RoleName=name, AssumeRolePolicyDocument=trusting())
    seen, marker = [], ""
    while marker is not None:
        part = ram(action, MaxItems=str(most), Marker=marker)
        seen += [found[f"{inner}Name"] for found in part[outer][inner]]
        marker = part.get("Marker")
        assert part["IsTruncated"] is (marker is not None)
    assert seen == ["a", "b", "c"]
    assert ram.refused(action, Marker="a b") == (400, "InvalidParameter.Marker.Format")


# --- Roles ----------------------------------------------------------------------------------------------------------


def test_a_role_from_making_to_deleting(ram: Any) -> None:
    """Made, read, changed, deleted, in the documented shapes."""
    account = ram.caller.account_id
    made = ram("CreateRole", RoleName="Ops", AssumeRolePolicyDocument=trusting(), Description="ours")["Role"]
    assert made == {
        "RoleId": made["RoleId"],
        "RoleName": "Ops",
        "Arn": f"acs:ram::{account}:role/Ops",
        "Description": "ours",
        "AssumeRolePolicyDocument": trusting(),
        "MaxSessionDuration": 3600,
        "CreateDate": NOW,
        "AllowConsoleLogin": False,
    }
    shown = ram("GetRole", RoleName="Ops")["Role"]
    assert shown == {
        **made,
        "UpdateDate": NOW,
        "RolePrincipalName": f"ops@role.{account}.onaliyunservice.com",
        "IsServiceLinkedRole": False,
    }
    changed = ram("UpdateRole", RoleName="Ops", NewDescription="new", NewMaxSessionDuration="43200")["Role"]
    assert (changed["Description"], changed["MaxSessionDuration"]) == ("new", 43200)
    other = trusting("acs:ram::2:root")
    assert (
        ram("UpdateRole", RoleName="Ops", NewAssumeRolePolicyDocument=other)["Role"]["AssumeRolePolicyDocument"]
        == other
    )
    assert ram.refused("CreateRole", RoleName="OPS", AssumeRolePolicyDocument=other) == (
        409,
        "EntityAlreadyExists.Role",
    )
    assert ram("DeleteRole", RoleName="Ops") == {}
    for action in ("GetRole", "DeleteRole", "UpdateRole", "ListPoliciesForRole"):
        assert ram.refused(action, RoleName="Ops") == (404, "EntityNotExist.Role")


BAD_ROLES = [
    ({"RoleName": "a_b"}, "InvalidParameter.RoleName.InvalidChars"),
    ({"RoleName": "x" * 65}, "InvalidParameter.RoleName.Length"),
    ({"RoleName": "AliyunServiceRoleForHbrEcsBackup"}, "InvalidParameter.RoleName.Format"),
    ({"AssumeRolePolicyDocument": ALLOW}, "MalformedPolicyDocument"),
    ({"AssumeRolePolicyDocument": "x" * 6145}, "InvalidParameter.AssumeRolePolicyDocument.Length"),
    ({"MaxSessionDuration": "3599"}, "InvalidParameter.MaxSessionDuration"),
    ({"MaxSessionDuration": "43201"}, "InvalidParameter.MaxSessionDuration"),
    ({"MaxSessionDuration": "an hour"}, "InvalidParameter"),
    ({"AllowConsoleLogin": "true"}, "InvalidParameter.AllowConsoleLogin.Format"),
    ({"Description": "x" * 1025}, "InvalidParameter.Description.Length"),
    ({"Tag.1.Value": "x"}, "InvalidParameter.Tag.Format"),
    ({"Tag": "[1]"}, "InvalidParameter.Tag.Format"),
    ({"Tag": '[{"Key":1}]'}, "InvalidParameter.Tag.Format"),
    ({"Tag": json.dumps([{"Key": str(number)} for number in range(21)])}, "InvalidParameter.Tag.Format"),
]


@pytest.mark.parametrize(("wrong", "code"), BAD_ROLES)
def test_bad_roles_are_refused(ram: Any, wrong: dict[str, str], code: str) -> None:
    """Each with its code, and nothing is made."""
    fields = {"RoleName": "Ops", "AssumeRolePolicyDocument": trusting(), **wrong}
    assert ram.refused("CreateRole", **fields) == (400, code)
    assert ram("ListRoles")["Roles"]["Role"] == []


def test_roles_have_tags(ram: Any) -> None:
    """In both forms; lists can filter by them."""
    ram("CreateRole", RoleName="a", AssumeRolePolicyDocument=trusting(), **{"Tag.1.Key": "team", "Tag.1.Value": "x"})
    ram("CreateRole", RoleName="b", AssumeRolePolicyDocument=trusting(), Tag='[{"Key":"team","Value":"y"}]')
    ram("CreateRole", RoleName="c", AssumeRolePolicyDocument=trusting())
    assert ram("GetRole", RoleName="a")["Role"]["Tags"] == {"Tag": [{"TagKey": "team", "TagValue": "x"}]}

    def names(**tags: str) -> list[str]:
        return [role["RoleName"] for role in ram("ListRoles", **tags)["Roles"]["Role"]]

    assert names(**{"Tag.1.Key": "team"}) == ["a", "b"]
    assert names(Tag='[{"Key":"team","Value":"y"}]') == ["b"]
    assert names(**{"Tag.1.Key": "team", "Tag.1.Value": "z"}) == []


def test_a_service_linked_role(ram: Any) -> None:
    """Only of a service that has one; policies can restrict the service; the trust policy cannot change."""
    service = "crossbackup.hbr.aliyuncs.com"
    made = ram("CreateServiceLinkedRole", ServiceName=service)["Role"]
    assert (made["RoleName"], made["IsServiceLinkedRole"]) == ("AliyunServiceRoleForHbrCrossAccountBackup", True)
    assert json.loads(made["AssumeRolePolicyDocument"])["Statement"][0]["Principal"] == {"Service": [service]}
    assert ram.refused("CreateServiceLinkedRole", ServiceName=service) == (409, "EntityAlreadyExists.Role")
    assert ram.refused("CreateServiceLinkedRole", ServiceName="x") == (404, "EntityNotExist.ServiceName")
    changing = {"RoleName": made["RoleName"], "NewAssumeRolePolicyDocument": trusting()}
    assert ram.refused("UpdateRole", **changing) == (403, "OperationDenied.Role.ServiceLinked")
    condition = {"StringEquals": {"ram:ServiceName": "ecsbackup.hbr.aliyuncs.com"}}
    statement = {"Effect": "Allow", "Action": "ram:CreateServiceLinkedRole", "Resource": "*", "Condition": condition}
    ram("CreatePolicy", PolicyName="Own", PolicyDocument=json.dumps({"Version": "1", "Statement": [statement]}))
    ram("CreateUser", UserName="ann")
    ram("AttachPolicyToUser", UserName="ann", **OWN)
    ann = ram.as_user("ann")
    assert ann.refused("CreateServiceLinkedRole", ServiceName=service)[0] == 403
    assert "Role" in ann("CreateServiceLinkedRole", ServiceName="ecsbackup.hbr.aliyuncs.com")


# --- Versions -------------------------------------------------------------------------------------------------------


def test_versions_of_a_policy(ram: Any) -> None:
    """Made, read, put in force, deleted; a sixth needs RotateStrategy."""
    ram("CreatePolicy", PolicyName="Own", PolicyDocument=ALLOW)
    deny = ALLOW.replace("Allow", "Deny")
    made = ram("CreatePolicyVersion", PolicyName="Own", PolicyDocument=deny)["PolicyVersion"]
    assert made == {"VersionId": "v2", "IsDefaultVersion": False, "PolicyDocument": deny, "CreateDate": NOW}
    assert ram("GetPolicyVersion", **OWN, VersionId="v2")["PolicyVersion"] == made
    assert ram("SetDefaultPolicyVersion", PolicyName="Own", VersionId="v2") == {}
    found = ram("GetPolicy", **OWN)
    assert (found["Policy"]["DefaultVersion"], found["DefaultPolicyVersion"]["PolicyDocument"]) == ("v2", deny)
    ram("CreatePolicyVersion", PolicyName="Own", PolicyDocument=ALLOW, SetAsDefault="true")
    ids = [
        (v["VersionId"], v["IsDefaultVersion"])
        for v in ram("ListPolicyVersions", **OWN)["PolicyVersions"]["PolicyVersion"]
    ]
    assert ids == [("v1", False), ("v2", False), ("v3", True)]
    for _ in range(2):
        ram("CreatePolicyVersion", PolicyName="Own", PolicyDocument=deny)
    more = {"PolicyName": "Own", "PolicyDocument": deny}
    assert ram.refused("CreatePolicyVersion", **more) == (409, "LimitExceeded.Policy.Version")
    rotated = ram("CreatePolicyVersion", **more, RotateStrategy="DeleteOldestNonDefaultVersionWhenLimitExceeded")
    assert rotated["PolicyVersion"]["VersionId"] == "v6"
    assert ram.refused("CreatePolicyVersion", **more, RotateStrategy="Some") == (400, "InvalidParameter")
    assert ram.refused("GetPolicyVersion", **OWN, VersionId="v1") == (404, "EntityNotExist.Policy.Version")
    gone = ram.refused("DeletePolicyVersion", PolicyName="Own", VersionId="v3")
    assert gone == (409, "DeleteConflict.Policy.Version.Default")
    assert ram("DeletePolicyVersion", PolicyName="Own", VersionId="v2") == {}
    for bad in ("2", "v", "vx", "v-1", "v1.0", "V1"):
        assert ram.refused("GetPolicyVersion", **OWN, VersionId=bad) == (400, "InvalidParameter.VersionId")
    assert ram.refused("CreatePolicyVersion", PolicyName="Own", PolicyDocument="{}") == (400, "MalformedPolicyDocument")
    assert ram.refused("DeletePolicy", PolicyName="Own") == (409, "DeleteConflict.Policy.Version")
    assert ram("DeletePolicy", PolicyName="Own", CascadingDelete="true") == {}


def test_a_version_of_a_system_policy_can_be_read(ram: Any) -> None:
    """It is the only one, and cannot be changed."""
    (version,) = ram("ListPolicyVersions", **SYSTEM)["PolicyVersions"]["PolicyVersion"]
    assert (version["VersionId"], version["IsDefaultVersion"]) == ("v1", True)
    assert ram("GetPolicyVersion", **SYSTEM, VersionId="v1")["PolicyVersion"] == version
    assert ram.refused("SetDefaultPolicyVersion", PolicyName="AliyunHBRFullAccess", VersionId="v1")[0] == 404


def test_the_description_of_a_policy_can_be_changed(ram: Any) -> None:
    """Nothing else changes."""
    ram("CreatePolicy", PolicyName="Own", PolicyDocument=ALLOW, Description="old")
    before = ram("GetPolicy", **OWN)
    changed = ram("UpdatePolicyDescription", PolicyName="Own", NewDescription="new")["Policy"]
    assert changed == {**before["Policy"], "Description": "new"}
    assert ram.refused("UpdatePolicyDescription", PolicyName="No", NewDescription="x") == (404, "EntityNotExist.Policy")


# --- Diagnoses ------------------------------------------------------------------------------------------------------


def test_a_diagnosis_can_be_decoded(ram: Any, elsewhere: Any) -> None:
    """By callers who may see policies, in the account of the refusal only."""
    deny = json.dumps({"Version": "1", "Statement": [{"Effect": "Deny", "Action": "ram:Get*", "Resource": "*"}]})
    ram("CreatePolicy", PolicyName="Own", PolicyDocument=deny)
    ram("CreateUser", UserName="ann")
    ram("AttachPolicyToUser", UserName="ann", **OWN)
    ann = ram.as_user("ann")
    refused = ann("GetUser", UserName="bob")
    message = refused["AccessDeniedDetail"]["EncodedDiagnosticMessage"]
    reply = ram("DecodeDiagnosticMessage", EncodedDiagnosticMessage=message)["DecodedDiagnosticMessage"]
    account = ram.caller.account_id
    conditions = {one["ConditionKey"]: one["ConditionValues"] for one in reply.pop("AuthConditions")}
    assert reply == {
        "ExplicitDeny": True,
        "NoPermissionPolicyType": "AccountLevelIdentityBasedPolicy",
        "AuthAction": "ram:GetUser",
        "AuthResource": f"acs:ram::{account}:user/bob",
        "AuthPrincipal": {
            "AuthPrincipalType": "SubUser",
            "AuthPrincipalDisplayName": ann.caller.user_id,
            "AuthPrincipalOwnerId": account,
        },
        "MatchedPolicies": [
            {"PolicyType": "Custom", "PolicyIdentifier": "Own", "AttachedScope": "Account", "Effect": "Deny"}
        ],
    }
    assert conditions["acs:SourceIp"] == ["10.0.0.7"]
    assert conditions["acs:PrincipalARN"] == [ann.caller.arn]
    bad = (400, "InvalidParameter.EncodedDiagnosticMessage")
    assert elsewhere.refused("DecodeDiagnosticMessage", EncodedDiagnosticMessage=message) == bad
    secret = ram.services.vault.seal("a secret")
    for other in (message[:-3] + "AAA", "x", "é", secret):
        assert ram.refused("DecodeDiagnosticMessage", EncodedDiagnosticMessage=other) == bad
    assert ann.refused("DecodeDiagnosticMessage", EncodedDiagnosticMessage=message)[0] == 403
