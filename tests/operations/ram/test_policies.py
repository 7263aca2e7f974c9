"""Operations on policies and attachments."""

import json
from typing import Any

import pytest

from backfleet.identity.system_policies import SYSTEM_POLICIES

DOCUMENT = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"hbr:*","Resource":"*"}]}'
NAMED = {"PolicyName": "Own", "PolicyType": "Custom"}
SYSTEM = {"PolicyName": "AliyunHBRFullAccess", "PolicyType": "System"}


def grant(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "1", "Statement": list(statements)})


@pytest.fixture
def alice(ram: Any) -> str:
    """The name of a user. There is a policy Own that is not attached."""
    ram("CreateUser", UserName="alice")
    ram("CreatePolicy", PolicyName="Own", PolicyDocument=DOCUMENT, Description="ours")
    return "alice"


def test_a_policy_is_made_and_read(ram: Any) -> None:
    """In the documented shapes."""
    made = ram("CreatePolicy", PolicyName="Own", PolicyDocument=DOCUMENT, Description="ours")
    shown = {
        **NAMED,
        "Description": "ours",
        "DefaultVersion": "v1",
        "CreateDate": "2026-01-02T03:04:05Z",
    }
    assert made == {"Policy": shown}
    assert ram("GetPolicy", **NAMED) == {
        "Policy": {**shown, "UpdateDate": "2026-01-02T03:04:05Z", "AttachmentCount": 0},
        "DefaultPolicyVersion": {
            "VersionId": "v1",
            "IsDefaultVersion": True,
            "PolicyDocument": DOCUMENT,
            "CreateDate": "2026-01-02T03:04:05Z",
        },
    }


def test_a_system_policy_can_be_read(ram: Any) -> None:
    """With its document."""
    found = ram("GetPolicy", PolicyName="AliyunHBRReadOnlyAccess", PolicyType="System")
    (statement,) = json.loads(found["DefaultPolicyVersion"]["PolicyDocument"])["Statement"]
    assert "hbr:Describe*" in statement["Action"]
    assert found["Policy"]["PolicyType"] == "System"


BAD = [
    ({"PolicyDocument": DOCUMENT}, "MissingParameter"),
    ({"PolicyName": "Own"}, "MissingParameter"),
    ({"PolicyName": "a_b", "PolicyDocument": DOCUMENT}, "InvalidParameter.PolicyName.InvalidChars"),
    ({"PolicyName": "x" * 129, "PolicyDocument": DOCUMENT}, "InvalidParameter.PolicyName.Length"),
    ({"PolicyName": "Own", "PolicyDocument": DOCUMENT + " " * 6144}, "InvalidParameter.PolicyDocument.Length"),
    (
        {"PolicyName": "Own", "PolicyDocument": DOCUMENT, "Description": "x" * 1025},
        "InvalidParameter.Description.Length",
    ),
    ({"PolicyName": "Own", "PolicyDocument": "{"}, "MalformedPolicyDocument"),
    ({"PolicyName": "Own", "PolicyDocument": '{"Version":"2"}'}, "MalformedPolicyDocument"),
    ({"PolicyName": "Own", "PolicyDocument": DOCUMENT.replace("Allow", "Maybe")}, "MalformedPolicyDocument"),
    ({"PolicyName": "Own", "PolicyDocument": DOCUMENT.replace("Resource", "NotResource")}, "MalformedPolicyDocument"),
    ({"PolicyName": "Own", "PolicyDocument": DOCUMENT.replace("Resource", "\\ud800")}, "MalformedPolicyDocument"),
]


@pytest.mark.parametrize(("asked", "code"), BAD)
def test_bad_values_are_refused(ram: Any, asked: dict[str, str], code: str) -> None:
    """Each with its own code, and nothing is made."""
    assert ram.refused("CreatePolicy", **asked) == (400, code)
    assert ram("ListPolicies", PolicyType="Custom")["Policies"]["Policy"] == []


