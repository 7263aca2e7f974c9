"""Groups, roles and versions of policies, on both engines."""

import json
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest

from backfleet import identity
from backfleet.identity import attachments, groups, roles
from backfleet.identity.policy import MalformedPolicy, decide
from backfleet.ids import Draw
from backfleet.storage import Database

ALLOW = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"hbr:*","Resource":"*"}]}'
DENY = ALLOW.replace("Allow", "Deny")
TRUST = json.dumps(
    {
        "Version": "1",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": "acs:ram::1:root"}}],
    }
)


class Room:
    """The room's verbs, each in a transaction of its own."""

    def __init__(self, database: Database, account: str, now: datetime, draw: Draw) -> None:
        self.database, self.account, self.now, self.draw = database, account, now, draw

    def __call__(self, verb: str, *said: Any, account: str = "", **more: Any) -> Any:
        with self.database.transaction() as tx:
            return getattr(identity, verb)(tx, account or self.account, *said, **more)

    def refused(self, error: type[Exception], verb: str, *said: Any, **more: Any) -> str:
        with pytest.raises(error) as told:
            self(verb, *said, **more)
        return str(getattr(told.value, "kind", ""))

    def user(self, name: str = "ann") -> identity.Caller:
        made = self("create_user", name, now=self.now, draw=self.draw)
        return identity.Caller(self.account, "RAMUser", f"acs:ram::{self.account}:user/{name}", made.id, made.id, name)

    def group(self, name: str = "ops") -> identity.Group:
        return self("create_group", name, now=self.now, draw=self.draw)

    def role(self, name: str = "Ops", trust: str = TRUST, **more: Any) -> identity.Role:
        return self("create_role", name, trust, now=self.now, draw=self.draw, **more)

    def policy(self, name: str = "Own", document: str = ALLOW) -> None:
        self("create_policy", name, document, now=self.now)

    def may(self, caller: identity.Caller, action: str = "hbr:DescribeTask") -> bool:
        with self.database.reading() as tx:
            return decide(identity.statements_for(tx, caller), action, "*", {}).allowed


@pytest.fixture
def room(database: Database, account: str, now: datetime, draw: Draw) -> Room:
    return Room(database, account, now, draw)


# --- Groups ---------------------------------------------------------------------------------------------------------


def test_what_a_group_may_its_users_may(room: Room) -> None:
    """From joining to leaving; a Deny in the group outweighs the user's own Allow."""
    ann, _ = room.user(), room.group()
    room("attach_policy", "ops", "AliyunHBRFullAccess", "System", to="Group", now=room.now)
    assert not room.may(ann)
    room("join_group", "ann", "ops", now=room.now)
    assert room.may(ann)
    room.policy("Never", DENY)
    room("attach_policy", "ops", "Never", "Custom", to="Group", now=room.now)
    room("attach_policy", "ann", "AdministratorAccess", "System", now=room.now)
    assert not room.may(ann)
    room("leave_group", "ann", "ops")
    assert room.may(ann)


def test_another_groups_policies_are_not_mine(room: Room, other: str) -> None:
    """Nor those of another account's group."""
    ann = room.user()
    room.group("mine")
    room.group("theirs")
    room("join_group", "ann", "mine", now=room.now)
    room("attach_policy", "theirs", "AdministratorAccess", "System", to="Group", now=room.now)
    assert not room.may(ann)
    room("create_group", "mine", account=other, now=room.now, draw=room.draw)
    room("attach_policy", "mine", "AdministratorAccess", "System", account=other, to="Group", now=room.now)
    assert not room.may(ann)


def test_members(room: Room) -> None:
    """Who is in it, and in what they are; twice and once too often is said."""
    room.user("bob")
    room.user("ann")
    group = room.group()
    later = room.now + timedelta(hours=1)
    for name in ("bob", "ann"):
        room("join_group", name, "ops", now=later)
    assert room.refused(identity.AlreadyExists, "join_group", "ann", "ops", now=later) == "User.Group"
    listed = room("users_in_group", "ops", after="", limit=10)
    assert [(user.name, since) for user, since in listed] == [("ann", later), ("bob", later)]
    assert [user.name for user, _ in room("users_in_group", "ops", after="ann", limit=1)] == ["bob"]
    assert room("groups_of_user", "ann") == [(group, later)]
    room("leave_group", "ann", "ops")
    assert room.refused(identity.NotFound, "leave_group", "ann", "ops") == "User.Group"


