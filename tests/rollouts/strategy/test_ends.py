"""What becomes of a member when its order, or its first backup, ends."""

from datetime import timedelta
from typing import Any

import pytest

from backfleet.rollouts.model import Action, FirstRun, Opening, OrderEnd
from backfleet.rollouts.policy import Amount, Backups, Failure, Kind, Pace, Ring, Then, Verification
from rollouts.strategy.decisions import HOUR, NOW, M, R, decided, moved_to, policy, row, some

E = OrderEnd
BORNE = Failure(Amount(percent=100))
GOES_BACK = Failure(Amount(percent=100), Then.ROLL_BACK_MEMBER)
VERIFIES = Verification(48)


def of_order(end: OrderEnd, state: Any = M.UPGRADING, **facts: Any) -> dict[str, Any]:
    return {"state": state, "end": end, **facts}


@pytest.mark.parametrize(
    ("facts", "changes", "expected"),
    [
        row(of_order(E.SUCCEEDED), {}, M.SUCCEEDED, id="a success without a wait for a backup is a success"),
        row(of_order(E.SUCCEEDED), {"verification": VERIFIES}, M.VERIFYING, id="with one it is verifying"),
        row(of_order(E.SUCCEEDED), {"verification": VERIFIES, "kind": Kind.STAGE}, M.SUCCEEDED,
            id="staging waits for no backup"),
        row(of_order(E.SUCCEEDED), {"verification": VERIFIES, "kind": Kind.PRECHECK}, M.SUCCEEDED,
            id="a precheck waits for no backup"),
        row(of_order(E.ALREADY_THERE), {}, M.ALREADY_THERE, id="a host that has the version is there already"),
        row(of_order(E.ROLLED_BACK, code="RolledBack"), {}, M.ROLLED_BACK, id="a host that rolled back did"),
        row(of_order(E.FAILED, code="InternalError"), {}, M.FAILED, id="a failed order is a failed member"),
        row(of_order(E.REFUSED, code="ManagedElsewhere"), {}, M.SKIPPED, id="a refusal skips"),
        row(of_order(E.LOST), {}, M.LOST, id="a host that does not report is lost"),
        row(of_order(E.BUSY, code="HostBusy"), {}, M.PENDING, id="a busy host waits again"),
        row(of_order(E.WITHDRAWN), {}, M.PENDING, id="a withdrawn order waits again"),
        row(of_order(E.BUSY), {"state": R.CANCELLED}, M.SKIPPED, id="a busy host of a cancelled rollout is skipped"),
        row(of_order(E.WITHDRAWN), {"state": R.CANCELLED}, M.SKIPPED, id="so is one whose order was withdrawn"),
        row(of_order(E.WITHDRAWN), {"state": R.ROLLING_BACK}, M.SKIPPED, id="so while the rollout goes back"),
        row(of_order(E.WITHDRAWN), {"state": R.HALTED}, M.PENDING, id="a withdrawn order of a halted one waits"),
        row(of_order(E.SUCCEEDED), {"state": R.HALTED}, M.SUCCEEDED, id="an order under way ends after a halt"),
        row(of_order(E.SUCCEEDED), {"state": R.PAUSED}, M.SUCCEEDED, id="and after a pause"),
        row(of_order(E.FAILED), {"state": R.CANCELLED}, M.FAILED, id="and after the rollout was cancelled"),
        row(of_order(E.SUCCEEDED, M.ROLLING_BACK), {}, M.ROLLED_BACK, id="an order to go back that succeeds"),
        row(of_order(E.ALREADY_THERE, M.ROLLING_BACK), {}, M.ROLLED_BACK, id="a host that is back already rolled back"),
        row(of_order(E.FAILED, M.ROLLING_BACK), {}, M.FAILED, id="an order to go back that fails is a failure"),
        row(of_order(E.REFUSED, M.ROLLING_BACK), {}, M.FAILED, id="so is one that the host refuses"),
        row(of_order(E.LOST, M.ROLLING_BACK), {}, M.LOST, id="a host that is lost on its way back is lost"),
        row({"state": M.VERIFYING, "first_run": FirstRun.SUCCEEDED}, {"verification": VERIFIES}, M.SUCCEEDED,
            id="a first backup that succeeds ends the verification"),
        row({"state": M.VERIFYING, "first_run": FirstRun.FAILED}, {"verification": VERIFIES}, M.FAILED,
            id="a first backup that fails is a failure"),
        row({"state": M.VERIFYING, "first_run": FirstRun.FAILED}, {"verification": VERIFIES, "failure": GOES_BACK},
            M.ROLLING_BACK, id="or takes the member back, where the policy says so"),
        row({"state": M.VERIFYING}, {"verification": Verification(1)}, M.FAILED, id="no backup in time is a failure"),
        row({"state": M.VERIFYING}, {"verification": Verification(1, "accept")}, M.SUCCEEDED,
            id="or a success, where the policy accepts that"),
        row({"state": M.VERIFYING, "first_run": FirstRun.UNKNOWN}, {"verification": Verification(1)}, M.FAILED,
            id="a backup whose result is not known does not count as well"),
        row({"state": M.VERIFYING}, {"verification": VERIFIES}, None, id="before its time nothing happens"),
        row({"state": M.VERIFYING, "first_run": FirstRun.UNKNOWN}, {"verification": VERIFIES}, None,
            id="an unknown result waits for the next backup"),
        row({"state": M.UPGRADING}, {}, None, id="an order under way is left alone"),
    ],
)  # fmt: skip
def test_the_end_of(facts: dict[str, Any], changes: dict[str, Any], expected: Any) -> None:
    """One member."""
    state = changes.pop("state", R.RUNNING)
    document = policy(**{"failure": BORNE, **changes})
    found = decided(document, some(1, **facts), state=state)
    assert moved_to(found) == ([] if expected is None else [(expected, found.moves[0].code)])
    assert all(move.why for move in found.moves)


