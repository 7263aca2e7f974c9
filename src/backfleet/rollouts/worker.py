"""The loop that moves rollouts on: read the world, ask the strategy, write what differs, send the orders.

Any number of replicas may run it: a rollout is decided under its row's lock, one transaction a decision, and the next
one begins with what that wrote.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from backfleet import upgrades
from backfleet.failpoints import failpoint
from backfleet.ids import Draw
from backfleet.rollouts import _store, traces
from backfleet.rollouts.applying import moved_member, moved_rollout
from backfleet.rollouts.events import Event, chained, events_of, left
from backfleet.rollouts.judging import Judge, ReadJudge, judge_of_starter
from backfleet.rollouts.loading import Boards, Loaded, refresh
from backfleet.rollouts.model import Action, Decision
from backfleet.rollouts.newcomers import take_in
from backfleet.rollouts.overlapping import refresh_overlaps
from backfleet.rollouts.pinning import refresh_pins
from backfleet.rollouts.policy import Kind
from backfleet.rollouts.records import RolloutRecord, counted
from backfleet.rollouts.sealing import Witness, sign_head
from backfleet.rollouts.sending import Sent, send_orders
from backfleet.rollouts.signals import read_signals
from backfleet.rollouts.states import ENDED, MemberState, RolloutState
from backfleet.rollouts.stopping import keep_still, withdraw_orders
from backfleet.rollouts.strategy import Timetable, decide
from backfleet.rollouts.timetables import timetable_of
from backfleet.rollouts.waiting import text_of, waits_of, write_waits
from backfleet.settings import Settings
from backfleet.storage import Conflict, Database, Transaction, Unavailable
from backfleet.values import value_object

AT_ONCE: Final = 10  # rollouts decided in one round
EVERY: Final = timedelta(seconds=15)  # hosts go and come, and reports arrive: the world is read again
SLOWLY: Final = timedelta(minutes=5)  # while nothing of a rollout moves
_STOPS: Final = frozenset(
    {RolloutState.HALTED, RolloutState.PAUSED, RolloutState.CANCELLED, RolloutState.ROLLING_BACK, RolloutState.EXPIRED}
)

log = logging.getLogger(__name__)


@value_object
class Context:
    """What every decision of one round is made with."""

    now: datetime
    draw: Draw
    settings: Settings
    read_judge: ReadJudge
    witness: Witness


class Worker:
    """Decides rollouts. It keeps their members in memory between rounds."""

    def __init__(
        self, database: Database, settings: Settings, draw: Draw, read_judge: ReadJudge, witness: Witness
    ) -> None:
        self._database, self._settings, self._draw = database, settings, draw
        self._read_judge, self._witness = read_judge, witness
        self._boards = Boards()

    def run_once(self, now: datetime) -> bool:
        """Run one round; True if there may be more to do at once."""
        context = Context(now, self._draw, self._settings, self._read_judge, self._witness)
        with self._database.reading() as tx:
            due = _store.due(tx, now, AT_ONCE, longest=SLOWLY)
            active = _store.active(tx)  # a notification may mean that an order of theirs ended, or a backup failed
        again = False
        for rollout_id in dict.fromkeys([*due, *active]):
            try:
                again |= self._decide(rollout_id, context)
            except Conflict:
                log.info("another task was first with a member; deciding again", extra={"rollout_id": rollout_id})
            except Unavailable:
                raise
            except Exception:
                # Whatever it is, the rollouts of others must not wait for it.
                log.exception("a rollout could not be decided; it is tried again", extra={"rollout_id": rollout_id})
                self._postpone(rollout_id, now)
        return again or len(due) == AT_ONCE

    def _postpone(self, rollout_id: str, now: datetime) -> None:
        with self._database.transaction() as tx:
            _store.wake(tx, [rollout_id], now + SLOWLY)

    def _decide(self, rollout_id: str, context: Context) -> bool:
        """Decide a rollout; return whether what changed leads to more at once: nobody would wake this loop for it."""
        with self._database.transaction() as tx:
            record = _store.lock(tx, rollout_id, waits=False)
            if record is None or record.decide_at is None:
                return False
            if record.unreadable:
                keep_still(tx, record, now=context.now, again_at=context.now + SLOWLY)
                return False
            loaded = self._boards.load(tx, record)
            before = loaded.revision
            loaded.revision, again_at = decide_once(tx, record, loaded, context)
        failpoint("rollout decided")
        self._boards.keep(rollout_id, loaded)
        return loaded.revision != before and again_at is not None and again_at <= context.now


def decide_once(
    tx: Transaction, record: RolloutRecord, loaded: Loaded, context: Context
) -> tuple[int, datetime | None]:
    """Decide one rollout and store what changes; return its new revision, and when to decide again.

    The board is changed, too.

    Raises:
        Conflict: another task was first with one of the clients. Nothing is stored.
    """
    now = context.now
    record = counted(record, now)
    within = timedelta(seconds=context.settings.fit_seconds)
    gone = refresh(tx, record, loaded, now=now, reachable_within=within)
    _store.drop_members(tx, record.id, gone)
    came = take_in(tx, record, loaded, now=now, draw=context.draw, reachable_within=within)
    refresh_pins(tx, record, loaded, now=now)
    refresh_overlaps(tx, record, loaded, now=now)
    rollout, timetable = record.rollout(), timetable_of(tx, record)
    judge = judge_of_starter(tx, record, context.read_judge, now)
    signals = read_signals(tx, record, loaded, judge, now)
    decision = decide(rollout, loaded.board, signals, timetable, now)
    _apply_moves(tx, record, loaded, decision, judge, context)
    moved = _with_waits(record.with_rollout(moved_rollout(rollout, decision, now)), loaded, decision, timetable, now)
    if decision.state in _STOPS:
        withdraw_orders(tx, record.id, now)
    events = chained([*came, *left(gone), *events_of(rollout, decision)], after=record.events, head=record.head, at=now)
    is_quiet = not events and not gone and (moved.waits_for, moved.waits) == (record.waits_for, record.waits)
    if is_quiet and record.decide_at is not None and now < record.decide_at <= now + SLOWLY:
        return record.revision, record.decide_at
    _store.add_events(tx, record.id, events)
    revision = record.revision + (1 if events or gone else 0)  # what it waits for changes no member
    moved = replace(
        moved,
        updated_at=now if events else record.updated_at,
        ended_at=(record.ended_at or now) if moved.state in ENDED else None,  # none while one that ended goes back
        decide_at=_decide_again_at(moved.state, loaded, decision, now),
        decided_at=now,
        revision=revision,
        events=record.events + len(events),
        head=events[-1].hash if events else record.head,
    )
    _store.update(tx, moved)
    traces.record_end(tx, record.state, moved)
    sign_head(tx, moved, events, context.witness, now=now)
    _log(record, events)
    return revision, moved.decide_at


def _log(record: RolloutRecord, events: Sequence[Event]) -> None:
    for event in events:
        if event.what != "member":
            log.info("a rollout moved", extra={"rollout_id": record.id, "to": event.change, "why": event.why})


def _with_waits(
    moved: RolloutRecord, loaded: Loaded, decision: Decision, timetable: Timetable, now: datetime
) -> RolloutRecord:
    """Return a rollout with what it waits for: where nothing else is to be said, for the members that cannot begin."""
    waits = waits_of(loaded.board, moved.ring_runs, timetable, now) if moved.state is RolloutState.RUNNING else {}
    moves = loaded.board.count_all(MemberState.UPGRADING, MemberState.ROLLING_BACK, MemberState.VERIFYING)
    waits_for = decision.waits_for or ("" if moves else text_of(waits))
    return replace(moved, waits_for=waits_for, waits=write_waits(waits))


def _apply_moves(
    tx: Transaction, record: RolloutRecord, loaded: Loaded, decision: Decision, judge: Judge, context: Context
) -> None:
    by_action: dict[Action, list[str]] = {}
    withdrawn = []
    for move in decision.moves:
        loaded.board.put(moved_member(loaded.board[move.client_id], move, context.now))
        if move.action is Action.WITHDRAW:
            withdrawn.append(loaded.sent[move.client_id].item_id)
        elif move.action is not None:
            by_action.setdefault(move.action, []).append(move.client_id)
    upgrades.withdraw(tx, withdrawn, now=context.now)
    for action, client_ids in by_action.items():
        goals = {client_id: _goal(record, loaded, client_id) for client_id in client_ids}
        sent: dict[str, Sent] = send_orders(
            tx, record, action, goals, judge, now=context.now, draw=context.draw, settings=context.settings
        )
        loaded.sent.update(sent)
        if action is Action.MOVE:
            _note_origins(record, loaded, sent)
    due = loaded.board.due()
    waiting = [member.client_id for member in due if member.state is MemberState.VERIFYING]  # its failed backup counts
    changed = dict.fromkeys([*(move.client_id for move in decision.moves), *waiting])
    _store.change_members(tx, record.id, [loaded.record_of(client_id) for client_id in changed])


def _note_origins(record: RolloutRecord, loaded: Loaded, sent: Mapping[str, Sent]) -> None:
    """Note the version that a member has as its first order leaves: that is where it goes back to.

    Others may have moved it since the rollout was created. One that may have the target already, or is said to have it,
    keeps what it had.
    """
    for client_id, each in sent.items():
        member = loaded.board[client_id]
        is_new = each.from_version not in ("", member.from_version, record.target_version)
        if member.given_at is None and is_new:
            loaded.board.put(member._replace(from_version=each.from_version))


def _goal(record: RolloutRecord, loaded: Loaded, client_id: str) -> str:
    member = loaded.board[client_id]
    goes_back = member.state is MemberState.ROLLING_BACK and record.kind != Kind.SETTINGS
    return member.from_version if goes_back else record.target_version


def _decide_again_at(state: RolloutState, loaded: Loaded, decision: Decision, now: datetime) -> datetime | None:
    awaited = loaded.board.count_all(MemberState.UPGRADING, MemberState.ROLLING_BACK, MemberState.VERIFYING)
    unknown = loaded.board.count_all(MemberState.LOST)
    if state in ENDED and not awaited and not unknown:
        return None
    is_busy = awaited or state in (RolloutState.RUNNING, RolloutState.ROLLING_BACK)
    later = now + (EVERY if is_busy else SLOWLY)
    return later if decision.decide_again_at is None else min(later, max(decision.decide_again_at, now))
