"""Roles. A role's trust policy says who may assume it; the policies attached to it say what it may do."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from backfleet.identity import _store
from backfleet.identity.errors import NotFound, StillInUse, Unchangeable
from backfleet.identity.ids import digits
from backfleet.identity.model import HolderKind, Role
from backfleet.identity.named import NamedItems
from backfleet.identity.policy import parse_trust
from backfleet.ids import Draw
from backfleet.storage import Transaction

ROLES_PER_ACCOUNT: Final = 1000
LONGEST_SESSION: Final = timedelta(hours=12)
SHORTEST_MAXIMUM: Final = timedelta(hours=1)
SERVICE_ROLES: Final = {
    "ecsbackup.hbr.aliyuncs.com": "AliyunServiceRoleForHbrEcsBackup",
    "crossbackup.hbr.aliyuncs.com": "AliyunServiceRoleForHbrCrossAccountBackup",
}
"""The services that may have a role of their own in an account, and the role's name."""
_ROLES: Final = NamedItems("Role", _store.roles.TABLE)


def create_role(
    tx: Transaction,
    account_id: str,
    name: str,
    trust: str,
    *,
    description: str = "",
    max_session: timedelta = SHORTEST_MAXIMUM,
    tags: Mapping[str, str] | None = None,
    service: str = "",
    now: datetime,
    draw: Draw,
) -> Role:
    """Create a role that may do nothing yet.

    Raises:
        MalformedPolicy: the engine could not carry out the trust policy exactly.
        AlreadyExists: the name is taken, in any letter case.
        LimitReached: the account has ROLES_PER_ACCOUNT.
    """
    parse_trust(trust)
    _ROLES.check_new(tx, account_id, name, ROLES_PER_ACCOUNT)
    role_id = "3" + digits(draw, 17)
    made = Role(role_id, account_id, name, description, trust, max_session, now, now, tags or {}, service)
    _store.roles.TABLE.add(tx, account_id, made)
    return made


def create_service_role(tx: Transaction, account_id: str, service: str, *, now: datetime, draw: Draw) -> Role:
    """Create the role that one of SERVICE_ROLES assumes in this account.

    Raises:
        NotFound: there is no such service.
        AlreadyExists: the role exists.
    """
    name = SERVICE_ROLES.get(service)
    if name is None:
        raise NotFound("ServiceName", service)
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": [service]}}
    trust = json.dumps({"Version": "1", "Statement": [statement]})
    return create_role(tx, account_id, name, trust, service=service, now=now, draw=draw)


def find_role(tx: Transaction, account_id: str, name: str, *, lock: bool = False, any_case: bool = False) -> Role:
    """Return a role.

    Args:
        tx: the transaction to read in.
        account_id: the account.
        name: the role's name. Its letter case matters, as in policies that name a role.
        lock: keep others from changing what belongs to the role until the transaction ends.
        any_case: accept the name in any letter case. Policies must then be evaluated with the name that the role has.

    Raises:
        NotFound: the account has none of that name.
    """
    found = _ROLES.find(tx, account_id, name, lock=lock)
    if found.name != name and not any_case:
        raise NotFound("Role", name)
    return found


def list_roles(
    tx: Transaction, account_id: str, *, after: str, limit: int, tags: Mapping[str, str | None] | None = None
) -> list[Role]:
    """Return the roles whose names come after `after`, by name, at most `limit`.

    `tags` selects those that have all of these tags; a value of None matches any value.
    """
    wanted = tags or {}
    found = _store.roles.TABLE.after(tx, account_id, after, ROLES_PER_ACCOUNT if wanted else limit)
    return [role for role in found if _has(role.tags, wanted)][:limit]


def update_role(
    tx: Transaction,
    account_id: str,
    name: str,
    *,
    trust: str | None = None,
    description: str | None = None,
    max_session: timedelta | None = None,
    now: datetime,
) -> Role:
    """Change a role; None leaves a field as it is. A shorter maximum also shortens sessions that exist.

    Raises:
        NotFound: there is no such role.
        MalformedPolicy: the engine could not carry out the trust policy exactly.
        Unchangeable: the trust policy belongs to a service's own role.
    """
    found = find_role(tx, account_id, name, lock=True)
    if trust is not None:
        parse_trust(trust)
        if found.service:
            raise Unchangeable("Role.ServiceLinked", name)
    changed = replace(
        found,
        trust=found.trust if trust is None else trust,
        description=found.description if description is None else description,
        max_session=found.max_session if max_session is None else max_session,
        updated_at=now,
    )
    row = {"trust": changed.trust, "description": changed.description, "updated_at": now}
    _store.roles.TABLE.change(tx, found.id, **row, max_session=int(changed.max_session.total_seconds()))
    return changed


def delete_role(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a role that has no policies. Its sessions end with it.

    Raises:
        NotFound: there is no such role.
        StillInUse: policies are left.
    """
    found = find_role(tx, account_id, name, lock=True)
    if _store.attachments.of_holder(tx, (HolderKind.ROLE, found.id)):
        raise StillInUse("Role.Policy", name)
    _store.roles.TABLE.drop(tx, found.id)


def _has(tags: Mapping[str, str], wanted: Mapping[str, str | None]) -> bool:
    return all(key in tags and value in (None, tags[key]) for key, value in wanted.items())