def test_what_is_in_use_stays(room: Room) -> None:
    """A user in a group, a group with users, a group and a role with policies, a policy that is held."""
    room.user()
    room.group()
    room.role()
    room.policy()
    room("join_group", "ann", "ops", now=room.now)
    room("attach_policy", "ops", "Own", "Custom", to="Group", now=room.now)
    room("attach_policy", "Ops", "Own", "Custom", to="Role", now=room.now)
    in_use = identity.StillInUse
    assert room.refused(in_use, "delete_user", "ann") == "User.Group"
    assert room.refused(in_use, "delete_group", "ops") == "Group.User"
    room("leave_group", "ann", "ops")
    assert room.refused(in_use, "delete_group", "ops") == "Group.Policy"
    assert room.refused(in_use, "delete_role", "Ops") == "Role.Policy"
    assert room.refused(in_use, "delete_policy", "Own") == "Policy.Group"
    room("detach_policy", "ops", "Own", "Custom", of="Group")
    assert room.refused(in_use, "delete_policy", "Own") == "Policy.Role"
    room("detach_policy", "Ops", "Own", "Custom", of="Role")
    for verb, name in (
        ("delete_user", "ann"),
        ("delete_group", "ops"),
        ("delete_role", "Ops"),
        ("delete_policy", "Own"),
    ):
        room(verb, name)