def test_a_malformed_document_is_refused_with_the_reason(ram: Any) -> None:
    """The message names the element."""
    document = grant({"Effect": "Allow", "Action": "hbr:*", "Resource": "*", "Condition": {"Null": {"acs:Service": 1}}})
    body = ram("CreatePolicy", PolicyName="Own", PolicyDocument=document)
    assert body["Message"] == "The policy document is refused: the condition operator 'Null' is unknown."


@pytest.mark.parametrize("name", ["Own", "AdministratorAccess"])
def test_a_policy_name_is_unique(ram: Any, alice: str, name: str) -> None:
    """In the account and among the system's."""
    refused = ram.refused("CreatePolicy", PolicyName=name, PolicyDocument=DOCUMENT)
    assert refused == (409, "EntityAlreadyExists.Policy")


def test_an_unknown_policy_is_refused(ram: Any, alice: str) -> None:
    """By every operation in the same way."""
    for kind in ("Custom", "System"):
        asked = {"PolicyName": "None", "PolicyType": kind}
        assert ram.refused("GetPolicy", **asked) == (404, "EntityNotExist.Policy")
        assert ram.refused("AttachPolicyToUser", UserName=alice, **asked) == (404, "EntityNotExist.Policy")
        assert ram.refused("DetachPolicyFromUser", UserName=alice, **asked) == (404, "EntityNotExist.Policy")
    assert ram.refused("DeletePolicy", PolicyName="None") == (404, "EntityNotExist.Policy")
    assert ram.refused("DeletePolicy", PolicyName="AdministratorAccess") == (404, "EntityNotExist.Policy")


def test_an_unknown_policy_type_is_refused(ram: Any, alice: str) -> None:
    """System and Custom are case-sensitive."""
    bad = (400, "InvalidParameter.PolicyType")
    assert ram.refused("GetPolicy", PolicyName="Own", PolicyType="custom") == bad
    assert ram.refused("ListPolicies", PolicyType="All") == bad
    assert ram.refused("AttachPolicyToUser", UserName=alice, PolicyName="Own", PolicyType="own") == bad


@pytest.mark.parametrize("named", [NAMED, SYSTEM])
def test_policies_can_be_attached_and_detached(ram: Any, alice: str, named: dict[str, str]) -> None:
    """In the documented shapes; doing it twice is refused."""
    assert ram("AttachPolicyToUser", UserName=alice, **named) == {}
    again = ram.refused("AttachPolicyToUser", UserName=alice, **named)
    assert again == (409, "EntityAlreadyExists.User.Policy")
    (policy,) = ram("ListPoliciesForUser", UserName=alice)["Policies"]["Policy"]
    assert set(policy) == {"PolicyName", "PolicyType", "Description", "DefaultVersion", "AttachDate"}
    assert {name: policy[name] for name in named} == named
    assert policy["AttachDate"] == "2026-01-02T03:04:05Z"
    assert ram("GetPolicy", **named)["Policy"]["AttachmentCount"] == 1
    assert ram("DetachPolicyFromUser", UserName=alice, **named) == {}
    assert ram.refused("DetachPolicyFromUser", UserName=alice, **named) == (404, "EntityNotExist.User.Policy")
    assert ram("ListPoliciesForUser", UserName=alice)["Policies"]["Policy"] == []


def test_a_resource_group_is_refused(ram: Any, alice: str) -> None:
    """The attachment would apply to the whole account."""
    refused = ram.refused("AttachPolicyToUser", UserName=alice, **NAMED, ResourceGroupId="rg-1")
    assert refused == (400, "InvalidParameter.ResourceGroupId")
    assert ram("ListPoliciesForUser", UserName=alice)["Policies"]["Policy"] == []


def test_an_attached_policy_cannot_be_deleted(ram: Any, alice: str) -> None:
    """Once it is detached, it can."""
    ram("AttachPolicyToUser", UserName=alice, **NAMED)
    assert ram.refused("DeletePolicy", PolicyName="Own") == (409, "DeleteConflict.Policy.User")
    assert ram.refused("DeletePolicy", PolicyName="Own", CascadingDelete="true") == (409, "DeleteConflict.Policy.User")
    ram("DetachPolicyFromUser", UserName=alice, **NAMED)
    assert ram("DeletePolicy", PolicyName="Own") == {}
    assert ram.refused("GetPolicy", **NAMED) == (404, "EntityNotExist.Policy")


