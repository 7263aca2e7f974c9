"""Members that begin again: with an order, or, where they have what the rollout brings, with the wait for a backup."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from backfleet import fleet
from backfleet.fleet import Preferences
from backfleet.rollouts.board import BACKUP_FAILED, NO_BACKUP_SEEN
from backfleet.rollouts.model import TRIED_AGAIN, Ended, FirstRun, Member
from backfleet.rollouts.policy import Kind
from backfleet.rollouts.records import MemberRecord, RolloutRecord
from backfleet.rollouts.states import FINAL, MemberState
from backfleet.rollouts.strategy.ends import first_run_hours
from backfleet.storage import Transaction

LONGEST_REASON: Final = 500  # characters
_STAY: Final = (MemberState.FAILED, MemberState.ROLLED_BACK, MemberState.SKIPPED)
"""Who is tried again from these, and then is not, ends as before. What became of the others nobody knows."""
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


def to_go_back_again(found: Sequence[MemberRecord], ring: int | None) -> list[MemberRecord]:
    """Return the members that did not go back when they were to, as those that can: somebody asks for it again."""
    meant = [each for each in found if each.member.state in FINAL and ring in (None, each.member.ring)]
    return [
        replace(each, member=each.member._replace(rolled_back_once=False))
        for each in meant
        if each.member.rolled_back_once and each.member.given_at is not None
    ]


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
    ended = f"{member.state.value.replace('_', ' ')}: {member.reason}"
    stays = Ended(member.state, member.code, member.reason[:LONGEST_REASON]) if member.state in _STAY else None
    return member._replace(
        state=MemberState.PENDING,
        since=now,
        reason=f"{TRIED_AGAIN}; before: {ended}"[:LONGEST_REASON],
        code="",
        end=None,
        begun_at=None,
        not_before=None,
        ended=stays,
        rolled_back_once=False,  # by its next order, or without one where it may have what the rollout brings
    )