@pytest.mark.parametrize(
    ("attempts", "minutes"),
    [row(1, 10, id="first ten minutes"), row(2, 20, id="then twenty"), row(3, 40, id="then forty"),
     row(9, 60, id="at most an hour"), row(1000, 60, id="for ever")],
)  # fmt: skip
def test_a_busy_host_is_asked_again_after(attempts: int, minutes: int) -> None:
    """A pause that doubles; its reason is the host's own."""
    found = decided(policy(), some(1, M.UPGRADING, end=E.BUSY, end_text="a backup runs", attempts=attempts))
    assert (found.moves[0].not_before, found.moves[0].why) == (NOW + timedelta(minutes=minutes), "a backup runs")


@pytest.mark.parametrize(
    ("deadline", "shuts", "minutes"),
    [
        row(24 * 60, None, 60, id="no end is near"),
        row(75, None, 30, id="the deadline is in 75 minutes, and its order takes 15"),
        row(35, None, 10, id="it nears"),
        row(16, None, 5, id="it is there"),
        row(5, None, 5, id="it is past"),
        row(24 * 60, 75, 30, id="the window shuts in 75 minutes"),
        row(24 * 60, 25, 5, id="the window shuts in 25 minutes"),
        row(45, 24 * 60, 15, id="the deadline comes before that"),
    ],
)
def test_a_busy_host_is_asked_sooner_the_nearer_the_last_moment_is(
    deadline: int, shuts: int | None, minutes: int
) -> None:
    """After half of what is left until its order would not fit any more, and not more often than every five minutes."""
    zones = {} if shuts is None else {"": Opening(True, NOW - HOUR, NOW + timedelta(minutes=shuts))}
    document = policy(deadline=NOW + timedelta(minutes=deadline))
    found = decided(document, some(1, M.UPGRADING, end=E.BUSY, end_text="a backup runs", attempts=9), zones=zones)
    assert found.moves[0].not_before == NOW + timedelta(minutes=minutes)


def test_a_later_ring_that_asks_for_first_backups_makes_the_earlier_ones_wait_for_theirs() -> None:
    """Without `[verify]`: two days."""
    document = policy(Ring("canary", count=1), Ring("rest", checks=(Backups("each"),)))
    found = decided(document, some(1, M.UPGRADING, end=E.SUCCEEDED))
    assert moved_to(found) == [(M.VERIFYING, "")]
    assert moved_to(decided(document, some(1, M.UPGRADING, ring=1, end=E.SUCCEEDED)))[0] == (M.SUCCEEDED, "")


