"""Versions of policies, and the holders of policies."""

import threading

import pytest

from backfleet import identity
from backfleet.identity.policy import MalformedPolicy
from identity.conftest import ALLOW, DENY, Verbs


def test_the_default_version_is_in_force(verbs: Verbs) -> None:
    """From the next request on, for everyone who has the policy."""
    ann = verbs.user()
    verbs.policy()
    verbs("attach_policy", "ann", "Own", "Custom", now=verbs.now)
    assert verbs("add_version", "Own", DENY, now=verbs.now) == identity.PolicyVersion(2, DENY, False, verbs.now)
    assert verbs.may(ann)
    verbs("set_default_version", "Own", 2, now=verbs.now)
    assert not verbs.may(ann)
    assert verbs("find_policy", "Own", "Custom").document == DENY
    verbs("add_version", "Own", ALLOW, default=True, now=verbs.now)
    assert verbs.may(ann)
    assert [(v.number, v.is_default) for v in verbs("list_versions", "Own", "Custom")] == [
        (1, False),
        (2, False),
        (3, True),
    ]


def test_a_policy_has_at_most_five_versions(verbs: Verbs) -> None:
    """Numbers are never used twice, and the default version is never deleted."""
    verbs.policy()
    for _ in range(4):
        verbs("add_version", "Own", DENY, now=verbs.now)
    assert verbs.refused(identity.LimitReached, "add_version", "Own", DENY, now=verbs.now) == "Policy.Version"
    assert verbs("add_version", "Own", DENY, rotate=True, now=verbs.now).number == 6
    assert [version.number for version in verbs("list_versions", "Own", "Custom")] == [1, 3, 4, 5, 6]
    verbs("delete_version", "Own", 6)
    assert verbs("add_version", "Own", DENY, now=verbs.now).number == 7
    assert verbs.refused(identity.StillInUse, "delete_version", "Own", 1) == "Policy.Version.Default"
    assert verbs.refused(identity.NotFound, "delete_version", "Own", 2) == "Policy.Version"
    assert verbs.refused(identity.NotFound, "set_default_version", "Own", 2, now=verbs.now) == "Policy.Version"
    assert verbs.refused(identity.NotFound, "find_version", "Own", "Custom", 2) == "Policy.Version"
    with pytest.raises(MalformedPolicy):
        verbs("add_version", "Own", "{}", rotate=True, now=verbs.now)
    assert [version.number for version in verbs("list_versions", "Own", "Custom")] == [1, 3, 4, 5, 7]


def test_a_system_policy_has_one_version(verbs: Verbs) -> None:
    """Nobody can change it."""
    (version,) = verbs("list_versions", "AdministratorAccess", "System")
    assert (version.number, version.is_default) == (1, True)
    assert verbs.refused(identity.NotFound, "add_version", "AdministratorAccess", ALLOW, now=verbs.now) == "Policy"
    assert verbs.refused(identity.NotFound, "delete_version", "AdministratorAccess", 1) == "Policy"


def test_versions_are_deleted_with_their_policy_on_request(verbs: Verbs) -> None:
    """A new policy of the same name starts at version 1."""
    verbs.policy()
    verbs("add_version", "Own", DENY, now=verbs.now)
    assert verbs.refused(identity.StillInUse, "delete_policy", "Own") == "Policy.Version"
    verbs("delete_policy", "Own", versions_too=True)
    verbs.policy()
    assert [version.number for version in verbs("list_versions", "Own", "Custom")] == [1]


def test_versions_added_at_once_get_different_numbers(verbs: Verbs) -> None:
    """And the limit holds."""
    verbs.policy()
    made: list[int | str] = []

    def add() -> None:
        try:
            made.append(verbs("add_version", "Own", DENY, now=verbs.now).number)
        except identity.LimitReached:
            made.append("full")

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, made)) == ["2", "3", "4", "5", "full", "full"]


def test_holders_of_a_policy_are_listed(verbs: Verbs, other: str) -> None:
    """Groups, roles, users, each by name, of the account only."""
    verbs.user("bob")
    verbs.user("ann")
    verbs.group()
    verbs.role()
    for name, kind in (("bob", "User"), ("ann", "User"), ("ops", "Group"), ("Ops", "Role")):
        verbs("attach_policy", name, "AdministratorAccess", "System", to=kind, now=verbs.now)
    found = verbs("holders_of", "AdministratorAccess", "System")
    assert [(holder.kind, holder.name) for holder in found] == [
        ("Group", "ops"), ("Role", "Ops"), ("User", "ann"), ("User", "bob"),
    ]  # fmt: skip
    assert verbs("find_policy", "AdministratorAccess", "System").attached == 4
    assert verbs("holders_of", "AdministratorAccess", "System", account=other) == []
