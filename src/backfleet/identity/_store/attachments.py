"""Attachments of policies to users, groups and roles. A holder is a pair (kind, id)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from backfleet.identity._store.account_table import Row
from backfleet.identity._tables import attachments, groups, members, policies, policy_versions, roles, users
from backfleet.identity.model import CUSTOM, HolderKind
from backfleet.storage import Prepared, Transaction

HolderId = tuple[HolderKind, str]

# Built once: every request asks for the policies of its caller.
_DOCUMENTS: Final = (
    sa.select(attachments, policies.c.description, policies.c.default_version, policy_versions.c.document)
    .select_from(
        attachments.outerjoin(
            policies,
            sa.and_(
                attachments.c.policy_type == CUSTOM,
                policies.c.account_id == attachments.c.account_id,
                policies.c.name == attachments.c.policy_name,
            ),
        ).outerjoin(
            policy_versions,
            sa.and_(
                policy_versions.c.account_id == policies.c.account_id,
                policy_versions.c.policy_name == policies.c.name,
                policy_versions.c.number == policies.c.default_version,
            ),
        )
    )
    .order_by(attachments.c.policy_type, attachments.c.policy_name)
)
_HELD: Final = sa.and_(
    attachments.c.holder_kind == sa.bindparam("of_kind"), attachments.c.holder_id == sa.bindparam("of_holder")
)
_OF_HOLDER: Final = Prepared(_DOCUMENTS.where(_HELD))
_OF_USER_AND_GROUPS: Final = Prepared(
    _DOCUMENTS.where(
        sa.or_(
            _HELD,
            sa.and_(
                attachments.c.holder_kind == HolderKind.GROUP.value,
                attachments.c.holder_id.in_(
                    sa.select(members.c.group_id).where(members.c.user_id == sa.bindparam("of_holder"))
                ),
            ),
        )
    )
)


def attach(tx: Transaction, account_id: str, holder: HolderId, policy_type: str, name: str, now: datetime) -> None:
    """Attach a policy to a holder. A second time is a Conflict."""
    kind, holder_id = holder
    row = {"account_id": account_id, "holder_kind": kind.value, "holder_id": holder_id, "policy_type": policy_type}
    tx.add(attachments, [{**row, "policy_name": name, "attached_at": now}])


def detach(tx: Transaction, holder: HolderId, policy_type: str, name: str) -> bool:
    """Detach a policy from a holder. Return False if it was not attached."""
    kind, holder_id = holder
    attached = sa.and_(
        attachments.c.holder_kind == kind.value,
        attachments.c.holder_id == holder_id,
        attachments.c.policy_type == policy_type,
        attachments.c.policy_name == name,
    )
    return tx.run(sa.delete(attachments).where(attached)) > 0


def of_holder(tx: Transaction, holder: HolderId) -> Sequence[Row]:
    """Return a holder's attachments; those of custom policies with `description`, `document` and `default_version`."""
    return tx.rows(_OF_HOLDER, {"of_kind": holder[0].value, "of_holder": holder[1]})


def of_user_and_groups(tx: Transaction, user_id: str) -> Sequence[Row]:
    """Return a user's attachments and those of all groups of the user, with the same columns as `of_holder`."""
    return tx.rows(_OF_USER_AND_GROUPS, {"of_kind": HolderKind.USER.value, "of_holder": user_id})


def holders_of(tx: Transaction, account_id: str, policy_type: str, name: str) -> dict[HolderId, datetime]:
    """Return the holders in the account that a policy is attached to, and since when."""
    query = sa.select(attachments).where(
        attachments.c.account_id == account_id,
        attachments.c.policy_type == policy_type,
        attachments.c.policy_name == name,
    )
    rows = tx.rows(query.order_by(attachments.c.holder_kind, attachments.c.holder_id))
    return {(HolderKind(row.holder_kind), row.holder_id): row.attached_at for row in rows}


def described(tx: Transaction, kind: HolderKind, ids: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return the id, the name and the note of users, groups or roles, by name."""
    table = {HolderKind.USER: users, HolderKind.GROUP: groups, HolderKind.ROLE: roles}[kind]
    note = {HolderKind.USER: "display_name", HolderKind.GROUP: "comments", HolderKind.ROLE: "description"}[kind]
    if not ids:
        return []
    rows = tx.rows(sa.select(table).where(table.c.id.in_(ids)).order_by(table.c.name))
    return [(row.id, row.name, getattr(row, note)) for row in rows]


def counts(tx: Transaction, account_id: str, policies_: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return how many holders in the account each of these policies (type, name) has; those without are left out."""
    kind, name = attachments.c.policy_type, attachments.c.policy_name
    query = sa.select(kind, name, sa.func.count().label("holders")).where(
        attachments.c.account_id == account_id, name.in_({asked for _, asked in policies_})
    )
    return {(row.policy_type, row.policy_name): row.holders for row in tx.rows(query.group_by(kind, name))}
