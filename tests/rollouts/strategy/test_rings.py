"""How rings follow one another, and how a rollout stops and ends."""

from datetime import timedelta
from typing import Any

import pytest

from backfleet.rollouts.model import Action, Member, OrderEnd, RingRun, Signals
from backfleet.rollouts.policy import Amount, AtDeadline, Busy, Failure, Ring, Verification
from backfleet.rollouts.states import RingState
from rollouts.strategy.decisions import (
    FINISHED,
    HOUR,
    LENIENT,
    NOW,
    PENDING,
    RUNNING,
    M,
    R,
    begun,
    decided,
    moved_to,
    policy,
    row,
    some,
)

TWO = (Ring("canary", count=2), Ring("rest"))
THREE = (Ring("canary", count=2), Ring("early", percent=10), Ring("rest"))
LATER = NOW + 25 * HOUR


def ring_moves(found: Any) -> list[tuple[int, str]]:
    return [(move.ring, move.to.value) for move in found.ring_moves]


@pytest.mark.parametrize(
    ("members", "runs", "expected"),
    [
        row(some(2), (PENDING, PENDING), [(0, "running")], id="the first ring starts at once"),
        row([*some(2, M.SUCCEEDED), *some(3, ring=1)], (RUNNING, PENDING), [(0, "finished"), (1, "running")],
            id="the next starts when the first is final"),
        row([*some(1, M.SUCCEEDED), *some(1, M.VERIFYING), *some(3, ring=1)], (RUNNING, PENDING), [],
            id="a ring with a member that is verifying is not through"),
        row([*some(1, M.SUCCEEDED), *some(1, M.UPGRADING), *some(3, ring=1)], (RUNNING, PENDING), [],
            id="nor one with a member under way"),
        row([*some(1, M.SUCCEEDED), *some(1, M.ROLLING_BACK), *some(3, ring=1)], (RUNNING, PENDING), [],
            id="nor one with a member that goes back"),
        row([*some(1, M.SUCCEEDED), *some(1, is_reachable=False), *some(3, ring=1)], (RUNNING, PENDING), [],
            id="a canary that is away must come back"),
        row([*some(1, M.SUCCEEDED), *some(1, is_held=True), *some(3, ring=1)], (RUNNING, PENDING),
            [(0, "finished"), (1, "running")], id="a canary that is held is out of the way"),
        row([*some(2, M.SKIPPED), *some(3, ring=1)], (RUNNING, PENDING), [(0, "finished")],
            id="canaries that were all skipped show nothing"),
        row([*some(2, M.FAILED), *some(3, ring=1)], (RUNNING, PENDING), [(0, "finished")],
            id="canaries that all failed within the budget show nothing"),
        row([*some(1, M.FAILED), *some(1, M.ALREADY_THERE), *some(3, ring=1)], (RUNNING, PENDING),
            [(0, "finished"), (1, "running")], id="one that was there already shows that the version works"),
        row(some(3, ring=1), (RUNNING, PENDING), [(0, "finished")], id="a first ring without members starts no other"),
    ],
)  # fmt: skip
def test_the_next_ring(members: list[Member], runs: tuple[RingRun, ...], expected: list[tuple[int, str]]) -> None:
    """Starts once the one before is through and has shown that the version works."""
    assert ring_moves(decided(policy(*TWO, **LENIENT), members, *runs)) == expected


@pytest.mark.parametrize(
    ("waiting", "moves_on"),
    [
        row({"is_reachable": False}, True, id="a host that is away"),
        row({"not_before": NOW + HOUR}, True, id="a busy host"),
        row({"is_held": True}, True, id="a held member"),
        row({"needs_seconds": 10**6}, False, id="one that could begin"),
    ],
)
def test_a_ring_in_the_middle_does_not_wait_for(waiting: dict[str, Any], moves_on: bool) -> None:
    """Only for members that can begin: the next ring is not starved."""
    members = [*some(2, M.SUCCEEDED), *some(4, M.SUCCEEDED, ring=1), *some(1, ring=1, **waiting), *some(9, ring=2)]
    found = decided(policy(*THREE), members, FINISHED, RUNNING, PENDING)
    assert ring_moves(found) == ([(1, "finished"), (2, "running")] if moves_on else [])


