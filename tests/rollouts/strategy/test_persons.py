"""What holds whatever persons do to a rollout meanwhile: they try members again, pause it, end it and take it back."""

from dataclasses import replace
from datetime import timedelta
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backfleet.rollouts.applying import moved_member, moved_rollout, with_state
from backfleet.rollouts.board import Board
from backfleet.rollouts.model import Action, FirstRun, Member, OrderEnd, Rollout, Signals
from backfleet.rollouts.policy import Amount, Failure, Policy, Ring, Then, Verification
from backfleet.rollouts.retrying import again
from backfleet.rollouts.states import FINAL, may_move
from backfleet.rollouts.strategy import decide
from rollouts.strategy.decisions import ANY_PACE, HOUR, NOW, PENDING, M, R, Zones

E = OrderEnd
UNTOUCHED = {M.PENDING, M.SKIPPED, M.ALREADY_THERE, M.ROLLED_BACK}
"""The states of which people read that the host does not have the version by this rollout."""


class World:
    """Hosts that may get the version, and a rollout that knows only what they say."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        rings = (Ring("canary", count=2), Ring("rest"))
        lenient = Failure(Amount(percent=100), self.chance.choice([Then.HOLD, Then.ROLL_BACK_MEMBER]))
        verification = Verification(self.chance.choice([0, 2]))
        deadline = NOW + self.chance.randint(2, 40) * HOUR
        self.policy = Policy("any", "courier", deadline, rings, "2.0", pace=ANY_PACE, failure=lenient,
                             verification=verification)  # fmt: skip
        members = [
            Member(f"c{at}", f"i{at}", min(at // 2, 1), rank=at, is_held=at == 5, from_version="1.0") for at in range(6)
        ]
        self.board = Board(self.policy, members)
        self.rollout = Rollout("ro", "1", self.policy, R.RUNNING, "2.0", (PENDING, PENDING), "a", "s", started_at=NOW)
        self.now = NOW
        self.has: dict[str, bool] = {}  # by this rollout; what hosts had before is in `had`
        self.bad: set[str] = set()  # whose last order that did anything failed
        self.had = {each.client_id for each in members if self.chance.randint(0, 9) == 0}

    def maybe(self) -> bool:
        return self.chance.random() < 0.5

    def decide(self) -> None:
        self.now += timedelta(minutes=self.chance.choice([1, 30, 90]))
        found = decide(self.rollout, self.board, Signals(), Zones(), self.now)
        for move in found.moves:
            self.board.put(moved_member(self.board[move.client_id], move, self.now))
            if move.action is Action.WITHDRAW:
                self._end_upgrade(self.board[move.client_id], withdrawn=self.maybe())
        self.rollout = moved_rollout(self.rollout, found, self.now)

    def hosts_go_on(self, *, at_last: bool = False) -> None:
        """Let orders end, and backups, or not yet."""
        for member in list(self.board):
            if member.state in (M.UPGRADING, M.ROLLING_BACK) and member.end is None and (at_last or self.maybe()):
                (self._end_upgrade if member.state is M.UPGRADING else self._end_roll_back)(member)
            elif member.state is M.VERIFYING and (at_last or self.maybe()):
                run = self.chance.choice([FirstRun.SUCCEEDED, FirstRun.FAILED, FirstRun.UNKNOWN])
                self.board.put(member._replace(first_run=run))
            elif member.state in (M.LOST, M.EXPIRED) and member.begun_at and self.chance.randint(0, 3) == 0:
                self._say_late(member)

    def _end_upgrade(self, member: Member, *, withdrawn: bool = False) -> None:
        name = member.client_id
        if withdrawn:
            end = E.WITHDRAWN
        elif name in self.had or self.has.get(name):
            end = self.chance.choice([E.ALREADY_THERE, E.FAILED, E.REFUSED, E.BUSY, E.LOST])
        else:
            end = self.chance.choice([E.LOST] * 5 + [each for each in E if each is not E.ALREADY_THERE])
            self.has[name] = end is E.SUCCEEDED or (end is E.LOST and self.maybe())
        if end in (E.FAILED, E.ROLLED_BACK):
            self.bad.add(name)
        elif end not in (E.WITHDRAWN, E.BUSY):
            self.bad.discard(name)
        self.board.put(member._replace(end=end, end_text=f"it is {end}"))

    def _end_roll_back(self, member: Member) -> None:
        name = member.client_id
        self.bad.discard(name)
        ends = [E.SUCCEEDED, E.FAILED, E.LOST] if self.has.get(name) else [E.ALREADY_THERE, E.FAILED, E.LOST]
        end = self.chance.choice(ends)
        if end is E.SUCCEEDED or (end is E.LOST and self.maybe()):
            self.has[name] = False
        self.board.put(member._replace(end=end, end_text=f"it is {end}"))

    def _say_late(self, member: Member) -> None:
        """Let a lost host say which version it has, as the server reads it."""
        self.bad.discard(member.client_id)
        has = member.client_id in self.had or self.has.get(member.client_id, False)
        not_there = E.SUCCEEDED if member.rolled_back_once else E.ROLLED_BACK
        there = E.FAILED if member.rolled_back_once else E.SUCCEEDED
        end = there if has else not_there
        self.board.put(member._replace(end=end, first_run=FirstRun.SUCCEEDED, end_text="its host says so"))

    def try_again(self) -> None:
        for member in list(self.board):
            if member.state in FINAL and may_move(member.state, M.PENDING) and self.maybe():
                has_it = member.state is M.FAILED and self.has.get(member.client_id, False) and member.given_at
                self.board.put(again(member, self.now, has_it=bool(has_it) and self.maybe()))

    def become(self, state: R) -> None:
        self.rollout = with_state(replace(self.rollout, roll_back_ring=None), state, "somebody said so", self.now)
        for member in list(self.board):  # what no host has is withdrawn with it
            if member.state is M.UPGRADING and member.end is None and self.maybe():
                self._end_upgrade(member, withdrawn=True)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32))
def test_after_a_roll_back_nobody_who_may_have_the_version_is_called_untouched(seed: int) -> None:
    """Whoever was tried again, withdrawn, busy, refused or lost meanwhile; and whoever was there before stays so.

    Nor is anybody called skipped whose order failed, and to whom nothing was done since.
    """
    world = World(seed)
    for _ in range(world.chance.randint(2, 12)):
        world.decide()
        world.hosts_go_on()
        if world.rollout.state is R.RUNNING and world.chance.randint(0, 2) == 0:
            world.try_again()
    if world.maybe() and world.rollout.state is R.RUNNING:
        world.become(world.chance.choice([R.CANCELLED, R.PAUSED]))
        world.decide()
        world.hosts_go_on()
    if world.rollout.state in (R.RUNNING, R.PAUSED):
        world.try_again()
    world.become(R.ROLLING_BACK)
    for _ in range(50):
        world.decide()
        world.hosts_go_on(at_last=True)
        if world.rollout.state is R.ROLLED_BACK and not world.board.count_all(M.UPGRADING, M.ROLLING_BACK):
            break
    assert world.rollout.state is R.ROLLED_BACK
    for member in world.board:
        assert member.state in FINAL
        assert not (world.has.get(member.client_id) and member.state in UNTOUCHED), member
        assert not (member.client_id in world.bad and member.state in (M.SKIPPED, M.PENDING)), member
        if member.client_id in world.had and not world.has.get(member.client_id):
            assert member.state in UNTOUCHED | {M.LOST, M.FAILED, M.EXPIRED, M.SUCCEEDED}
