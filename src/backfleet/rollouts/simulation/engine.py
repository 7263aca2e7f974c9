"""Run a rollout in virtual time, by the strategy that the worker runs. Pure: the same input, the same history."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from backfleet.rollouts.applying import moved_member, moved_rollout
from backfleet.rollouts.board import Board
from backfleet.rollouts.model import Action, Decision, FirstRun, Member, Move, OrderEnd, Rollout, Signals
from backfleet.rollouts.simulation.to_come import ToCome
from backfleet.rollouts.states import ENDED, MemberState
from backfleet.rollouts.strategy import Timetable, decide
from backfleet.values import value_object

_SAVING: Final = timedelta(seconds=5)  # that a host takes to save settings
_ENDS: Final = {end: {"end": end} for end in OrderEnd}
_FIRST_RUNS: Final = {found: {"first_run": found} for found in FirstRun}
_SUCCEEDED: Final = _ENDS[OrderEnd.SUCCEEDED]


@value_object
class Host:
    """How one made-up host behaves.

    Attributes:
        upgrade: how long its order takes.
        end: how its order ends.
        first_run: what its first backup under the new version does, None if none ever comes.
        first_run_after: how long after the upgrade that backup ends.
        absent: spans in which it cannot be reached: (from, to).
        busy: spans in which a backup runs; an order that arrives then waits, until `drain` is over.
    """

    upgrade: timedelta = timedelta(seconds=60)
    end: OrderEnd = OrderEnd.SUCCEEDED
    first_run: FirstRun | None = FirstRun.SUCCEEDED
    first_run_after: timedelta = timedelta(hours=12)
    absent: tuple[tuple[datetime, datetime], ...] = ()
    busy: tuple[tuple[datetime, datetime], ...] = ()
    drain: timedelta = timedelta(0)

    def busy_until(self, now: datetime) -> datetime | None:
        """Return when the backup that runs now ends; None if none runs."""
        return next((end for begin, end in self.busy if begin <= now < end), None)


@value_object
class Limits:
    """How long a simulation may go on.

    `tick`: decisions are at least so far apart, as the worker's rounds are.
    """

    tick: timedelta = timedelta(seconds=15)
    decisions: int = 1_000_000


USUAL_LIMITS: Final = Limits()


@value_object
class Event:
    """One thing that happened."""

    at: datetime
    what: str  # "member", "ring", "rollout"
    name: str
    to: str
    why: str


@dataclass(slots=True)
class History:
    """Everything that happened, and how it ended. `waits`: what the rollout waited for, from when on."""

    rollout: Rollout
    board: Board
    events: list[Event] = field(default_factory=list)
    waits: list[tuple[datetime, str]] = field(default_factory=list)
    decisions: int = 0
    ended_at: datetime | None = None

    @property
    def most_orders_a_minute(self) -> int:
        """How many orders left within the busiest minute: the load on the server."""
        return self.board.most_begun_within(timedelta(minutes=1))


SignalsAt = Callable[[Rollout, Board, datetime], Signals]


def no_signals(rollout: Rollout, board: Board, now: datetime) -> Signals:
    """Return signals that ask for nothing and forbid nothing."""
    return Signals()


class Splits(Protocol):
    """Members of the board that each stand for several, and how they are taken apart."""

    def split(self, member: Member, move: Move) -> Iterable[Member]:
        """Return those of them that move, by host."""


class _Run:
    def __init__(
        self,
        rollout: Rollout,
        board: Board,
        hosts: Mapping[str, Host],
        now: datetime,
        *,
        keeps_members: bool,
        groups: Splits | None,
    ) -> None:
        self.history, self.groups = History(rollout, board), groups
        self.hosts, self.now, self.keeps_members = hosts, now, keeps_members
        self.to_come = ToCome(now)
        for client_id, host in hosts.items():
            for begin, end in host.absent:
                self.to_come.add(begin, client_id, {"is_reachable": False})
                self.to_come.add(end, client_id, {"is_reachable": True})

    def change_facts(self) -> None:
        """Change what has changed by now."""
        board = self.history.board
        for client_id, facts in self.to_come.take(self.now):
            board.put(board[client_id].changed(facts))

    def apply(self, decision: Decision) -> None:
        """Make the moves of a decision, and queue what comes of them."""
        history, now = self.history, self.now
        for move in decision.moves:
            for part in self._parts(move):
                member = moved_member(part, move, now)
                history.board.put(member)
                if self.keeps_members:
                    history.events.append(Event(now, "member", member.client_id, move.to.value, move.why))
                if move.action is not None:
                    self._carry_out(member, move, self.hosts[member.client_id])
        for ring_move in decision.ring_moves:
            name = history.rollout.policy.rings[ring_move.ring].name
            history.events.append(Event(now, "ring", name, ring_move.to.value, ring_move.why))
        if decision.state is not None:
            history.events.append(Event(now, "rollout", history.rollout.id, decision.state.value, decision.reason))
        history.rollout = moved_rollout(history.rollout, decision, now)
        if self.keeps_members and (not history.waits or history.waits[-1][1] != decision.waits_for):
            history.waits.append((now, decision.waits_for))

    def _parts(self, move: Move) -> Sequence[Member]:
        """Return the members that a move is of; what stays of several that are alike stays on the board."""
        board = self.history.board
        whole = board[move.client_id]
        if self.groups is None:
            return (whole,)
        parts = list(self.groups.split(whole, move))
        left = whole.size - sum(part.size for part in parts)
        if left:
            board.put(whole.changed({"size": left}))
        elif parts[0].client_id != whole.client_id:
            board.drop(whole.client_id)
        return parts

    def _carry_out(self, member: Member, move: Move, host: Host) -> None:
        if move.action is Action.ROLL_BACK:
            self.to_come.add(self.now + host.upgrade, member.client_id, _SUCCEEDED)
        elif move.action is Action.SETTINGS:
            self._take_settings(member, host)
        elif move.to is MemberState.UPGRADING:
            self._upgrade(member, host)

    def _take_settings(self, member: Member, host: Host) -> None:
        """Save settings: no backup is waited for, and no host rolls back by itself: its first backup fails instead."""
        done = self.now + _SAVING
        is_bad = host.end is OrderEnd.ROLLED_BACK
        end, first_run = (OrderEnd.SUCCEEDED, FirstRun.FAILED) if is_bad else (host.end, host.first_run)
        self.to_come.add(done, member.client_id, _ENDS[end])
        if end is OrderEnd.SUCCEEDED and first_run is not None:
            self.to_come.add(done + host.first_run_after, member.client_id, _FIRST_RUNS[first_run])

    def _upgrade(self, member: Member, host: Host) -> None:
        free_at = host.busy_until(self.now)
        if free_at is not None and free_at - self.now > host.drain:
            busy = {"end": OrderEnd.BUSY, "end_text": "a backup runs"}
            self.to_come.add(self.now + host.drain, member.client_id, busy)
            return
        done = (free_at or self.now) + host.upgrade
        self.to_come.add(done, member.client_id, _ENDS[host.end])
        if host.end is OrderEnd.SUCCEEDED and host.first_run is not None:
            self.to_come.add(done + host.first_run_after, member.client_id, _FIRST_RUNS[host.first_run])


def run(
    rollout: Rollout,
    board: Board,
    hosts: Mapping[str, Host],
    timetable: Timetable,
    *,
    now: datetime,
    limits: Limits = USUAL_LIMITS,
    signals: SignalsAt = no_signals,
    keeps_members: bool = True,
    groups: Splits | None = None,
) -> History:
    """Run a rollout until it ends, or nothing more can happen.

    Args:
        rollout: the rollout, running or scheduled.
        board: its members; changed while the simulation runs.
        hosts: how the host of each client behaves.
        timetable: windows and freezes.
        now: when it begins.
        limits: how far apart decisions are, and how many at most.
        signals: what the world says, asked before each decision.
        keeps_members: whether moves of members and what was waited for are kept; there may be millions.
        groups: where members of the board stand for several: how those are taken apart when they begin.
    """
    simulated = _Run(rollout, board, hosts, now, keeps_members=keeps_members, groups=groups)
    history = simulated.history
    while history.decisions < limits.decisions:
        simulated.change_facts()
        found = decide(history.rollout, board, signals(history.rollout, board, simulated.now), timetable, simulated.now)
        simulated.apply(found)
        history.decisions += 1
        if history.rollout.state in ENDED and history.ended_at is None:
            history.ended_at = simulated.now
        following = [at for at in (simulated.to_come.next_at, found.decide_again_at) if at is not None]
        if not following:
            break
        if not _leads_to_more(found, simulated.now):
            simulated.now = max(min(following), simulated.now + limits.tick)
    return history


def _leads_to_more(decision: Decision, now: datetime) -> bool:
    """Return whether the worker decides again at once, because what changed leads to more."""
    changes = decision.moves or decision.ring_moves or decision.state is not None
    return bool(changes) and decision.decide_again_at is not None and decision.decide_again_at <= now