def test_a_latecomer_of_a_finished_ring_is_taken() -> None:
    """Its host came back."""
    members = [*some(2, M.SUCCEEDED), *some(1, ring=1), *some(3, M.UPGRADING, ring=2)]
    assert len(begun(decided(policy(*THREE), members, FINISHED, FINISHED, RUNNING))) == 1


@pytest.mark.parametrize(
    ("members", "state"),
    [
        row(some(3, M.SUCCEEDED), R.COMPLETED, id="everybody succeeded"),
        row([*some(2, M.SUCCEEDED), *some(1, M.SKIPPED)], R.COMPLETED, id="somebody was skipped"),
        row([*some(2, M.SUCCEEDED), *some(1, is_reachable=False)], None, id="a host is away in the last ring"),
        row([*some(2, M.SUCCEEDED), *some(1, M.UPGRADING)], None, id="an order is under way"),
        row([*some(2, M.SUCCEEDED), *some(1, M.VERIFYING)], None, id="a backup is awaited"),
        row([*some(2, M.SUCCEEDED), *some(1, M.ROLLING_BACK)], None, id="a member goes back"),
        row([], R.COMPLETED, id="every client was deleted"),
    ],
)
def test_a_rollout_is_completed(members: list[Member], state: Any) -> None:
    """Once every member is final, and not before."""
    assert decided(policy(**LENIENT), members).state is state


def test_a_latecomer_that_goes_back_keeps_a_rollout_open() -> None:
    """Also where its ring was finished."""
    members = [*some(2, M.SUCCEEDED), *some(1, M.ROLLING_BACK), *some(2, M.SUCCEEDED, ring=1)]
    assert decided(policy(*TWO, **LENIENT), members, FINISHED, RUNNING).state is None


@pytest.mark.parametrize("state", [R.PAUSED, R.HALTED, R.AWAITING_APPROVAL, R.CANCELLED, R.COMPLETED, R.EXPIRED])
def test_nobody_begins_in_a_rollout_that_is(state: R) -> None:
    """Whatever is ready."""
    assert not begun(decided(policy(), some(9), state=state))


def test_a_halted_rollout_halts_no_further() -> None:
    """It is written once."""
    assert decided(policy(), [*some(5), *some(3, M.FAILED)], state=R.HALTED).state is None


def test_a_paused_rollout_stays_paused_though_its_budget_is_spent() -> None:
    """It halts when somebody resumes it."""
    members = [*some(5), *some(3, M.FAILED)]
    assert decided(policy(), members, state=R.PAUSED).state is None
    assert decided(policy(), members).state is R.HALTED


def test_a_starter_who_is_refused_halts() -> None:
    """No order leaves as somebody who may not send it."""
    found = decided(policy(), some(5), signals=Signals(starter_refused="no such user"))
    assert (found.state, begun(found)) == (R.HALTED, [])
    assert "no such user" in found.reason


@pytest.mark.parametrize(
    ("start_at", "state"),
    [row(NOW + HOUR, None, id="before"), row(NOW, R.RUNNING, id="at"), row(None, R.RUNNING, id="without")],
)
def test_a_scheduled_rollout_begins_not_before_its_time(start_at: Any, state: Any) -> None:
    """And looks again then."""
    found = decided(policy(), some(3), PENDING, state=R.SCHEDULED, start_at=start_at)
    assert (found.state, begun(found)) == (state, [])
    assert found.decide_again_at == (start_at or NOW)


def test_cancelling_skips_those_that_have_not_begun() -> None:
    """Those under way end by themselves."""
    found = decided(policy(), [*some(3), *some(2, M.UPGRADING)], state=R.CANCELLED)
    assert moved_to(found) == [(M.SKIPPED, "")] * 3


