"""Tags of roles and policies: given, listed in parts, filtered by, removed; permission on each of the named ones."""

import json
from typing import Any

import pytest

from operations.ram.conftest import Ram

TRUST = json.dumps(
    {
        "Version": "1",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": ["ecs.aliyuncs.com"]}}],
    }
)
ALL = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
KIND = pytest.mark.parametrize("kind", ["role", "policy"])


def make(ram: Ram, kind: str, name: str, **tags: str) -> None:
    if kind == "role":
        made = ram("CreateRole", RoleName=name, AssumeRolePolicyDocument=TRUST, **tags)
    else:
        made = ram("CreatePolicy", PolicyName=name, PolicyDocument=ALL, **tags)
    assert "Code" not in made, made


def tagged(*pairs: tuple[str, str]) -> dict[str, str]:
    found = {}
    for number, (key, value) in enumerate(pairs, 1):
        found |= {f"Tag.{number}.Key": key, f"Tag.{number}.Value": value}
    return found


def named(*names: str) -> dict[str, str]:
    return {f"ResourceNames.{number}": name for number, name in enumerate(names, 1)}


def listed(ram: Ram, kind: str, **asked: str) -> list[tuple[str, str, str]]:
    answer = ram("ListTagResources", ResourceType=kind, **asked)
    assert {row["ResourceType"] for row in answer["TagResources"]} <= {kind}
    return [(row["ResourceName"], row["TagKey"], row["TagValue"]) for row in answer["TagResources"]]


@KIND
def test_tags_are_given_listed_and_removed(ram: Any, kind: str) -> None:
    """Also those that it was made with; the same key gets the new value."""
    make(ram, kind, "a", **tagged(("team", "web")))
    make(ram, kind, "b")
    assert ram("TagResources", ResourceType=kind, **named("a", "b", "a"), **tagged(("env", "x"), ("empty", ""))) == {}
    ram("TagResources", ResourceType=kind, **named("b"), **tagged(("env", "y")))
    assert listed(ram, kind) == [
        ("a", "empty", ""), ("a", "env", "x"), ("a", "team", "web"), ("b", "empty", ""), ("b", "env", "y"),
    ]  # fmt: skip
    assert listed(ram, kind, **named("b", "missing")) == [("b", "empty", ""), ("b", "env", "y")]
    assert {name for name, _, _ in listed(ram, kind, **tagged(("env", "x")))} == {"a"}
    assert {name for name, _, _ in listed(ram, kind, **{"Tag.1.Key": "env"})} == {"a", "b"}
    assert listed(ram, kind, **tagged(("env", "x"), ("team", "db"))) == []
    ram(
        "UntagResources", ResourceType=kind, **named("a", "b"), **{"TagKeys.1": "env", "TagKeys.2": "never"}, All="true"
    )
    assert listed(ram, kind) == [("a", "empty", ""), ("a", "team", "web"), ("b", "empty", "")]
    ram("UntagResources", ResourceType=kind, **named("a"), All="true")
    assert listed(ram, kind) == [("b", "empty", "")]


def test_a_role_shows_its_tags(ram: Any) -> None:
    """GetRole and ListRoles have what TagResources gave."""
    make(ram, "role", "a")
    ram("TagResources", ResourceType="role", **named("a"), **tagged(("team", "web")))
    assert ram("GetRole", RoleName="a")["Role"]["Tags"] == {"Tag": [{"TagKey": "team", "TagValue": "web"}]}
    assert [role["RoleName"] for role in ram("ListRoles", **tagged(("team", "web")))["Roles"]["Role"]] == ["a"]


