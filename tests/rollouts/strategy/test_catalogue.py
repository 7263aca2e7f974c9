"""What went wrong elsewhere, by its number in the catalogue of failures."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from backfleet.rollouts.applying import moved_rollout
from backfleet.rollouts.assignment import Candidate, assign, ring_of_newcomer
from backfleet.rollouts.board import Board
from backfleet.rollouts.model import FirstRun, Member, OrderEnd, Rollout, Signals
from backfleet.rollouts.policy import Amount, Backups, Failure, Kind, Pace, Ring, Soak, Then, Verification
from backfleet.rollouts.simulation import History, Host, run
from backfleet.rollouts.states import ENDED
from backfleet.rollouts.strategy import decide
from rollouts.strategy.decisions import (
    FINISHED,
    HOUR,
    NOW,
    PENDING,
    RUNNING,
    M,
    R,
    Zones,
    begun,
    decided,
    policy,
    some,
)

CAREFUL = (Ring("canary", count=2), Ring("rest", checks=(Backups("each", 0, watches=True),)))


def simulated(document: object, members: list[Member], hosts: dict[str, Host]) -> History:
    from backfleet.rollouts.policy import Policy

    assert isinstance(document, Policy)
    rollout = Rollout("ro-1", "1", document, R.RUNNING, "2.0", (PENDING,) * len(document.rings), "a", "s",
                      started_at=NOW)  # fmt: skip
    return run(rollout, Board(document, members), hosts, Zones(), now=NOW)


def test_f20_a_release_that_is_healthy_by_its_processes_and_breaks_backups_stays_with_the_canaries() -> None:
    """The first real backup is what counts."""
    document = policy(*CAREFUL, deadline=NOW + 99 * HOUR)
    members = [*some(2), *some(50, ring=1)]
    history = simulated(document, members, {each.client_id: Host(first_run=FirstRun.FAILED) for each in members})
    assert {member.ring for member in history.board if member.begun_at} == {0}
    assert any(event.to == "halted" for event in history.events)


def test_f21_a_jump_in_failed_jobs_halts() -> None:
    """Beside what the fleet had before: as many as ever do not, nor does the budget, which bears everything here."""
    members = [*some(2, M.SUCCEEDED, first_run=FirstRun.SUCCEEDED), *some(5, ring=1)]
    document = policy(*CAREFUL, failure=Failure(Amount(percent=100)))
    found = {
        above: decided(document, members, FINISHED, RUNNING, signals=Signals(failed_runs_above_baseline=above))
        for above in (0, 1, 3, None)
    }
    assert {above: each.state for above, each in found.items()} == {0: None, 1: R.HALTED, 3: R.HALTED, None: R.HALTED}
    assert {above: len(begun(each)) for above, each in found.items()} == {0: 5, 1: 0, 3: 0, None: 0}
    assert "3 more failed than before the rollout, 0 are allowed" in found[3].reason


def test_f48_nobody_of_50000_is_in_an_open_state_after_the_deadline() -> None:
    """In whatever state the deadline found them."""
    facts: list[dict[str, Any]] = [
        {}, {"is_reachable": False, "code": "away"}, {"is_held": True, "code": "held"},
        {"pinned": "the audit", "code": "pinned"}, {"not_before": NOW + 90 * HOUR, "code": "busy"},
    ]  # fmt: skip
    waiting = [member for each in facts for member in some(4_000, **each)]
    under_way = [*some(10_000, M.UPGRADING), *some(9_000, M.VERIFYING)]
    failed = some(1_000, M.VERIFYING, first_run=FirstRun.FAILED)
    members = [*waiting, *under_way, *failed, *some(10_000, M.SUCCEEDED)]
    document = policy(failure=Failure(Amount(percent=100), Then.ROLL_BACK_MEMBER), verification=Verification(99))
    assert len(Board(document, members)) == 50_000
    rollout = Rollout("ro-1", "1", document, R.PAUSED, "2.0", (RUNNING,), "a", "s", reason="at night")
    found = decide(rollout, Board(document, members), Signals(), Zones(), NOW + 24 * HOUR)
    assert found.state in ENDED
    ended = {move.client_id: move.to for move in found.moves}
    assert (len(ended), set(ended.values())) == (40_000, {M.EXPIRED, M.FAILED})
    assert {each.client_id for each in failed} == {client for client, to in ended.items() if to is M.FAILED}


def test_f49_a_host_that_never_reports_again_is_lost_and_counts() -> None:
    """It does not stay under way for ever."""
    found = decided(policy(), [*some(5), *some(1, M.UPGRADING, end=OrderEnd.LOST)])
    assert ([move.to for move in found.moves], found.state) == ([M.LOST], R.HALTED)


def test_f50_two_rings_that_cross_the_threshold_at_once_halt_once_and_it_stays_halted() -> None:
    """However often it is decided again."""
    rings = (Ring("a", count=2, max_failed=Amount(0)), Ring("b", max_failed=Amount(0)))
    document = policy(*rings)
    members = [*some(5), *some(1, M.FAILED), *some(5, ring=1), *some(1, M.FAILED, ring=1)]
    rollout = Rollout("ro-1", "1", document, R.RUNNING, "2.0", (RUNNING, RUNNING), "a", "s")
    board, states = Board(document, members), []
    for minute in range(5):
        now = NOW + timedelta(minutes=minute)
        found = decide(rollout, board, Signals(), Zones(), now)
        states.append(found.state)
        rollout = moved_rollout(rollout, found, now)
    assert states == [R.HALTED, None, None, None, None]


def test_f51_clients_that_are_deleted_leave_the_shares_and_the_ring_can_finish() -> None:
    """10 % of those that are left."""
    document = policy(failure=Failure(Amount(percent=10)))
    members = [*some(15, M.SUCCEEDED), *some(2, M.FAILED), *some(3, M.UPGRADING)]
    board = Board(document, members)
    rollout = Rollout("ro-1", "1", document, R.RUNNING, "2.0", (RUNNING,), "a", "s")
    assert decide(rollout, board, Signals(), Zones(), NOW).state is None
    for member in some(3, M.UPGRADING):
        board.drop(member.client_id)
    assert decide(rollout, board, Signals(), Zones(), NOW).state is R.HALTED, "2 of 17 are more than 10 %"
    board.drop(some(2, M.FAILED)[0].client_id)
    assert decide(rollout, board, Signals(), Zones(), NOW).state is R.COMPLETED


def test_f53_a_host_that_cannot_be_reached_is_no_success() -> None:
    """It waits, expires, and the rollout does not call itself completed."""
    away = some(3, is_reachable=False)
    assert decided(policy(), [*some(5, M.SUCCEEDED), *away]).state is None
    found = decided(policy(), [*some(5, M.SUCCEEDED), *away], now=NOW + 24 * HOUR)
    assert ({move.to for move in found.moves}, found.state) == ({M.EXPIRED}, R.EXPIRED)


def test_f54_of_50_hosts_with_ten_percent_the_fifth_failure_is_borne_and_the_sixth_halts() -> None:
    """One written rule."""
    document = policy(failure=Failure(Amount(percent=10)))
    states = [decided(document, [*some(50 - failed), *some(failed, M.FAILED)]).state for failed in (4, 5, 6)]
    assert states == [None, None, R.HALTED]


def test_f55_a_rollout_whose_last_order_has_left_is_not_done() -> None:
    """It is once every host is final."""
    for state in (M.UPGRADING, M.VERIFYING, M.ROLLING_BACK):
        members = [*some(9, M.SUCCEEDED), *some(1, state)]
        assert decided(policy(verification=Verification(9)), members).state is None


def test_f56_the_first_ring_never_becomes_the_whole_fleet() -> None:
    """Newcomers go where the shares are not full; a count stays as it is."""
    document = policy(Ring("canary", count=2), Ring("early", percent=10), Ring("rest"))
    newcomer = Candidate("c", "i", "1.0", "linux-amd64", "stable")
    assert ring_of_newcomer(document, newcomer, (0, 0, 0)) == 2
    assert ring_of_newcomer(document, newcomer, (2, 9, 88)) == 1
    assert ring_of_newcomer(document, newcomer, (2, 10, 88)) == 2
    assert ring_of_newcomer(policy(Ring("early", percent=10), Ring("rest")), newcomer, (5, 0)) == 1


def test_f57_the_last_ring_is_not_starved_by_hosts_that_stay_away() -> None:
    """The ring before is finished without them; they are taken later."""
    document = policy(Ring("canary", count=1), Ring("early", percent=10), Ring("rest", checks=(Soak(1),)))
    members = [*some(1, M.SUCCEEDED), *some(5, ring=1, is_reachable=False), *some(5, ring=2)]
    found = decided(document, members, FINISHED, RUNNING, PENDING)
    assert [move.to.value for move in found.ring_moves] == ["finished"]
    later = replace(FINISHED, finished_at=NOW - HOUR)
    assert len(begun(decided(document, members, FINISHED, later, PENDING))) == 5


def test_f79_no_more_than_the_stated_share_begins_within_an_hour() -> None:
    """Though the window opens everywhere at one time, and places are free."""
    document = policy(pace=Pace(Amount(percent=100), ramp=False, per_hour=Amount(percent=5)))
    members = some(100)
    history = simulated(document, members, {each.client_id: Host() for each in members})
    times = sorted(event.at for event in history.events if event.to == "upgrading")
    assert len(times) == 100
    assert all(after - before > HOUR for before, after in zip(times, times[5:], strict=False))


def test_f80_settings_take_the_rings_too() -> None:
    """Content reaches everybody no faster than a program does."""
    document = policy(Ring("canary", count=2), Ring("rest"), kind=Kind.SETTINGS, settings={"MaxCpuCore": 2})
    members = [*some(2), *some(1000, ring=1)]
    history = simulated(document, members, {each.client_id: Host(end=OrderEnd.FAILED) for each in members})
    assert sum(member.begun_at is not None for member in history.board) == 2
    assert sum(event.to == "halted" for event in history.events) == 1


def test_f83_the_same_failure_on_many_hosts_is_the_releases_fault_and_nobody_is_tried_again() -> None:
    """No healer moves on to the next host, and none of them begins a second time by itself."""
    members = some(40)
    document = policy(failure=Failure(Amount(2)), pace=Pace(Amount(1), ramp=False))
    history = simulated(document, members, {each.client_id: Host(end=OrderEnd.FAILED) for each in members})
    assert sorted(member.attempts for member in history.board) == [0] * 37 + [1] * 3


def test_f84_hosts_do_not_begin_in_the_second_in_which_a_window_opens() -> None:
    """They are spread over the jitter."""
    policy_id = policy(pace=Pace(Amount(percent=100), ramp=False, jitter_seconds=600))
    candidates = [Candidate(f"c-{at}", f"i-{at}", "1.0", "", "") for at in range(600)]
    assert len(assign(policy_id, "ro-1", candidates).rings) == 600
    from backfleet.rollouts.assignment import rank_of

    members = [each._replace(rank=rank_of("ro-1", each.client_id)) for each in some(600)]
    history = simulated(policy_id, members, {each.client_id: Host() for each in members})
    times = [event.at for event in history.events if event.to == "upgrading"]
    assert max(times.count(at) for at in set(times)) < 60
