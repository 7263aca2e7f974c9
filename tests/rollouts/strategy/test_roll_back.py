"""Members, rings and rollouts that go back to the version that they had."""

from typing import Any

import pytest

from backfleet.rollouts.applying import IllegalMove, moved_member
from backfleet.rollouts.model import Action, FirstRun, Member, Move, OrderEnd
from backfleet.rollouts.policy import Amount, Failure, Kind, Pace, Ring, Then, Verification
from rollouts.strategy.decisions import HOUR, NOW, M, R, begun, decided, policy, row, some, tagged

TWO = (Ring("canary", count=2), Ring("rest"))
BACK = {"state": R.ROLLING_BACK}
LONG = {"verification": Verification(99)}


@pytest.mark.parametrize(
    ("then", "state", "ring"),
    [
        row(Then.HOLD, R.HALTED, None, id="hold"),
        row(Then.ROLL_BACK_MEMBER, R.HALTED, None, id="roll back the member"),
        row(Then.ROLL_BACK_RING, R.ROLLING_BACK, 1, id="roll back the ring that started last"),
        row(Then.ROLL_BACK_ROLLOUT, R.ROLLING_BACK, None, id="roll back everybody"),
    ],
)
def test_a_spent_budget_does_what_the_policy_says(then: Then, state: R, ring: int | None) -> None:
    """And says why."""
    found = decided(policy(*TWO, failure=Failure(then=then)), [*some(2, M.SUCCEEDED), *some(1, M.FAILED, ring=1)])
    assert (found.state, found.roll_back_ring, begun(found)) == (state, ring, [])


def test_the_ring_whose_own_budget_is_spent_goes_back() -> None:
    """Not the one that happened to start last."""
    rings = (Ring("canary", count=2, max_failed=Amount(0)), Ring("rest"))
    found = decided(policy(*rings, failure=Failure(then=Then.ROLL_BACK_RING)), some(1, M.FAILED))
    assert found.roll_back_ring == 0


@pytest.mark.parametrize(
    ("member", "goes"),
    [
        row(some(1, M.SUCCEEDED), True, id="one that succeeded"),
        row(some(1, M.VERIFYING), True, id="one that is verifying"),
        row(some(1, M.LOST), True, id="a lost one, which may have the version"),
        row(some(1, M.EXPIRED), True, id="one that expired under way"),
        row(some(1, M.FAILED, code="BackupFailed"), True, id="one whose backup failed"),
        row(some(1, M.FAILED, code="NoBackupSeen"), True, id="one of which no backup was seen"),
        row(some(1, M.FAILED, code="InternalError"), False, id="one whose order failed has the old version"),
        row(some(1, M.ROLLED_BACK), False, id="one that rolled back by itself"),
        row(some(1, M.SKIPPED), False, id="one that was skipped"),
        row(some(1, M.ALREADY_THERE), False, id="one that was there before"),
        row(some(1, M.EXPIRED, begun_at=None), False, id="one that expired before it began"),
        row(some(1, M.SUCCEEDED, rolled_back_once=True), False, id="one whose order to go back was sent before"),
        row(some(1, M.SUCCEEDED, is_held=True), False, id="a held one"),
    ],
)
def test_a_rollout_that_goes_back_takes(member: list[Member], goes: bool) -> None:
    """Those that have the new version."""
    found = decided(policy(**LONG), member, **BACK)
    assert [move.action for move in found.moves] == ([Action.ROLL_BACK] if goes else [])
    assert found.state is (None if goes else R.ROLLED_BACK)


def test_going_back_keeps_to_the_pace_and_to_the_domains() -> None:
    """Also then both replicas of one data set are not open at one time."""
    slow = policy(pace=Pace(Amount(2), ramp=False))
    assert len(decided(slow, some(5, M.SUCCEEDED), **BACK).moves) == 2
    apart = policy(pace=Pace(Amount(9), never_together=("set",)))
    pair = [tagged(M.SUCCEEDED, name=name, set="a") for name in "pq"]
    found = decided(apart, pair, **BACK)
    assert ([move.client_id for move in found.moves], found.state) == (["p"], None)


def test_only_the_ring_that_is_asked_for_goes_back() -> None:
    """The others keep the new version."""
    members = [*some(2, M.SUCCEEDED), *some(3, M.SUCCEEDED, ring=1)]
    found = decided(policy(*TWO), members, **BACK, roll_back_ring=1)
    assert [move.client_id[0] for move in found.moves] == ["1", "1", "1"]


def test_a_ring_that_went_back_is_told_by_itself() -> None:
    """Nobody of it is left, and those of the others, who keep the version, are not said to be stuck."""
    back = some(3, M.ROLLED_BACK, ring=1, rolled_back_once=True)
    found = decided(policy(*TWO), [*some(2, M.SUCCEEDED), *some(1, M.ROLLED_BACK), *back], **BACK, roll_back_ring=1)
    assert (found.state, found.reason) == (R.ROLLED_BACK, "ring rest was rolled back: 3 members")