@pytest.mark.parametrize(
    ("member", "to"),
    [
        row(some(1), M.EXPIRED, id="one that has not begun expires"),
        row(some(1, is_reachable=False), M.EXPIRED, id="a host that is away expires"),
        row(some(1, M.UPGRADING), M.EXPIRED, id="one under way expires"),
        row(some(1, M.VERIFYING), M.EXPIRED, id="one that is verifying expires"),
        row(some(1, M.VERIFYING, first_run="failed"), M.FAILED, id="one whose backup failed has failed"),
        row(some(1, M.SUCCEEDED), None, id="one that succeeded has"),
    ],
)
def test_at_the_deadline(member: list[Member], to: Any) -> None:
    """Every member ends."""
    from backfleet.rollouts.model import FirstRun

    members = [each._replace(first_run=FirstRun(each.first_run)) for each in member]
    found = decided(policy(failure=Failure(Amount(9)), verification=Verification(99)), members, now=NOW + 24 * HOUR)
    assert [move.to for move in found.moves] == ([] if to is None else [to])
    assert found.state is (R.EXPIRED if to is M.EXPIRED else R.COMPLETED)


def test_an_order_that_no_host_has_is_withdrawn_at_the_deadline() -> None:
    """The host that fetches it later would begin outside every rule."""
    found = decided(policy(), some(1, M.UPGRADING), now=LATER)
    assert found.moves[0].action is Action.WITHDRAW


@pytest.mark.parametrize("state", [R.RUNNING, R.PAUSED, R.HALTED, R.SCHEDULED, R.AWAITING_APPROVAL])
@pytest.mark.parametrize("members", [some(3), some(3, M.SUCCEEDED), [], some(3, M.ROLLING_BACK)])
def test_the_deadline_ends_a_rollout_that_is(state: R, members: list[Member]) -> None:
    """In whatever state it and its members are."""
    from backfleet.rollouts.states import ENDED, rollout_may_move

    found = decided(policy(), members, state=state, reason="for a reason", now=LATER)
    assert found.state in ENDED
    assert rollout_may_move(state, found.state)
    assert found.state is not R.COMPLETED or state is R.RUNNING


@pytest.mark.parametrize(
    ("busy", "minutes", "ends"),
    [
        row(Busy(), 0, True, id="without a grace at the deadline"),
        row(Busy(5, AtDeadline.WAIT, 60), 0, False, id="with a grace not yet"),
        row(Busy(5, AtDeadline.WAIT, 60), 59, False, id="not within the grace"),
        row(Busy(5, AtDeadline.WAIT, 60), 60, True, id="at its end"),
        row(Busy(5, AtDeadline.SKIP, 60), 0, True, id="a grace without wait is none"),
    ],
)
def test_a_grace(busy: Busy, minutes: int, ends: bool) -> None:
    """Is given to busy hosts by the policy."""
    now = NOW + 24 * HOUR + timedelta(minutes=minutes)
    assert bool(decided(policy(busy=busy), some(3, needs_seconds=1), now=now).state) is ends


def test_a_decision_says_when_the_deadline_is() -> None:
    """It is looked at again then even if nothing happens."""
    assert decided(policy(), some(2, is_reachable=False)).decide_again_at == NOW + 24 * HOUR


def test_a_ring_that_starts_lets_its_members_begin_in_the_same_decision() -> None:
    """Nothing waits for the next look."""
    found = decided(policy(*TWO), [*some(2, M.SUCCEEDED), *some(3, ring=1)], RUNNING, PENDING)
    assert (len(begun(found)), found.ring_moves[-1].to) == (3, RingState.RUNNING)


@pytest.mark.parametrize("end", [OrderEnd.SUCCEEDED, OrderEnd.BUSY, OrderEnd.WITHDRAWN])
def test_an_order_that_ends_as_the_deadline_comes_leaves_no_member_open(end: OrderEnd) -> None:
    """The rollout ends in the next decision, which comes at once."""
    found = decided(policy(verification=Verification(99)), some(1, M.UPGRADING, end=end), now=LATER)
    assert (found.state, found.decide_again_at) == (None, LATER)
