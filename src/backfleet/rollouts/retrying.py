"""Members that begin again: with an order, or, where they have what the rollout brings, with the wait for a backup."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from backfleet import fleet
from backfleet.fleet import Preferences
from backfleet.rollouts.board import BACKUP_FAILED, NO_BACKUP_SEEN
from backfleet.rollouts.model import FirstRun, Member
from backfleet.rollouts.policy import Kind
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.states import MemberState
from backfleet.rollouts.strategy.ends import first_run_hours
from backfleet.storage import Transaction

_AWAITED_IN_VAIN: Final = (BACKUP_FAILED, NO_BACKUP_SEEN)


def having_it(tx: Transaction, record: RolloutRecord, members: Sequence[Member]) -> frozenset[str]:
    """Return those of these members that failed, and still have what the rollout gave them.

    Their backups failed, or they could not be rolled back.

    Their hosts would answer another order with "already there", and then nobody would take them back.
    """
    failed = [each.client_id for each in members if each.state is MemberState.FAILED and _awaits_backup(record, each)]
    if not failed:
        return frozenset()
    if record.kind == Kind.SETTINGS:
        wanted = record.document.settings.items()
        stored = fleet.preferences_of(tx, failed)
        return frozenset(each for each in failed if wanted <= stored.get(each, Preferences()).as_dict().items())
    clients = fleet.resolve(tx, record.account_id, record.region, [], failed).clients
    return frozenset(each.id for each in clients.values() if each.version == record.target_version)


def _awaits_backup(record: RolloutRecord, member: Member) -> bool:
    could_not_go_back = member.rolled_back_once and first_run_hours(record.document, member.ring) > 0
    return member.given_at is not None and (could_not_go_back or member.code in _AWAITED_IN_VAIN)


def again(member: Member, now: datetime, *, has_it: bool) -> Member:
    """Return a final member as it begins again; one that has what it was to get waits for a backup from now on."""
    if has_it:
        return member._replace(
            state=MemberState.VERIFYING,
            since=now,
            reason="tried again: it has what the rollout brings, and waits for a backup from now on",
            code="",
            first_run=FirstRun.NONE,
            begun_at=now,
            rolled_back_once=False,
        )
    return member._replace(
        state=MemberState.PENDING,
        since=now,
        reason="tried again",
        code="",
        end=None,
        begun_at=None,
        not_before=None,
        rolled_back_once=False,  # by its next order, or without one where it may have what the rollout brings
    )