def test_a_rollout_is_rolled_back_once_everything_has_ended() -> None:
    """Those that never began are skipped; those that could not go back are mentioned."""
    assert decided(policy(), [*some(2, M.ROLLED_BACK), *some(1, M.UPGRADING)], **BACK).state is None
    found = decided(policy(), [*some(2, M.ROLLED_BACK), *some(3)], **BACK)
    assert (found.state, [move.to for move in found.moves]) == (R.ROLLED_BACK, [M.SKIPPED] * 3)
    found = decided(policy(), [*some(2, M.ROLLED_BACK), *some(1, M.SUCCEEDED, rolled_back_once=True)], **BACK)
    assert "1 could not be rolled back" in found.reason


def test_whoever_gets_the_version_while_a_rollout_goes_back_goes_back_too() -> None:
    """Its order had left before. That it was the last one under way does not end the rollout."""
    last = some(1, M.UPGRADING, end=OrderEnd.SUCCEEDED)
    found = decided(policy(), [*some(2, M.ROLLED_BACK), *last], **BACK)
    assert ([move.to for move in found.moves], found.state, found.decide_again_at) == ([M.SUCCEEDED], None, NOW)


def test_nobody_begins_while_a_rollout_goes_back() -> None:
    """Whatever is ready."""
    assert not begun(decided(policy(), [*some(5), *some(1, M.SUCCEEDED)], **BACK))


@pytest.mark.parametrize(
    ("before", "to", "expected"),
    [
        row({"state": M.SUCCEEDED}, M.ROLLING_BACK, {"rolled_back_once": True}, id="going back is remembered"),
        row({"state": M.PENDING, "rolled_back_once": True}, M.UPGRADING, {"rolled_back_once": False},
            id="one that is tried again can go back again"),
        row({"state": M.PENDING, "first_run": FirstRun.FAILED}, M.UPGRADING, {"first_run": FirstRun.NONE},
            id="one that is tried again waits for a new first backup"),
        row({"state": M.PENDING, "attempts": 1}, M.UPGRADING, {"attempts": 2, "begun_at": NOW}, id="it is counted"),
        row({"state": M.UPGRADING, "end": OrderEnd.BUSY}, M.PENDING, {"begun_at": None}, id="a busy one has not begun"),
    ],
)  # fmt: skip
def test_a_member_after_its_move(before: dict[str, Any], to: M, expected: dict[str, Any]) -> None:
    """What is kept of it."""
    found = moved_member(some(1, **before)[0], Move("x", to, "why"), NOW)._asdict()
    assert {key: found[key] for key in expected} == expected


def test_a_policy_of_kind_roll_back_sends_orders_to_go_back() -> None:
    """They are the rollout's own orders, not those that undo it."""
    found = decided(policy(kind=Kind.ROLL_BACK), some(1))
    assert [(move.to, move.action) for move in found.moves] == [(M.UPGRADING, Action.ROLL_BACK)]


BEFORE = NOW - 3 * HOUR
"""When an order before left, which may have reached its host."""


@pytest.mark.parametrize(
    "member",
    [
        row(some(1, given_at=BEFORE), id="one that is tried again"),
        row(some(1, given_at=BEFORE, is_reachable=False), id="one that is tried again, and cannot be reached"),
        row(some(1, M.SKIPPED, given_at=BEFORE, code="ManagedElsewhere"), id="one that was refused when tried again"),
        row(some(1, M.FAILED, given_at=BEFORE, code="InternalError"), id="one whose second order failed"),
        row(some(1, M.EXPIRED, given_at=BEFORE), id="one that expired before it began again"),
    ],
)  # fmt: skip
def test_whoever_may_have_the_version_by_an_order_before_goes_back(member: list[Member]) -> None:
    """Whatever became of the orders since."""
    found = decided(policy(**LONG), member, **BACK)
    assert [(move.to, move.action) for move in found.moves] == [(M.ROLLING_BACK, Action.ROLL_BACK)]
    assert moved_member(member[0], found.moves[0], NOW).given_at == BEFORE


@pytest.mark.parametrize("state", [M.PENDING, M.SKIPPED])
def test_nobody_goes_back_who_never_had_an_order(state: M) -> None:
    """That is a fault of the program, and found as one."""
    with pytest.raises(IllegalMove):
        moved_member(some(1, state)[0], Move("x", M.ROLLING_BACK, "why"), NOW)


