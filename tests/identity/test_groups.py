"""Groups of users, and what they share with users and roles."""

from datetime import timedelta

import pytest

from backfleet import identity
from backfleet.identity import attachments, groups, roles
from identity.conftest import DENY, TRUST, Verbs


def test_a_user_has_the_permissions_of_the_group(verbs: Verbs) -> None:
    """From joining to leaving; a Deny of the group outweighs an Allow of the user."""
    ann, _ = verbs.user(), verbs.group()
    verbs("attach_policy", "ops", "AliyunHBRFullAccess", "System", to="Group", now=verbs.now)
    assert not verbs.may(ann)
    verbs("join_group", "ann", "ops", now=verbs.now)
    assert verbs.may(ann)
    verbs.policy("Never", DENY)
    verbs("attach_policy", "ops", "Never", "Custom", to="Group", now=verbs.now)
    verbs("attach_policy", "ann", "AdministratorAccess", "System", now=verbs.now)
    assert not verbs.may(ann)
    verbs("leave_group", "ann", "ops")
    assert verbs.may(ann)


def test_policies_of_other_groups_do_not_apply(verbs: Verbs, other: str) -> None:
    """Nor those of a group of another account."""
    ann = verbs.user()
    verbs.group("mine")
    verbs.group("theirs")
    verbs("join_group", "ann", "mine", now=verbs.now)
    verbs("attach_policy", "theirs", "AdministratorAccess", "System", to="Group", now=verbs.now)
    assert not verbs.may(ann)
    verbs("create_group", "mine", account=other, now=verbs.now, draw=verbs.draw)
    verbs("attach_policy", "mine", "AdministratorAccess", "System", account=other, to="Group", now=verbs.now)
    assert not verbs.may(ann)


def test_members_are_listed_on_both_sides(verbs: Verbs) -> None:
    """Joining or leaving a second time is refused."""
    verbs.user("bob")
    verbs.user("ann")
    group = verbs.group()
    later = verbs.now + timedelta(hours=1)
    for name in ("bob", "ann"):
        verbs("join_group", name, "ops", now=later)
    assert verbs.refused(identity.AlreadyExists, "join_group", "ann", "ops", now=later) == "User.Group"
    listed = verbs("users_in_group", "ops", after="", limit=10)
    assert [(user.name, since) for user, since in listed] == [("ann", later), ("bob", later)]
    assert [user.name for user, _ in verbs("users_in_group", "ops", after="ann", limit=1)] == ["bob"]
    assert verbs("groups_of_user", "ann") == [(group, later)]
    verbs("leave_group", "ann", "ops")
    assert verbs.refused(identity.NotFound, "leave_group", "ann", "ops") == "User.Group"


def test_what_is_in_use_cannot_be_deleted(verbs: Verbs) -> None:
    """Users in a group, groups with users, holders with policies, attached policies."""
    verbs.user()
    verbs.group()
    verbs.role()
    verbs.policy()
    verbs("join_group", "ann", "ops", now=verbs.now)
    verbs("attach_policy", "ops", "Own", "Custom", to="Group", now=verbs.now)
    verbs("attach_policy", "Ops", "Own", "Custom", to="Role", now=verbs.now)
    in_use = identity.StillInUse
    assert verbs.refused(in_use, "delete_user", "ann") == "User.Group"
    assert verbs.refused(in_use, "delete_group", "ops") == "Group.User"
    verbs("leave_group", "ann", "ops")
    assert verbs.refused(in_use, "delete_group", "ops") == "Group.Policy"
    assert verbs.refused(in_use, "delete_role", "Ops") == "Role.Policy"
    assert verbs.refused(in_use, "delete_policy", "Own") == "Policy.Group"
    verbs("detach_policy", "ops", "Own", "Custom", of="Group")
    assert verbs.refused(in_use, "delete_policy", "Own") == "Policy.Role"
    verbs("detach_policy", "Ops", "Own", "Custom", of="Role")
    for verb, name in (
        ("delete_user", "ann"),
        ("delete_group", "ops"),
        ("delete_role", "Ops"),
        ("delete_policy", "Own"),
    ):
        verbs(verb, name)


def test_groups_and_roles_have_limits(verbs: Verbs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups, groups of a user, roles, policies of a role."""
    verbs.user()
    verbs.group("a")
    verbs.group("b")
    verbs.role()
    monkeypatch.setattr(groups, "GROUPS_PER_ACCOUNT", 2)
    monkeypatch.setattr(groups, "GROUPS_PER_USER", 1)
    monkeypatch.setattr(roles, "ROLES_PER_ACCOUNT", 1)
    monkeypatch.setattr(attachments, "POLICIES_PER_HOLDER", 0)
    full, made = identity.LimitReached, {"now": verbs.now, "draw": verbs.draw}
    assert verbs.refused(full, "create_group", "c", **made) == "Group"
    verbs("join_group", "ann", "a", now=verbs.now)
    assert verbs.refused(full, "join_group", "ann", "b", now=verbs.now) == "User.Group"
    assert verbs.refused(full, "create_role", "More", TRUST, **made) == "Role"
    attachment = ("Ops", "AdministratorAccess", "System")
    assert verbs.refused(full, "attach_policy", *attachment, to="Role", now=verbs.now) == "Role.Policy"


def test_renaming_keeps_members_and_policies(verbs: Verbs) -> None:
    """Users and groups are referred to by id."""
    ann, _ = verbs.user(), verbs.group()
    verbs.user("bob")
    verbs("join_group", "ann", "ops", now=verbs.now)
    verbs("attach_policy", "ops", "AliyunHBRFullAccess", "System", to="Group", now=verbs.now)
    later = verbs.now + timedelta(hours=1)
    changed = verbs("update_user", "ann", new_name="anna", email="a@example.com", display_name=None, now=later)
    assert (changed.name, changed.email, changed.display_name, changed.updated_at) == (
        "anna",
        "a@example.com",
        "ann",
        later,
    )
    assert verbs("find_user", "anna") == changed
    assert verbs("update_group", "ops", new_name="night", comments=None, now=later).updated_at == later
    assert verbs.may(ann)
    assert verbs.refused(identity.AlreadyExists, "update_user", "anna", new_name="bob", now=later) == "User"
    assert verbs.refused(identity.NotFound, "update_user", "ann", new_name="x", now=later) == "User"
    verbs.group("ops")
    assert (
        verbs.refused(identity.AlreadyExists, "update_group", "ops", new_name="night", comments="", now=later)
        == "Group"
    )
    assert verbs("update_user", "anna", new_name="anna", now=later).name == "anna"


def test_groups_and_roles_of_another_account_are_not_found(verbs: Verbs, other: str) -> None:
    """As those that do not exist."""
    verbs.group()
    verbs.role()
    for verb, name, kind in (
        ("find_group", "ops", "Group"),
        ("delete_group", "ops", "Group"),
        ("delete_role", "Ops", "Role"),
    ):
        assert verbs.refused(identity.NotFound, verb, name, account=other) == kind
    for kind, name in (("Group", "ops"), ("Role", "Ops")):
        attachment = (name, "AdministratorAccess", "System")
        assert (
            verbs.refused(identity.NotFound, "attach_policy", *attachment, account=other, to=kind, now=verbs.now)
            == kind
        )
        assert verbs.refused(identity.NotFound, "detach_policy", *attachment, account=other, of=kind) == kind
        assert verbs.refused(identity.NotFound, "policies_of", kind, name, account=other) == kind