def test_limits(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of groups, of a user's groups, of roles, of a role's policies."""
    room.user()
    room.group("a")
    room.group("b")
    room.role()
    monkeypatch.setattr(groups, "GROUPS_PER_ACCOUNT", 2)
    monkeypatch.setattr(groups, "GROUPS_PER_USER", 1)
    monkeypatch.setattr(roles, "ROLES_PER_ACCOUNT", 1)
    monkeypatch.setattr(attachments, "POLICIES_PER_HOLDER", 0)
    full, made = identity.LimitReached, {"now": room.now, "draw": room.draw}
    assert room.refused(full, "create_group", "c", **made) == "Group"
    room("join_group", "ann", "a", now=room.now)
    assert room.refused(full, "join_group", "ann", "b", now=room.now) == "User.Group"
    assert room.refused(full, "create_role", "More", TRUST, **made) == "Role"
    said = ("Ops", "AdministratorAccess", "System")
    assert room.refused(full, "attach_policy", *said, to="Role", now=room.now) == "Role.Policy"


def test_names_change_and_belongings_stay(room: Room) -> None:
    """Users and groups are known by id."""
    ann, _ = room.user(), room.group()
    room.user("bob")
    room("join_group", "ann", "ops", now=room.now)
    room("attach_policy", "ops", "AliyunHBRFullAccess", "System", to="Group", now=room.now)
    later = room.now + timedelta(hours=1)
    changed = room("update_user", "ann", new_name="anna", email="a@example.com", display_name=None, now=later)
    assert (changed.name, changed.email, changed.display_name, changed.updated_at) == (
        "anna",
        "a@example.com",
        "ann",
        later,
    )
    assert room("find_user", "anna") == changed
    assert room("update_group", "ops", new_name="night", comments=None, now=later).updated_at == later
    assert room.may(ann)
    assert room.refused(identity.AlreadyExists, "update_user", "anna", new_name="bob", now=later) == "User"
    assert room.refused(identity.NotFound, "update_user", "ann", new_name="x", now=later) == "User"
    room.group("ops")
    assert (
        room.refused(identity.AlreadyExists, "update_group", "ops", new_name="night", comments="", now=later) == "Group"
    )
    assert room("update_user", "anna", new_name="anna", now=later).name == "anna"


# --- Roles ----------------------------------------------------------------------------------------------------------


def test_a_role_by_name(room: Room, other: str) -> None:
    """Letter case counts where a policy could name it; one name in one case only; other accounts have their own."""
    made = room.role(tags={"team": "night"}, description="ours", max_session=timedelta(hours=2))
    assert room("find_role", "Ops") == made
    assert made.arn == f"acs:ram::{room.account}:role/Ops"
    assert room.refused(identity.NotFound, "find_role", "ops") == "Role"
    assert room("find_role", "oPS", any_case=True) == made
    assert room.refused(identity.AlreadyExists, "create_role", "OPS", TRUST, now=room.now, draw=room.draw) == "Role"
    assert room.refused(identity.NotFound, "find_role", "Ops", account=other) == "Role"
    assert room("create_role", "Ops", TRUST, account=other, now=room.now, draw=room.draw).account_id == other


def test_roles_are_listed_by_name_and_tag(room: Room) -> None:
    """In parts; with every tag that is asked for."""
    for name, tags in (("c", {"team": "a", "x": "y"}), ("a", {"team": "a"}), ("b", {"team": "b"}), ("d", {})):
        room.role(name, tags=tags)

    def names(**how: Any) -> list[str]:
        return [role.name for role in room("list_roles", **{"after": "", "limit": 10, **how})]

    assert names() == ["a", "b", "c", "d"]
    assert names(after="a", limit=2) == ["b", "c"]
    assert names(tags={"team": "a"}) == ["a", "c"]
    assert names(tags={"team": "a"}, limit=1) == ["a"]
    assert names(tags={"team": None}) == ["a", "b", "c"]
    assert names(tags={"team": "a", "x": "y"}) == ["c"]


def test_a_role_changes(room: Room) -> None:
    """One thing at a time; a trust that could not be carried out changes nothing."""
    made, later = room.role(), room.now + timedelta(hours=1)
    changed = room("update_role", "Ops", description="new", now=later)
    assert (changed.description, changed.trust, changed.max_session) == ("new", made.trust, made.max_session)
    with pytest.raises(MalformedPolicy):
        room("update_role", "Ops", trust=ALLOW, now=later)
    assert room("find_role", "Ops") == changed


def test_a_services_own_role(room: Room) -> None:
    """Its trust is the service's; once; only of services that have one."""
    (service, name) = next(iter(identity.SERVICE_ROLES.items()))
    made = room("create_service_role", service, now=room.now, draw=room.draw)
    assert (made.name, made.service) == (name, service)
    once = {"now": room.now, "draw": room.draw}
    assert room.refused(identity.AlreadyExists, "create_service_role", service, **once) == "Role"
    assert room.refused(identity.NotFound, "create_service_role", "x.aliyuncs.com", **once) == "ServiceName"
    assert room.refused(identity.Unchangeable, "update_role", name, trust=TRUST, now=room.now) == "Role.ServiceLinked"
    room("delete_role", name)


# --- Versions -------------------------------------------------------------------------------------------------------


def test_the_default_version_is_in_force(room: Room) -> None:
    """From the next request on, for whoever holds the policy."""
    ann = room.user()
    room.policy()
    room("attach_policy", "ann", "Own", "Custom", now=room.now)
    assert room("add_version", "Own", DENY, now=room.now) == identity.PolicyVersion(2, DENY, False, room.now)
    assert room.may(ann)
    room("set_default_version", "Own", 2, now=room.now)
    assert not room.may(ann)
    assert room("find_policy", "Own", "Custom").document == DENY
    room("add_version", "Own", ALLOW, default=True, now=room.now)
    assert room.may(ann)
    assert [(v.number, v.is_default) for v in room("list_versions", "Own", "Custom")] == [
        (1, False),
        (2, False),
        (3, True),
    ]


def test_five_versions(room: Room) -> None:
    """A sixth needs room; numbers are never given twice; the default one is never dropped."""
    room.policy()
    for _ in range(4):
        room("add_version", "Own", DENY, now=room.now)
    assert room.refused(identity.LimitReached, "add_version", "Own", DENY, now=room.now) == "Policy.Version"
    assert room("add_version", "Own", DENY, rotate=True, now=room.now).number == 6
    assert [version.number for version in room("list_versions", "Own", "Custom")] == [1, 3, 4, 5, 6]
    room("delete_version", "Own", 6)
    assert room("add_version", "Own", DENY, now=room.now).number == 7
    assert room.refused(identity.StillInUse, "delete_version", "Own", 1) == "Policy.Version.Default"
    assert room.refused(identity.NotFound, "delete_version", "Own", 2) == "Policy.Version"
    assert room.refused(identity.NotFound, "set_default_version", "Own", 2, now=room.now) == "Policy.Version"
    assert room.refused(identity.NotFound, "find_version", "Own", "Custom", 2) == "Policy.Version"
    with pytest.raises(MalformedPolicy):
        room("add_version", "Own", "{}", rotate=True, now=room.now)
    assert [version.number for version in room("list_versions", "Own", "Custom")] == [1, 3, 4, 5, 7]


def test_the_systems_have_one_version(room: Room) -> None:
    """That nobody can change."""
    (version,) = room("list_versions", "AdministratorAccess", "System")
    assert (version.number, version.is_default) == (1, True)
    assert room.refused(identity.NotFound, "add_version", "AdministratorAccess", ALLOW, now=room.now) == "Policy"
    assert room.refused(identity.NotFound, "delete_version", "AdministratorAccess", 1) == "Policy"


def test_versions_go_with_their_policy_if_that_is_said(room: Room) -> None:
    """And a policy of the same name begins anew."""
    room.policy()
    room("add_version", "Own", DENY, now=room.now)
    assert room.refused(identity.StillInUse, "delete_policy", "Own") == "Policy.Version"
    room("delete_policy", "Own", versions_too=True)
    room.policy()
    assert [version.number for version in room("list_versions", "Own", "Custom")] == [1]


def test_who_holds_a_policy(room: Room, other: str) -> None:
    """Groups, roles, users, by name; in the account only."""
    room.user("bob")
    room.user("ann")
    room.group()
    room.role()
    for name, kind in (("bob", "User"), ("ann", "User"), ("ops", "Group"), ("Ops", "Role")):
        room("attach_policy", name, "AdministratorAccess", "System", to=kind, now=room.now)
    found = room("holders_of", "AdministratorAccess", "System")
    assert [(holder.kind, holder.name) for holder in found] == [
        ("Group", "ops"), ("Role", "Ops"), ("User", "ann"), ("User", "bob"),
    ]  # fmt: skip
    assert room("find_policy", "AdministratorAccess", "System").attached == 4
    assert room("holders_of", "AdministratorAccess", "System", account=other) == []


def test_two_who_add_versions_at_once(room: Room) -> None:
    """Get two numbers, and the limit holds."""
    room.policy()
    made: list[int | str] = []

    def add() -> None:
        try:
            made.append(room("add_version", "Own", DENY, now=room.now).number)
        except identity.LimitReached:
            made.append("full")

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, made)) == ["2", "3", "4", "5", "full", "full"]


def test_another_accounts_are_not_there(room: Room, other: str) -> None:
    """Groups and roles of another account are as those that do not exist."""
    room.group()
    room.role()
    for verb, name, kind in (
        ("find_group", "ops", "Group"),
        ("delete_group", "ops", "Group"),
        ("delete_role", "Ops", "Role"),
    ):
        assert room.refused(identity.NotFound, verb, name, account=other) == kind
    for kind, name in (("Group", "ops"), ("Role", "Ops")):
        said = (name, "AdministratorAccess", "System")
        assert room.refused(identity.NotFound, "attach_policy", *said, account=other, to=kind, now=room.now) == kind
        assert room.refused(identity.NotFound, "detach_policy", *said, account=other, of=kind) == kind
        assert room.refused(identity.NotFound, "policies_of", kind, name, account=other) == kind