@pytest.mark.parametrize("state", [R.ROLLING_BACK, R.CANCELLED])
@pytest.mark.parametrize("end", [OrderEnd.WITHDRAWN, OrderEnd.BUSY])
def test_an_order_that_comes_back_does_not_make_untouched_who_was_not(state: R, end: OrderEnd) -> None:
    """It goes back, or is lost, as nobody knows what its host has. One that had no order before is skipped."""
    again = some(1, M.UPGRADING, end=end, given_at=BEFORE)
    found = decided(policy(), [*again, *some(1, M.UPGRADING, end=end, code="new")], state=state)
    expected = M.PENDING if state is R.ROLLING_BACK else M.LOST
    assert {move.client_id: move.to for move in found.moves} == {
        again[0].client_id: expected, some(1, M.UPGRADING, end=end, code="new")[0].client_id: M.SKIPPED,
    }  # fmt: skip
    assert found.state is None


@pytest.mark.parametrize(
    "changes", [row({"state": R.CANCELLED}, id="cancelled"), row({**BACK, "roll_back_ring": 1}, id="another ring")]
)
def test_whoever_may_have_it_is_lost_rather_than_skipped(changes: dict[str, Any]) -> None:
    """Its host can still say what it has."""
    members = [*some(1, given_at=BEFORE), *some(1, code="new")]
    moves = {move.client_id: move for move in decided(policy(*TWO), members, **changes).moves}
    assert [moves[each.client_id].to for each in members] == [M.LOST, M.SKIPPED]
    lost = moved_member(members[0], moves[members[0].client_id], NOW)
    assert (lost.begun_at, lost.given_at, "its host may have the new version" in lost.reason) == (BEFORE, BEFORE, True)


def test_a_held_member_that_may_have_it_is_said_to_be_left() -> None:
    """It stays as it is, and is not called untouched."""
    found = decided(policy(), [*some(2, M.ROLLED_BACK), *some(1, given_at=BEFORE, is_held=True)], **BACK)
    assert (found.state, [move.to for move in found.moves]) == (R.ROLLED_BACK, [M.LOST])
    assert "1 member on hold stayed" in found.reason


def test_one_that_has_it_by_this_rollout_is_not_called_there_before() -> None:
    """Its order says "already there", as an order before had brought it. Where none had, it was there before."""
    ours = some(1, M.UPGRADING, end=OrderEnd.ALREADY_THERE, given_at=BEFORE, code="ours")
    found = decided(policy(**LONG), [*ours, *some(1, M.UPGRADING, end=OrderEnd.ALREADY_THERE)])
    assert [move.to for move in found.moves] == [M.VERIFYING, M.ALREADY_THERE]
    late = some(1, M.LOST, end=OrderEnd.ALREADY_THERE)[0]
    (move,) = decided(policy(), [late]).moves
    assert (move.to, moved_member(late, move, NOW).given_at) == (M.ALREADY_THERE, None)


@pytest.mark.parametrize(
    ("before", "to", "given"),
    [
        row({"state": M.UPGRADING}, M.SUCCEEDED, True, id="its order succeeded"),
        row({"state": M.UPGRADING}, M.VERIFYING, True, id="its order succeeded, and it waits for a backup"),
        row({"state": M.UPGRADING}, M.LOST, True, id="its host has not reported"),
        row({"state": M.UPGRADING}, M.EXPIRED, True, id="it expired under way"),
        row({"state": M.UPGRADING}, M.PENDING, False, id="its order was withdrawn, or its host was busy"),
        row({"state": M.UPGRADING}, M.SKIPPED, False, id="its host refused"),
        row({"state": M.UPGRADING}, M.FAILED, False, id="its order failed"),
        row({"state": M.UPGRADING}, M.ROLLED_BACK, False, id="its host went back by itself"),
        row({"state": M.VERIFYING}, M.FAILED, True, id="its backup failed"),
        row({"state": M.ROLLING_BACK, "rolled_back_once": True}, M.FAILED, True, id="it could not be rolled back"),
        row({"state": M.ROLLING_BACK, "rolled_back_once": True}, M.LOST, True, id="nobody knows whether it went back"),
        row({"state": M.ROLLING_BACK, "rolled_back_once": True}, M.ROLLED_BACK, False, id="it went back"),
        row({"state": M.LOST}, M.FAILED, False, id="a lost one says that its order failed"),
        row({"state": M.LOST, "rolled_back_once": True}, M.FAILED, True, id="a lost one says that it did not go back"),
        row({"state": M.LOST}, M.ROLLED_BACK, False, id="a lost one says that it went back"),
        row({"state": M.PENDING}, M.EXPIRED, False, id="it never began"),
    ],
)  # fmt: skip
def test_what_a_member_may_have_is_known_after_each_move(before: dict[str, Any], to: M, given: bool) -> None:
    """Also where nobody says more: then it may."""
    member = some(1, **before)[0]
    assert (moved_member(member, Move("x", to, "why"), NOW).given_at is not None) is given
