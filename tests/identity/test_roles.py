"""Roles."""

from datetime import timedelta
from typing import Any

import pytest

from backfleet import identity
from backfleet.identity.policy import MalformedPolicy
from identity.conftest import ALLOW, TRUST, Verbs


def test_a_role_is_found_by_name(verbs: Verbs, other: str) -> None:
    """In exactly this letter case, unless any case is accepted; names that differ in case only are the same."""
    made = verbs.role(tags={"team": "night"}, description="ours", max_session=timedelta(hours=2))
    assert verbs("find_role", "Ops") == made
    assert made.arn == f"acs:ram::{verbs.account}:role/Ops"
    assert verbs.refused(identity.NotFound, "find_role", "ops") == "Role"
    assert verbs("find_role", "oPS", any_case=True) == made
    assert verbs.refused(identity.AlreadyExists, "create_role", "OPS", TRUST, now=verbs.now, draw=verbs.draw) == "Role"
    assert verbs.refused(identity.NotFound, "find_role", "Ops", account=other) == "Role"
    assert verbs("create_role", "Ops", TRUST, account=other, now=verbs.now, draw=verbs.draw).account_id == other


def test_roles_are_listed_by_name_and_tag(verbs: Verbs) -> None:
    """Page by page, with every tag that is asked for."""
    for name, tags in (("c", {"team": "a", "x": "y"}), ("a", {"team": "a"}), ("b", {"team": "b"}), ("d", {})):
        verbs.role(name, tags=tags)

    def names(**how: Any) -> list[str]:
        return [role.name for role in verbs("list_roles", **{"after": "", "limit": 10, **how})]

    assert names() == ["a", "b", "c", "d"]
    assert names(after="a", limit=2) == ["b", "c"]
    assert names(tags={"team": "a"}) == ["a", "c"]
    assert names(tags={"team": "a"}, limit=1) == ["a"]
    assert names(tags={"team": None}) == ["a", "b", "c"]
    assert names(tags={"team": "a", "x": "y"}) == ["c"]


def test_a_role_is_changed_field_by_field(verbs: Verbs) -> None:
    """A malformed trust policy changes nothing."""
    made, later = verbs.role(), verbs.now + timedelta(hours=1)
    changed = verbs("update_role", "Ops", description="new", now=later)
    assert (changed.description, changed.trust, changed.max_session) == ("new", made.trust, made.max_session)
    with pytest.raises(MalformedPolicy):
        verbs("update_role", "Ops", trust=ALLOW, now=later)
    assert verbs("find_role", "Ops") == changed


def test_a_service_role_cannot_change_its_trust(verbs: Verbs) -> None:
    """It is created once, and only for services that have one."""
    (service, name) = next(iter(identity.SERVICE_ROLES.items()))
    made = verbs("create_service_role", service, now=verbs.now, draw=verbs.draw)
    assert (made.name, made.service) == (name, service)
    once = {"now": verbs.now, "draw": verbs.draw}
    assert verbs.refused(identity.AlreadyExists, "create_service_role", service, **once) == "Role"
    assert verbs.refused(identity.NotFound, "create_service_role", "x.aliyuncs.com", **once) == "ServiceName"
    assert verbs.refused(identity.Unchangeable, "update_role", name, trust=TRUST, now=verbs.now) == "Role.ServiceLinked"
    verbs("delete_role", name)
