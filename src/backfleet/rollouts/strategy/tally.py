"""A decision in the making: its moves, and the counts as they will be once those are made."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

from backfleet.rollouts.board import Board, counts_as_failure, fails
from backfleet.rollouts.elapsed import begin_of, end_of
from backfleet.rollouts.model import Decision, Member, Move, RingMove, RingRun, Rollout
from backfleet.rollouts.states import MemberState, RingState, RolloutState

MOVING = (MemberState.UPGRADING, MemberState.ROLLING_BACK)
TOGETHER = (*MOVING, MemberState.VERIFYING)


class Tally:
    """Collects moves. Counts are the board's, corrected by the moves so far; the board itself is not changed."""

    def __init__(self, rollout: Rollout, board: Board, now: datetime) -> None:
        self.rollout, self.board, self.now = rollout, board, now
        self.state = rollout.state
        self.reason = rollout.reason
        self.roll_back_ring: int | None = None
        self.rings: list[RingRun] = list(rollout.rings)
        self.waits_for = ""
        self._moves: dict[str, Move] = {}
        self._ring_moves: list[RingMove] = []
        self._failures = Counter(board.failures)
        self._states: list[dict[MemberState, int]] = [{} for _ in rollout.rings]
        self._moving: Counter[tuple[str, str]] = Counter()
        self._together: Counter[tuple[str, str]] = Counter()
        self._begun = 0
        self._filled: Counter[str] = Counter()  # members whose value of a key is full, by key
        self.is_full = False  # every member has such a value
        self.full: set[tuple[str, str]] = set()  # values of tags in which nobody can begin any more in this decision
        self._wakes: list[datetime] = []

    # --- What it knows ------------------------------------------------------------------------------------------

    def count(self, ring: int, *states: MemberState) -> int:
        """Return how many members of a ring are in one of these states, moves included."""
        moved = self._states[ring]
        return self.board.count(ring, *states) + (sum(moved.get(state, 0) for state in states) if moved else 0)

    def count_all(self, *states: MemberState) -> int:
        """Return the same over all rings."""
        return sum(self.count(ring, *states) for ring in range(len(self.rings)))

    def failures(self, ring: int | None = None) -> int:
        """Return how many members use up the budget: of one ring, or of all."""
        return self._failures.total() if ring is None else self._failures[ring]

    def moving_in(self, domain: tuple[str, str]) -> int:
        """Return how many members with this value of a tag are under way."""
        return self.board.moving_in[domain] + self._moving[domain]

    def together_in(self, domain: tuple[str, str]) -> int:
        """Return how many members with this value of a tag are under way or verifying."""
        return self.board.together_in[domain] + self._together[domain]

    def begun_after(self, moment: datetime) -> int:
        """Return how many orders have left after this moment, those of this decision included."""
        return self.board.begun_after(moment) + self._begun

    def end_of(self, since: datetime, span: timedelta) -> datetime:
        """Return when so much time will have passed since a moment, gaps left out."""
        return end_of(since, span, self.rollout.gaps)

    def begin_of(self, span: timedelta) -> datetime:
        """Return since when so much time has passed, gaps left out."""
        return begin_of(self.now, span, self.rollout.gaps)

    def state_of(self, member: Member) -> MemberState:
        """Return a member's state after the moves so far."""
        move = self._moves.get(member.client_id)
        return member.state if move is None else move.to

    def free_in_flight(self) -> tuple[int, str]:
        """Return how many members may begin to move now by the pace, and the limit for people."""
        limit = self.rollout.policy.pace.in_flight.at_least_one_of(len(self.board))
        moving = self.count_all(*MOVING)
        return limit - moving, f"pace: {moving} of {limit} members are under way"

    def blocked_by(self, member: Member) -> str:
        """Return which value of its tags forbids a member to move beside those that are under way; "" if none does."""
        pace, state = self.rollout.policy.pace, self.state_of(member)
        for domain in member.domains:
            key, value = domain
            if key in pace.never_together and self.together_in(domain) > (state in TOGETHER):
                self._fill(domain)
                return f"never together: another member with {key}={value} is under way"
            most = pace.per_domain.get(key)
            if most is not None and self.moving_in(domain) - (state in MOVING) >= most:
                self._fill(domain)
                return f"domain: {most} members with {key}={value} are under way"
        return ""

    def _fill(self, domain: tuple[str, str]) -> None:
        if domain not in self.full:
            self.full.add(domain)
            self._filled[domain[0]] += self.board.having[domain]
            self.is_full = self.is_full or self._filled[domain[0]] >= len(self.board)

    # --- What it collects ---------------------------------------------------------------------------------------

    def move(self, member: Member, move: Move) -> None:
        """Add a move. A member moves once in a decision; a later move of it is left to the next one."""
        if member.client_id in self._moves:
            return
        self._moves[member.client_id] = move
        before, to, size = member.state, move.to, move.size or member.size
        if move.not_before is not None:
            self.wake_at(move.not_before)
        begins = to in MOVING and before not in MOVING
        beside, has_left = (
            self.rollout.policy.failure.counts,
            member.begun_at is not None or member.given_at is not None,
        )
        back = member.rolled_back_once
        failed = fails(to, move.code, member.first_run, beside, has_begun=begins or has_left, by_order=back)
        if failed is not counts_as_failure(member, beside):
            self._failures[member.ring] += size if failed else -size
        states = self._states[member.ring]
        states[before] = states.get(before, 0) - size
        states[to] = states.get(to, 0) + size
        for domain in member.domains:
            self._moving[domain] += (to in MOVING) - (before in MOVING)
            self._together[domain] += (to in TOGETHER) - (before in TOGETHER)
        self._begun += size if begins else 0

    def move_ring(self, ring: int, to: RingState, why: str) -> None:
        """Move a ring."""
        self._ring_moves.append(RingMove(ring, to, why))
        run = self.rings[ring]
        if to is RingState.RUNNING:
            self.rings[ring] = replace(run, state=to, started_at=run.started_at or self.now)
        else:
            self.rings[ring] = replace(run, state=to, finished_at=self.now)

    def move_rollout(self, to: RolloutState, why: str, *, ring: int | None = None) -> None:
        """Move the rollout itself; `ring` is the one to roll back, None for every member."""
        self.state, self.reason, self.roll_back_ring = to, why, ring

    def wake_at(self, moment: datetime | None) -> None:
        """Decide again then, at the latest."""
        if moment is not None and moment > self.now:
            self._wakes.append(moment)

    def wake_now(self) -> None:
        """Decide again at once: what was decided leads to more."""
        self._wakes.append(self.now)

    def wait_for(self, why: str) -> None:
        """Note, for people, what the rollout waits for; the first reason stays."""
        self.waits_for = self.waits_for or why

    @property
    def has_moved(self) -> bool:
        """Whether anything changes."""
        return bool(self._moves or self._ring_moves or self.state is not self.rollout.state)

    def decision(self) -> Decision:
        """Return what was collected."""
        changed = self.state is not self.rollout.state
        return Decision(
            moves=tuple(self._moves.values()),
            ring_moves=tuple(self._ring_moves),
            state=self.state if changed else None,
            reason=self.reason if changed else "",
            decide_again_at=min(self._wakes, default=None),
            waits_for=self.waits_for,
            roll_back_ring=self.roll_back_ring,
        )