@KIND
@pytest.mark.parametrize(
    ("action", "asked", "status", "code"),
    [
        ("TagResources", {**named("a", "missing"), **tagged(("k", "v"))}, 404, "EntityNotExist"),
        ("UntagResources", {**named("a", "missing"), "All": "true"}, 404, "EntityNotExist"),
        ("TagResources", {**named("A"), **tagged(("k", "v"))}, 404, "EntityNotExist"),
        ("TagResources", tagged(("k", "v")), 400, "MissingParameter"),
        ("TagResources", named("a"), 400, "MissingParameter"),
        ("UntagResources", named("a"), 400, "MissingParameter"),
        ("TagResources", {**named("a"), **tagged(("k", "v"), ("k", "w"))}, 400, "InvalidParameter.Tag.Format"),
        ("TagResources", {**named("a"), **tagged(("", "v"))}, 400, "InvalidParameter.Tag.Format"),
        ("TagResources", {**named("a"), **tagged(*((f"k{n}", "") for n in range(20)))}, 409, "LimitExceeded.Tag"),
        ("ListTagResources", {"NextToken": "x"}, 400, "InvalidParameter.NextToken.Format"),
        ("ListTagResources", {"NextToken": "WzEsMl0"}, 400, "InvalidParameter.NextToken.Format"),
        ("ListTagResources", {"PageSize": "101"}, 400, "InvalidParameter"),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    ram: Any, kind: str, action: str, asked: dict[str, str], status: int, code: str
) -> None:
    """Not even for those among the named ones for which it could."""
    make(ram, kind, "a", **tagged(("team", "web")))
    found = ram.refused(action, ResourceType=kind, **asked)
    assert found == (status, f"{code}.{kind.title()}" if code == "EntityNotExist" else code)
    assert listed(ram, kind) == [("a", "team", "web")]


@pytest.mark.parametrize("kind", ["user", "group", "Role", "*", ""])
def test_other_types_are_refused(ram: Any, kind: str) -> None:
    """As in the cloud; no tags of everything."""
    status, code = ram.refused("ListTagResources", ResourceType=kind)
    assert (status, code) in ((400, "InvalidParameter.ResourceType.Format"), (400, "MissingParameter"))


@KIND
def test_a_walk_by_tokens_meets_every_tag_once(ram: Any, kind: str) -> None:
    """Though rows are deleted and made meanwhile, before and after the place of the walk."""
    for name in "abcd":
        make(ram, kind, name, **tagged(("k1", name), ("k2", name)))
    seen: list[tuple[str, str]] = []
    token = ""
    for turn in range(10):
        answer = ram("ListTagResources", ResourceType=kind, PageSize="2", **({"NextToken": token} if token else {}))
        seen += [(row["ResourceName"], row["TagKey"]) for row in answer["TagResources"]]
        token = answer.get("NextToken", "")
        if not token:
            break
        if turn == 1:
            ram("UntagResources", ResourceType=kind, **named("a"), All="true")
            ram("TagResources", ResourceType=kind, **named("a"), **tagged(("k0", "late")))
    assert seen == [(name, key) for name in "abcd" for key in ("k1", "k2")]


@KIND
def test_permission_is_needed_for_each_of_the_named_ones(ram: Any, kind: str) -> None:
    """A policy can name the roles and policies that somebody may tag."""
    make(ram, kind, "a")
    make(ram, kind, "b")
    allowed = {"Effect": "Allow", "Action": "ram:*TagResources", "Resource": f"acs:ram:*:*:{kind}/a"}
    ram("CreatePolicy", PolicyName="Own", PolicyDocument=json.dumps({"Version": "1", "Statement": [allowed]}))
    ram("CreateUser", UserName="ann")
    ram("AttachPolicyToUser", UserName="ann", PolicyName="Own", PolicyType="Custom")
    ann = ram.as_user("ann")
    assert ann("TagResources", ResourceType=kind, **named("a"), **tagged(("k", "v"))) == {}
    for fields in (named("b"), named("a", "b")):
        assert ann.refused("TagResources", ResourceType=kind, **fields, **tagged(("k", "v")))[0] == 403
    assert ann.refused("ListTagResources", ResourceType=kind)[0] == 403
    assert listed(ram, kind) == [("a", "k", "v")]


@pytest.mark.parametrize("key", ["acs:team", "aliyun", "ACS:team", "te\u202eam", "te\nam"])
@KIND
def test_reserved_keys_and_marks_that_deceive_are_refused(ram: Any, kind: str, key: str) -> None:
    """When tags are given later, and when the resource is made."""
    make(ram, kind, "a")
    assert "InvalidParameter" in ram("TagResources", ResourceType=kind, **named("a"), **tagged((key, "x")))["Code"]
    assert listed(ram, kind) == []
    with pytest.raises(AssertionError, match="InvalidParameter"):
        make(ram, kind, "b", **tagged((key, "x")))
