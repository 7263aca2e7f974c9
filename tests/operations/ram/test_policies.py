"""RAM's operations on policies and attachments."""

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
    """The name of a user; there is a policy Own that nobody has."""
    ram("CreateUser", UserName="alice")
    ram("CreatePolicy", PolicyName="Own", PolicyDocument=DOCUMENT, Description="ours")
    return "alice"


def test_create_and_get(ram: Any) -> None:
    """The documented shapes."""
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


def test_get_the_systems(ram: Any) -> None:
    """Its document can be read by whoever wonders what it allows."""
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
def test_bad_values(ram: Any, asked: dict[str, str], code: str) -> None:
    """Each refused with its own code, and nothing is made."""
    assert ram.refused("CreatePolicy", **asked) == (400, code)
    assert ram("ListPolicies", PolicyType="Custom")["Policies"]["Policy"] == []


def test_a_malformed_document_is_told_why(ram: Any) -> None:
    """The message names the element."""
    document = grant({"Effect": "Allow", "Action": "hbr:*", "Resource": "*", "Condition": {"Null": {"acs:Service": 1}}})
    body = ram("CreatePolicy", PolicyName="Own", PolicyDocument=document)
    assert body["Message"] == "The policy document is refused: the condition operator 'Null' is unknown."


@pytest.mark.parametrize("name", ["Own", "AdministratorAccess"])
def test_a_name_is_taken_once(ram: Any, alice: str, name: str) -> None:
    """By the account or by the system."""
    refused = ram.refused("CreatePolicy", PolicyName=name, PolicyDocument=DOCUMENT)
    assert refused == (409, "EntityAlreadyExists.Policy")


def test_no_such_policy(ram: Any, alice: str) -> None:
    """Every operation on one says so alike."""
    for kind in ("Custom", "System"):
        asked = {"PolicyName": "None", "PolicyType": kind}
        assert ram.refused("GetPolicy", **asked) == (404, "EntityNotExist.Policy")
        assert ram.refused("AttachPolicyToUser", UserName=alice, **asked) == (404, "EntityNotExist.Policy")
        assert ram.refused("DetachPolicyFromUser", UserName=alice, **asked) == (404, "EntityNotExist.Policy")
    assert ram.refused("DeletePolicy", PolicyName="None") == (404, "EntityNotExist.Policy")
    assert ram.refused("DeletePolicy", PolicyName="AdministratorAccess") == (404, "EntityNotExist.Policy")


def test_no_such_type(ram: Any, alice: str) -> None:
    """System or Custom, in these letters."""
    bad = (400, "InvalidParameter.PolicyType")
    assert ram.refused("GetPolicy", PolicyName="Own", PolicyType="custom") == bad
    assert ram.refused("ListPolicies", PolicyType="All") == bad
    assert ram.refused("AttachPolicyToUser", UserName=alice, PolicyName="Own", PolicyType="own") == bad


@pytest.mark.parametrize("named", [NAMED, SYSTEM])
def test_attach_and_detach(ram: Any, alice: str, named: dict[str, str]) -> None:
    """The documented shapes; twice, and once too often, is said."""
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
    """A policy meant for a part is not attached to the whole."""
    refused = ram.refused("AttachPolicyToUser", UserName=alice, **NAMED, ResourceGroupId="rg-1")
    assert refused == (400, "InvalidParameter.ResourceGroupId")
    assert ram("ListPoliciesForUser", UserName=alice)["Policies"]["Policy"] == []


def test_delete(ram: Any, alice: str) -> None:
    """Only when nobody has it."""
    ram("AttachPolicyToUser", UserName=alice, **NAMED)
    assert ram.refused("DeletePolicy", PolicyName="Own") == (409, "DeleteConflict.Policy.User")
    assert ram.refused("DeletePolicy", PolicyName="Own", CascadingDelete="true") == (409, "DeleteConflict.Policy.User")
    ram("DetachPolicyFromUser", UserName=alice, **NAMED)
    assert ram("DeletePolicy", PolicyName="Own") == {}
    assert ram.refused("GetPolicy", **NAMED) == (404, "EntityNotExist.Policy")


@pytest.mark.parametrize("most", [1, 4, 100])
def test_list_in_parts(ram: Any, alice: str, most: int) -> None:
    """Each once: the account's own, then the system's; the marker leads from one to the other."""
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
def test_bad_markers(ram: Any, marker: str) -> None:
    """What no list gave leads nowhere."""
    assert ram.refused("ListPolicies", Marker=marker) == (400, "InvalidParameter.Marker.Format")


def test_another_accounts_policies_are_not_there(ram: Any, alice: str, elsewhere: Any) -> None:
    """Neither listed, found, attached nor deleted; counts are the account's own."""
    ram("AttachPolicyToUser", UserName=alice, **SYSTEM)
    assert elsewhere("ListPolicies", PolicyType="Custom")["Policies"]["Policy"] == []
    assert elsewhere.refused("GetPolicy", **NAMED) == (404, "EntityNotExist.Policy")
    assert elsewhere.refused("DeletePolicy", PolicyName="Own") == (404, "EntityNotExist.Policy")
    elsewhere("CreateUser", UserName="eve")
    assert elsewhere.refused("AttachPolicyToUser", UserName="eve", **NAMED) == (404, "EntityNotExist.Policy")
    assert elsewhere("GetPolicy", **SYSTEM)["Policy"]["AttachmentCount"] == 0
    assert ram("GetPolicy", **SYSTEM)["Policy"]["AttachmentCount"] == 1


def test_an_attachment_needs_permission_for_both_sides(ram: Any, alice: str) -> None:
    """Who may hand out the account's own policies may not, by that alone, hand out the system's."""
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


def test_a_user_may_what_was_attached(ram: Any, alice: str) -> None:
    """From the next request on, and not after it was taken away."""
    caller = ram.as_user(alice)
    assert caller.refused("ListUsers")[0] == 403
    ram("AttachPolicyToUser", UserName=alice, PolicyName="AliyunRAMFullAccess", PolicyType="System")
    assert "Users" in caller("ListUsers")
    ram("DetachPolicyFromUser", UserName=alice, PolicyName="AliyunRAMFullAccess", PolicyType="System")
    assert caller.refused("ListUsers")[0] == 403
