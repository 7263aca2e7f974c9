"""What persons do to a rollout: pause, resume, cancel, approve, roll back; hold members, and try them again."""

from collections.abc import Callable
from typing import Any

from backfleet import rollouts
from backfleet.operations.backfleet.rollouts.answers import ROLLOUT, rollout_answer
from backfleet.operations.backfleet.rollouts.creating import by, one_rollout
from backfleet.operations.backfleet.rollouts.errors import ERRORS, RolloutRingNotFound, refusals
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.rollouts import RolloutRecord
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.parameters import boolean, json_list, text

Act = Callable[[Transaction, RolloutRecord], RolloutRecord]


@value_object
class OneRollout:
    """A rollout."""

    rollout_id: str = text("RolloutId", required=True, longest=64)


@value_object
class OneRing:
    """A rollout, and the name of one of its rings, which may be left out."""

    rollout_id: str = text("RolloutId", required=True, longest=64)
    ring: str | None = text("Ring", longest=64)


@value_object
class HoldRolloutMember:
    """A member, and whether it is held or released."""

    rollout_id: str = text("RolloutId", required=True, longest=64)
    client_id: str = text("ClientId", required=True, longest=64)
    held: bool = boolean("Held", default=True)


@value_object
class RetryRolloutMembers:
    """A rollout, and members of it; without any, every member that did not succeed."""

    rollout_id: str = text("RolloutId", required=True, longest=64)
    client_ids: tuple[str, ...] | None = json_list("ClientIds", longest_item=64)


def _act(call: Call, rollout_id: str, act: Act) -> dict[str, Any]:
    with refusals(), call.services.database.transaction() as tx:
        record = act(tx, rollouts.find(tx, call.account_id, rollout_id, locks=True))
        return rollout_answer(rollouts.view(tx, [record], call.now)[0])


def _number_of(record: RolloutRecord, name: str | None) -> int | None:
    if name is None:
        return None
    names = record.ring_names
    if name not in names:
        raise RolloutRingNotFound(record.id, name, names)
    return names.index(name)


@operation(
    BACKFLEET,
    "PauseRollout",
    action="backfleet:PauseRollout",
    resources=one_rollout,
    answer=ROLLOUT,
    errors=ERRORS,
)
def pause_rollout(call: Call, asked: OneRollout) -> dict[str, Any]:
    """Stop a rollout until somebody resumes it. Orders that no host has fetched are withdrawn."""
    return _act(call, asked.rollout_id, lambda tx, record: rollouts.pause(tx, record, by(call)))


@operation(
    BACKFLEET,
    "ResumeRollout",
    action="backfleet:ResumeRollout",
    resources=one_rollout,
    answer=ROLLOUT,
    errors=ERRORS,
)
def resume_rollout(call: Call, asked: OneRollout) -> dict[str, Any]:
    """Let a paused or halted rollout go on, or confirm the manual gate that it waits for.

    One that would halt again at once is refused: its failures count until they are tried again (RetryRolloutMembers).
    """
    return _act(call, asked.rollout_id, lambda tx, record: rollouts.resume(tx, record, by(call)))


@operation(
    BACKFLEET,
    "CancelRollout",
    action="backfleet:CancelRollout",
    resources=one_rollout,
    answer=ROLLOUT,
    errors=ERRORS,
)
def cancel_rollout(call: Call, asked: OneRollout) -> dict[str, Any]:
    """End a rollout. Nothing new begins; hosts that have begun finish or roll back by themselves."""
    return _act(call, asked.rollout_id, lambda tx, record: rollouts.cancel(tx, record, by(call)))


@operation(
    BACKFLEET,
    "ApproveRollout",
    action="backfleet:ApproveRollout",
    resources=one_rollout,
    answer={**ROLLOUT, "Ring": str, "Agreed": int, "Wanted": int, "CountedBefore": bool},
    errors=ERRORS,
)
def approve_rollout(call: Call, asked: OneRing) -> dict[str, Any]:
    """Approve a ring, by default the next one that asks. Author and starter cannot, and one person counts once.

    The answer has the Ring, how many persons Agreed so far, how many are Wanted, and whether this one CountedBefore.
    """
    with refusals(), call.services.database.transaction() as tx:
        record = rollouts.find(tx, call.account_id, asked.rollout_id, locks=True)
        done = rollouts.approve(tx, record, by(call), ring=_number_of(record, asked.ring))
        return {
            **rollout_answer(rollouts.view(tx, [done.record], call.now)[0]),
            "Ring": done.ring,
            "Agreed": done.agreed,
            "Wanted": done.wanted,
            "CountedBefore": done.counted_before,
        }


@operation(
    BACKFLEET,
    "RollBackRollout",
    action="backfleet:RollBackRollout",
    resources=one_rollout,
    answer=ROLLOUT,
    errors=ERRORS,
)
def roll_back_rollout(call: Call, asked: OneRing) -> dict[str, Any]:
    """Take every member, or those of one ring, back to the version that it had.

    Refused where no member may have what the rollout brings, as CanGoBack tells.
    """

    def act(tx: Transaction, record: RolloutRecord) -> RolloutRecord:
        return rollouts.roll_back(tx, record, by(call), ring=_number_of(record, asked.ring))

    return _act(call, asked.rollout_id, act)


@operation(
    BACKFLEET,
    "HoldRolloutMember",
    action="backfleet:HoldRolloutMember",
    resources=one_rollout,
    answer=ROLLOUT,
    errors=ERRORS,
)
def hold_rollout_member(call: Call, asked: HoldRolloutMember) -> dict[str, Any]:
    """Take one member out of the way, or let it in again. What it has begun ends by itself."""

    def act(tx: Transaction, record: RolloutRecord) -> RolloutRecord:
        return rollouts.hold(tx, record, by(call), asked.client_id, is_held=asked.held)

    return _act(call, asked.rollout_id, act)


@operation(
    BACKFLEET,
    "RetryRolloutMembers",
    action="backfleet:RetryRolloutMembers",
    resources=one_rollout,
    answer={**ROLLOUT, "Retried": int},
    errors=ERRORS,
)
def retry_rollout_members(call: Call, asked: RetryRolloutMembers) -> dict[str, Any]:
    """Let members that ended without success begin again: these, or all of them.

    Those that have the version, and whose first backup failed, wait for one that begins from now on.
    """
    retried = 0

    def act(tx: Transaction, record: RolloutRecord) -> RolloutRecord:
        nonlocal retried
        record, retried = rollouts.retry(tx, record, by(call), asked.client_ids or ())
        return record

    return {**_act(call, asked.rollout_id, act), "Retried": retried}
