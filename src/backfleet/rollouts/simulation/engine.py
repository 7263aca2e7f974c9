"""Run a rollout in virtual time, by the strategy that the worker runs. Pure: the same input, the same history."""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from backfleet.rollouts.applying import moved_member, moved_rollout
from backfleet.rollouts.board import Board
from backfleet.rollouts.model import Action, Decision, FirstRun, Member, Move, OrderEnd, Rollout, Signals
from backfleet.rollouts.states import ENDED, MemberState
from backfleet.rollouts.strategy import Timetable, decide

_NOTHING: Final = timedelta(0)
_SAVING: Final = timedelta(seconds=5)  # that a host takes to save settings


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a simulation may go on.

    `tick`: decisions are at least so far apart, as the worker's rounds are.
    """

    tick: timedelta = timedelta(seconds=15)
    decisions: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    at: datetime
    what: str  # "member", "ring", "rollout"
    name: str
    to: str
    why: str


@dataclass(slots=True)
class History:
    """Everything that happened, and how it ended."""

    rollout: Rollout
    board: Board
    events: list[Event] = field(default_factory=list)
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


class _Run:
    def __init__(
        self, rollout: Rollout, board: Board, hosts: Mapping[str, Host], now: datetime, *, keeps_members: bool
    ) -> None:
        self.history = History(rollout, board)
        self.hosts, self.now, self.keeps_members = hosts, now, keeps_members
        self._queue: list[tuple[datetime, int, str, dict[str, Any]]] = []
        self._count = 0
        for client_id, host in hosts.items():
            for begin, end in host.absent:
                self.at(begin, client_id, is_reachable=False)
                self.at(end, client_id, is_reachable=True)

    def at(self, moment: datetime, client_id: str, **facts: Any) -> None:
        """Change facts of a member then."""
        self._count += 1
        heapq.heappush(self._queue, (moment, self._count, client_id, facts))

    @property
    def next_at(self) -> datetime | None:
        """When the next fact changes."""
        return self._queue[0][0] if self._queue else None

    def change_facts(self) -> None:
        """Change what has changed by now."""
        while self._queue and self._queue[0][0] <= self.now:
            _, _, client_id, facts = heapq.heappop(self._queue)
            self.history.board.put(self.history.board[client_id]._replace(**facts))

    def apply(self, decision: Decision) -> None:
        """Make the moves of a decision, and queue what comes of them."""
        history, now = self.history, self.now
        for move in decision.moves:
            member = moved_member(history.board[move.client_id], move, now)
            history.board.put(member)
            if self.keeps_members:
                history.events.append(Event(now, "member", move.client_id, move.to.value, move.why))
            if move.action is not None:
                self._carry_out(member, move, self.hosts[move.client_id])
        for ring_move in decision.ring_moves:
            name = history.rollout.policy.rings[ring_move.ring].name
            history.events.append(Event(now, "ring", name, ring_move.to.value, ring_move.why))
        if decision.state is not None:
            history.events.append(Event(now, "rollout", history.rollout.id, decision.state.value, decision.reason))
        history.rollout = moved_rollout(history.rollout, decision, now)

    def _carry_out(self, member: Member, move: Move, host: Host) -> None:
        if move.action is Action.ROLL_BACK:
            self.at(self.now + host.upgrade, member.client_id, end=OrderEnd.SUCCEEDED)
        elif move.action is Action.SETTINGS:
            self._take_settings(member, host)
        elif move.to is MemberState.UPGRADING:
            self._upgrade(member, host)

    def _take_settings(self, member: Member, host: Host) -> None:
        """Save settings: no backup is waited for, and no host rolls back by itself: its first backup fails instead."""
        done = self.now + _SAVING
        is_bad = host.end is OrderEnd.ROLLED_BACK
        end, first_run = (OrderEnd.SUCCEEDED, FirstRun.FAILED) if is_bad else (host.end, host.first_run)
        self.at(done, member.client_id, end=end)
        if end is OrderEnd.SUCCEEDED and first_run is not None:
            self.at(done + host.first_run_after, member.client_id, first_run=first_run)

    def _upgrade(self, member: Member, host: Host) -> None:
        free_at = host.busy_until(self.now)
        if free_at is not None and free_at - self.now > host.drain:
            self.at(self.now + host.drain, member.client_id, end=OrderEnd.BUSY, end_text="a backup runs")
            return
        done = (free_at or self.now) + host.upgrade
        self.at(done, member.client_id, end=host.end)
        if host.end is OrderEnd.SUCCEEDED and host.first_run is not None:
            self.at(done + host.first_run_after, member.client_id, first_run=host.first_run)


def run(
    rollout: Rollout,
    board: Board,
    hosts: Mapping[str, Host],
    timetable: Timetable,
    *,
    now: datetime,
    limits: Limits = Limits(),
    signals: SignalsAt = no_signals,
    keeps_members: bool = True,
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
        keeps_members: whether the moves of members are kept as events; there may be millions.
    """
    simulated = _Run(rollout, board, hosts, now, keeps_members=keeps_members)
    history = simulated.history
    while history.decisions < limits.decisions:
        simulated.change_facts()
        found = decide(history.rollout, board, signals(history.rollout, board, simulated.now), timetable, simulated.now)
        simulated.apply(found)
        history.decisions += 1
        if history.rollout.state in ENDED and history.ended_at is None:
            history.ended_at = simulated.now
        following = [at for at in (simulated.next_at, found.decide_again_at) if at is not None]
        if not following:
            break
        simulated.now = max(min(following), simulated.now + limits.tick)
    return history
