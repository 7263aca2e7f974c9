"""Roles: whom they trust is their own policy; what they may do is attached to them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from backfleet.identity import _store
from backfleet.identity.errors import AlreadyExists, LimitReached, NotFound, StillInUse, Unchangeable
from backfleet.identity.policy import parse_trust
from backfleet.identity.users import digits
from backfleet.ids import Draw
from backfleet.storage import Transaction

ROLES_PER_ACCOUNT: Final = 1000
LONGEST_SESSION: Final = timedelta(hours=12)
SHORTEST_MAXIMUM: Final = timedelta(hours=1)
SERVICE_ROLES: Final = {
    "ecsbackup.hbr.aliyuncs.com": "AliyunServiceRoleForHbrEcsBackup",
    "crossbackup.hbr.aliyuncs.com": "AliyunServiceRoleForHbrCrossAccountBackup",
}
"""Services that may have a role of their own in an account, and its name."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role of an account."""

    id: str
    account_id: str
    name: str
    description: str
    trust: str  # the document
    max_session: timedelta
    created_at: datetime
    updated_at: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    service: str = ""  # for a service's own role: the service

    @property
    def arn(self) -> str:
        """How policies name it."""
        return f"acs:ram::{self.account_id}:role/{self.name}"


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
    """A new role that may do nothing yet.

    Raises:
        MalformedPolicy: the engine could not carry the trust policy out to the letter.
        AlreadyExists: the name is taken, in whatever letter case.
        LimitReached: the account has ROLES_PER_ACCOUNT.
    """
    parse_trust(trust)
    _store.lock_account(tx, account_id)
    if _store.role(tx, account_id, name.lower()) is not None:
        raise AlreadyExists("Role", name)
    if _store.count_roles(tx, account_id) >= ROLES_PER_ACCOUNT:
        raise LimitReached("Role", ROLES_PER_ACCOUNT)
    role_id = "3" + digits(draw, 17)
    made = Role(role_id, account_id, name, description, trust, max_session, now, now, tags or {}, service)
    seconds = int(max_session.total_seconds())
    row = {"id": role_id, "account_id": account_id, "name": name, "folded_name": name.lower(), "trust": trust}
    rest = {"description": description, "max_session": seconds, "tags": json.dumps(tags or {}), "service": service}
    _store.add_role(tx, **row, **rest, created_at=now, updated_at=now)
    return made


def create_service_role(tx: Transaction, account_id: str, service: str, *, now: datetime, draw: Draw) -> Role:
    """The role that one of SERVICE_ROLES acts by in this account.

    Raises:
        NotFound: no such service has one.
        AlreadyExists: it is there.
    """
    name = SERVICE_ROLES.get(service)
    if name is None:
        raise NotFound("ServiceName", service)
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": [service]}}
    trust = json.dumps({"Version": "1", "Statement": [statement]})
    return create_role(tx, account_id, name, trust, service=service, now=now, draw=draw)


def find_role(tx: Transaction, account_id: str, name: str, *, lock: bool = False, any_case: bool = False) -> Role:
    """A role by name; `lock` keeps others from changing what belongs to it until the transaction ends.

    Letter case counts, as it does in the policies that name a role, unless `any_case` is said: whoever says so judges
    by the name the role has, not by the one it was asked for.

    Raises:
        NotFound: the account has none of that name.
    """
    row = _store.role(tx, account_id, name.lower(), lock=lock)
    if row is None or (row.name != name and not any_case):
        raise NotFound("Role", name)
    return role_from(row)


def list_roles(
    tx: Transaction, account_id: str, *, after: str, limit: int, tags: Mapping[str, str | None] | None = None
) -> list[Role]:
    """Roles by name, from the first behind `after` on; only those with these tags (None: whatever the value)."""
    wanted = tags or {}
    found = map(role_from, _store.roles_after(tx, account_id, after, ROLES_PER_ACCOUNT if wanted else limit))
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
    """Change a role; None leaves a thing as it is. A shorter maximum shortens the sessions that are running too.

    Raises:
        NotFound: no such role.
        MalformedPolicy: the engine could not carry the trust policy out to the letter.
        Unchangeable: the trust of a service's own role is the service's.
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
    _store.change_role(tx, found.id, **row, max_session=int(changed.max_session.total_seconds()))
    return changed


def delete_role(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a role that has no policies left. Its sessions end with it.

    Raises:
        NotFound: no such role.
        StillInUse: policies are left.
    """
    found = find_role(tx, account_id, name, lock=True)
    if _store.attached_to(tx, ("Role", found.id)):
        raise StillInUse("Role.Policy", name)
    _store.drop_role(tx, found.id)


def role_from(row: sa.Row[Any]) -> Role:
    """A row of the table as a role."""
    longest = timedelta(seconds=row.max_session)
    facts = (row.id, row.account_id, row.name, row.description, row.trust, longest, row.created_at, row.updated_at)
    return Role(*facts, json.loads(row.tags), row.service)


def _has(tags: Mapping[str, str], wanted: Mapping[str, str | None]) -> bool:
    return all(key in tags and value in (None, tags[key]) for key, value in wanted.items())