def test_the_end_of_a_verification_is_an_instant_to_look_again() -> None:
    """That of the member that began to wait first, whatever the order of storage."""
    waiting = [some(1, M.VERIFYING, since=NOW - at * HOUR, code=f"{at}")[0] for at in (1, 3, 2)]
    assert decided(policy(verification=Verification(4)), waiting).decide_again_at == NOW + HOUR
    found = decided(policy(verification=Verification(2.5), failure=BORNE), waiting)
    assert [move.client_id[0] for move in found.moves] == ["3"]


def test_failed_backups_are_taken_back_within_the_pace() -> None:
    """The others stay as they are until a place is free; nothing takes them for overdue meanwhile."""
    document = policy(verification=Verification(1), failure=GOES_BACK, pace=Pace(Amount(2), ramp=False))
    failed = some(5, M.VERIFYING, first_run=FirstRun.FAILED)
    found = decided(document, failed)
    assert [(move.to, move.action) for move in found.moves] == [(M.ROLLING_BACK, Action.ROLL_BACK)] * 2
    assert not decided(document, failed, state=R.PAUSED).moves, "a pause lets no order leave"
    assert decided(document, failed, state=R.HALTED).moves, "a halt stops upgrades, not what takes them back"


def test_a_place_that_becomes_free_in_a_decision_is_used_in_it() -> None:
    """An order that ended makes a place for a member that goes back."""
    document = policy(verification=Verification(9), failure=GOES_BACK, pace=Pace(Amount(1), ramp=False))
    found = decided(document, [*some(1, M.VERIFYING, first_run=FirstRun.FAILED), *some(1, M.UPGRADING, end=E.FAILED)])
    assert sorted(moved_to(found)) == [(M.FAILED, ""), (M.ROLLING_BACK, "BackupFailed")]


LATE = {"verification": VERIFIES, "failure": BORNE}


@pytest.mark.parametrize(
    ("facts", "changes", "expected"),
    [
        row(of_order(E.SUCCEEDED, M.LOST), {"verification": Verification()}, M.SUCCEEDED,
            id="a lost host that reports a success succeeded"),
        row(of_order(E.SUCCEEDED, M.LOST, first_run=FirstRun.SUCCEEDED), {}, M.SUCCEEDED,
            id="where a backup is awaited, once that succeeded"),
        row(of_order(E.SUCCEEDED, M.LOST), {}, None, id="until then it is lost"),
        row(of_order(E.ROLLED_BACK, M.LOST), {}, M.ROLLED_BACK, id="a lost host that reports a roll-back rolled back"),
        row(of_order(E.FAILED, M.LOST), {}, M.FAILED, id="a lost host that reports a failure failed"),
        row(of_order(E.REFUSED, M.LOST), {}, M.SKIPPED, id="a lost host that refused is skipped"),
        row(of_order(E.ALREADY_THERE, M.LOST), {}, M.ALREADY_THERE, id="a lost host may have been there already"),
        row(of_order(E.LOST, M.LOST), {}, None, id="a lost host that is silent stays lost"),
        row(of_order(E.BUSY, M.EXPIRED), {}, None, id="an expired host that was busy stays expired"),
        row(of_order(E.SUCCEEDED, M.EXPIRED), {"verification": Verification()}, M.SUCCEEDED,
            id="an expired host that succeeds later succeeded"),
        row(of_order(E.SUCCEEDED, M.EXPIRED), {"verification": Verification(), "state": R.EXPIRED}, M.SUCCEEDED,
            id="also after the rollout ended"),
        row(of_order(E.SUCCEEDED, M.EXPIRED, begun_at=None), {}, None, id="one that never began does not"),
        row(of_order(E.SUCCEEDED, M.LOST, rolled_back_once=True), {}, M.ROLLED_BACK,
            id="one that was lost on its way back and got there rolled back"),
        row(of_order(E.FAILED, M.LOST, rolled_back_once=True), {}, M.FAILED,
            id="one that was lost on its way back and could not failed"),
    ],
)  # fmt: skip
def test_late_truth(facts: dict[str, Any], changes: dict[str, Any], expected: Any) -> None:
    """A lost or expired member becomes what its host says."""
    state = changes.pop("state", R.RUNNING)
    found = decided(policy(**{**LATE, **changes}), some(1, **facts), state=state)
    assert [move.to for move in found.moves] == ([] if expected is None else [expected])
