"""How far rollouts are, in figures: the budget that is left, the age of the oldest wait, and when one may be over."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from backfleet.rollouts import _store
from backfleet.rollouts.board import fails
from backfleet.rollouts.model import FirstRun, RingRun
from backfleet.rollouts.policy import Policy, Soak
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.states import FINAL, MemberState, RingState, RolloutState
from backfleet.rollouts.waiting import text_of
from backfleet.storage import Transaction
from backfleet.values import value_object

FEWEST: Final = 3  # members that have ended, before an end is expected
_UNDER_WAY: Final = (MemberState.UPGRADING, MemberState.VERIFYING, MemberState.ROLLING_BACK)
_ARRIVED: Final = (MemberState.SUCCEEDED, MemberState.ALREADY_THERE)


@value_object
class Left:
    """A budget: how many members may fail, and how many more may. Below 0 it is spent."""

    allowed: int
    failed: int

    @property
    def left(self) -> int:
        """How many more members may fail before the rollout halts."""
        return self.allowed - self.failed


@value_object
class Expected:
    """When a rollout may be over; None: nobody can say. `why`: why not, or who is not counted in; "" = no more."""

    at: datetime | None
    why: str = ""


@value_object
class Figures:
    """The figures of one rollout. `own`: the budgets of rings that have one, by number; None: it cannot be known."""

    budget: Left | None
    own: dict[int, Left]
    waits_since: dict[int, datetime]
    expected: Expected


_Row = tuple[str, int, MemberState, str, FirstRun, bool, bool, int]
Counts = dict[tuple[int, str], int]
"""Members by ring and state, as they are stored."""


def figures_of(
    tx: Transaction, records: Sequence[RolloutRecord], counts: dict[str, Counts], now: datetime
) -> dict[str, Figures]:
    """Return the figures of rollouts, in a constant number of queries.

    Args:
        tx: the transaction to read in.
        records: the rollouts.
        counts: their members.
        now: the time.
    """
    ids = [record.id for record in records]
    rows = _store.counts_that_may_fail(tx, ids)
    since = _store.oldest_waits(tx, ids)
    found = {}
    for record in records:
        waits = {}
        for number, run in enumerate(record.ring_runs):
            is_waiting = counts[record.id].get((number, MemberState.PENDING.value), 0)
            if is_waiting and run.started_at is not None and record.ended_at is None:
                waits[number] = max(since.get((record.id, number), run.started_at), run.started_at)
        failed = {} if record.unreadable else _failed(record.document, record.id, rows)
        budget, own = (None, {}) if record.unreadable else budgets(record.document, counts[record.id], failed)
        found[record.id] = Figures(budget, own, waits, expected_end(record, counts[record.id], now))
    return found


def budgets(policy: Policy, counts: Counts, failed: dict[int, int]) -> tuple[Left, dict[int, Left]]:
    """Return the rollout's budget, and those of the rings that set their own: their failures count there only."""
    sizes = Counter[int]()
    for (ring, _), number in counts.items():
        sizes[ring] += number
    own = {
        number: Left(ring.max_failed.of(sizes[number]), failed.get(number, 0))
        for number, ring in enumerate(policy.rings)
        if ring.max_failed is not None
    }
    shared = sum(failed.values()) - sum(each.failed for each in own.values())
    return Left(policy.failure.max_failed.of(sizes.total()), shared), own


def expected_end(record: RolloutRecord, counts: Counts, now: datetime) -> Expected:
    """Return when a rollout that runs may be over: at the pace so far, and after the soak times that are to come.

    Members that wait for something else than their turn are not foreseen, nor are windows and other gates; nothing is
    expected after the deadline.
    """
    runs = record.ring_runs
    if record.state is not RolloutState.RUNNING or record.unreadable:
        return Expected(None)
    waits = record.waiting
    if _stands_still(runs, counts, sum(waits.values())):
        return Expected(None, f"nobody can begin now: {text_of(waits)}")
    if _has_no_success(runs, counts):
        return Expected(None, "no member of the rings so far has succeeded")
    done = sum(number for (_, state), number in counts.items() if state in FINAL)
    left = sum(counts.values()) - done - sum(waits.values())
    spent = sum(((run.finished_at or now) - run.started_at for run in runs if run.started_at is not None), timedelta())
    if done < FEWEST or spent <= timedelta():
        return Expected(None, "too few members have ended")
    at = min(now + spent / done * left + _soak_to_come(record, now), record.deadline)
    return Expected(at, f"without {text_of(waits)}" if waits else "")


def _stands_still(runs: Sequence[RingRun], counts: Counts, waiting: int) -> bool:
    """Return whether a ring runs, and all of its members that are left wait for something else than their turn."""
    started = [number for number, run in enumerate(runs) if run.started_at is not None]
    pending = sum(counts.get((number, MemberState.PENDING.value), 0) for number in started)
    under_way = sum(number for (_, state), number in counts.items() if state in _UNDER_WAY)
    runs_one = any(run.state is RingState.RUNNING for run in runs)
    return runs_one and not under_way and 0 < pending <= waiting


def _has_no_success(runs: Sequence[RingRun], counts: Counts) -> bool:
    """Return whether all rings that have started are through without a member that has the version."""
    is_through = any(run.finished_at is not None for run in runs) and not any(
        run.state is RingState.RUNNING for run in runs
    )
    return is_through and not any(number for (_, state), number in counts.items() if state in _ARRIVED)


def _soak_to_come(record: RolloutRecord, now: datetime) -> timedelta:
    """Return how long the soak times of rings that have not started are still: of the next one, what is left of it."""
    to_come, before = timedelta(), RingRun(finished_at=record.started_at)
    for ring, run in zip(record.document.rings, record.ring_runs, strict=True):
        soak = sum((timedelta(hours=check.hours) for check in ring.checks if isinstance(check, Soak)), timedelta())
        passed = timedelta() if before.finished_at is None else max(now - before.finished_at, timedelta())
        to_come += max(soak - passed, timedelta()) if run.state is RingState.PENDING else timedelta()
        before = run
    return to_come


def _failed(policy: Policy, rollout_id: str, rows: Sequence[_Row]) -> dict[int, int]:
    found = Counter[int]()
    counts = policy.failure.counts
    for of, ring, state, code, first_run, has_begun, by_order, number in rows:
        if of == rollout_id and fails(state, code, first_run, counts, has_begun=has_begun, by_order=by_order):
            found[ring] += number
    return dict(found)