@pytest.mark.parametrize("most", [1, 4, 100])
def test_every_policy_is_in_one_part(ram: Any, alice: str, most: int) -> None:
    """The account's own, then the system's; the marker continues from one to the other."""
    seen, marker = [], ""
    while True:
        part = ram("ListPolicies", MaxItems=str(most), Marker=marker)
        seen += [(policy["PolicyType"], policy["PolicyName"]) for policy in part["Policies"]["Policy"]]
        assert part["IsTruncated"] is ("Marker" in part)
        if not part["IsTruncated"]:
            break
        marker = part["Marker"]
    assert seen[0] == ("Custom", "Own")
    assert seen == sorted(seen)
    assert len(seen) == len(set(seen)) == 1 + len(SYSTEM_POLICIES)
    only = ram("ListPolicies", PolicyType="System")["Policies"]["Policy"]
    assert [policy["PolicyName"] for policy in only] == [name for kind, name in seen if kind == "System"]


@pytest.mark.parametrize("marker", ["Own", "Custom/", "Other/Own", "Custom/a b", "Custom/\x00"])
def test_bad_markers_are_refused(ram: Any, marker: str) -> None:
    """Only those of an answer are taken."""
    assert ram.refused("ListPolicies", Marker=marker) == (400, "InvalidParameter.Marker.Format")


def test_policies_of_another_account_do_not_exist(ram: Any, alice: str, elsewhere: Any) -> None:
    """They are not listed, found, attached or deleted, and not counted."""
    ram("AttachPolicyToUser", UserName=alice, **SYSTEM)
    assert elsewhere("ListPolicies", PolicyType="Custom")["Policies"]["Policy"] == []
    assert elsewhere.refused("GetPolicy", **NAMED) == (404, "EntityNotExist.Policy")
    assert elsewhere.refused("DeletePolicy", PolicyName="Own") == (404, "EntityNotExist.Policy")
    elsewhere("CreateUser", UserName="eve")
    assert elsewhere.refused("AttachPolicyToUser", UserName="eve", **NAMED) == (404, "EntityNotExist.Policy")
    assert elsewhere("GetPolicy", **SYSTEM)["Policy"]["AttachmentCount"] == 0
    assert ram("GetPolicy", **SYSTEM)["Policy"]["AttachmentCount"] == 1


def test_an_attachment_needs_permission_on_policy_and_holder(ram: Any, alice: str) -> None:
    """Permission on the account's own policies does not include the system's."""
    own = f"acs:ram:*:{ram.caller.account_id}:policy/*"
    statement = {"Effect": "Allow", "Action": "ram:AttachPolicyToUser", "Resource": [own, "acs:ram:*:*:user/alice"]}
    ram("CreatePolicy", PolicyName="HandOut", PolicyDocument=grant(statement))
    for name in ("bob", "carol"):
        ram("CreateUser", UserName=name)
    ram("AttachPolicyToUser", UserName="bob", PolicyName="HandOut", PolicyType="Custom")
    bob = ram.as_user("bob")
    assert bob.refused("AttachPolicyToUser", UserName="alice", **SYSTEM)[0] == 403
    assert bob.refused("AttachPolicyToUser", UserName="carol", **NAMED)[0] == 403
    assert bob("AttachPolicyToUser", UserName="alice", **NAMED) == {}


def test_a_user_has_the_permissions_of_attached_policies(ram: Any, alice: str) -> None:
    """From the next request on, and not after it was detached."""
    caller = ram.as_user(alice)
    assert caller.refused("ListUsers")[0] == 403
    ram("AttachPolicyToUser", UserName=alice, PolicyName="AliyunRAMFullAccess", PolicyType="System")
    assert "Users" in caller("ListUsers")
    ram("DetachPolicyFromUser", UserName=alice, PolicyName="AliyunRAMFullAccess", PolicyType="System")
    assert caller.refused("ListUsers")[0] == 403
