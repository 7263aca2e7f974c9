"""Whether the checks before a ring hold (a policy's file calls them gates), and what is missing."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from backfleet.rollouts.model import CheckAnswer, FirstRun, Signals
from backfleet.rollouts.policy import Approval, Backups, BudgetCheck, Check, Manual, Prometheus, Soak, Webhook
from backfleet.rollouts.states import MemberState, RingState
from backfleet.rollouts.strategy.tally import Tally
from backfleet.values import value_object
from backfleet_host.texts import counted

NO_ANSWER: Final = CheckAnswer(False, "no answer yet")
_COUNTED_ANEW: Final = "; no retry mends that: cancel it, and apply its policy again, which counts from then on"


@value_object
class Answer:
    """Whether a check holds, why not, and when that may change by itself."""

    holds: bool
    why: str = ""
    until: datetime | None = None


def check_before(tally: Tally, signals: Signals, ring: int) -> Answer:
    """Return the first check of a ring that does not hold, or that all hold."""
    earliest: datetime | None = None
    for position, check in enumerate(tally.rollout.policy.rings[ring].checks):
        answer = answer_of(tally, signals, ring, position, check)
        if not answer.holds:
            return answer
        earliest = answer.until or earliest
    return Answer(True)


def ring_of_manual_check(tally: Tally, signals: Signals) -> int | None:
    """Return the next ring if a manual check of it is the first that does not hold; the rings before are through."""
    ring = next((number for number, run in enumerate(tally.rings) if run.state is RingState.PENDING), None)
    if ring is None or any(run.state is not RingState.FINISHED for run in tally.rings[:ring]):
        return None
    if (ring and not has_arrived(tally, ring)) or unanswered_watch(tally, signals):
        return None
    for position, check in enumerate(tally.rollout.policy.rings[ring].checks):
        if not answer_of(tally, signals, ring, position, check).holds:
            return ring if isinstance(check, Manual) else None
    return None


def has_arrived(tally: Tally, ring: int) -> bool:
    """Return whether the rings before one showed that the version works anywhere."""
    return any(tally.count(each, MemberState.SUCCEEDED, MemberState.ALREADY_THERE) for each in range(ring))


def broken_watch(tally: Tally, signals: Signals) -> str:
    """Return why a check that watches a running ring does not hold any more; "" if all do that have an answer."""
    for ring, position, check in _watching(tally):
        answer = _while_it_runs(tally, signals, ring, position, check)
        if not answer.holds and not _is_unanswered(signals, ring, position, check):
            return answer.why
    return ""


def unanswered_watch(tally: Tally, signals: Signals) -> str:
    """Return which check that watches a running ring has no answer that is fresh; "" if all have."""
    for ring, position, check in _watching(tally):
        if _is_unanswered(signals, ring, position, check):
            return answer_of(tally, signals, ring, position, check).why
    return ""


def _watching(tally: Tally) -> Iterator[tuple[int, int, Check]]:
    for ring, run in enumerate(tally.rings):
        if run.started_at is None or run.finished_at is not None:
            continue
        for position, check in enumerate(tally.rollout.policy.rings[ring].checks):
            if check.watches:
                yield ring, position, check


def _is_unanswered(signals: Signals, ring: int, position: int, check: Check) -> bool:
    return isinstance(check, Prometheus | Webhook) and (ring, position) not in signals.answers


def answer_of(tally: Tally, signals: Signals, ring: int, position: int, check: Check) -> Answer:
    """Return what one check of a ring says now. What is not known never holds."""
    match check:
        case Soak():
            answer = _soak(tally, ring, check)
        case BudgetCheck():
            answer = _budget(tally, ring, check)
        case Backups():
            answer = _backups(tally, signals, ring, check)
        case Approval():
            have = len(signals.approvals.get(ring, frozenset()))
            answer = Answer(have >= check.people, f"approval: {have} of {check.people} persons agreed")
        case Manual():
            answer = Answer(ring in signals.resumed, "manual: a person must resume the rollout")
        case _:
            found = signals.answers.get((ring, position), NO_ANSWER)
            answer = Answer(found.holds, f"{check.kind}: {found.why}")
    return answer


def _while_it_runs(tally: Tally, signals: Signals, ring: int, position: int, check: Check) -> Answer:
    """Return what a check says of a ring that runs: that ring counts too, and a backup still to come is no failure."""
    match check:
        case BudgetCheck():
            return _budget(tally, ring + 1, check)
        case Backups():
            is_to_come = not ring and signals.failed_runs_above_baseline is None  # nobody ran the version before
            answer = Answer(True) if is_to_come else _baseline(signals, check)
            if not answer.holds:
                is_counted = signals.failed_runs_above_baseline is not None
                return Answer(False, f"{answer.why}{_COUNTED_ANEW if is_counted else ''}")
            failed = sum(tally.board.first_runs[each, FirstRun.FAILED] for each in range(ring + 1))
            if check.first_run == "each" and failed:
                return Answer(False, f"backups: the first backup of {counted(failed, 'member')} failed")
            return answer
        case _:
            return answer_of(tally, signals, ring, position, check)


def _soak(tally: Tally, ring: int, check: Soak) -> Answer:
    since = tally.rings[ring - 1].finished_at if ring else tally.rollout.started_at
    if since is None:
        return Answer(False, f"soak: {check.hours:g} h begin when the ring before is finished")
    until = tally.end_of(since, timedelta(hours=check.hours))
    left_out = until - since - timedelta(hours=check.hours)
    note = f"; {left_out / timedelta(hours=1):.1f} h in which no server decided it do not count" if left_out else ""
    return Answer(tally.now >= until, f"soak: until {until:%Y-%m-%d %H:%M} UTC{note}", until)


def _budget(tally: Tally, ring: int, check: BudgetCheck) -> Answer:
    failed = sum(tally.failures(before) for before in range(ring))
    allowed = check.max_failed.of(sum(tally.board.ring_size(before) for before in range(ring)))
    return Answer(failed <= allowed, f"budget: {counted(failed, 'member')} failed so far, {allowed} may")


def _baseline(signals: Signals, check: Backups) -> Answer:
    above, allowed = signals.failed_runs_above_baseline, check.failures_above_baseline
    if allowed is None:
        return Answer(True)
    if above is None:
        return Answer(False, "backups: it is not known how many failed under this version")
    why = f"backups: {above} more failed than before the rollout, {allowed} are allowed"
    return Answer(above <= allowed, why)


def _backups(tally: Tally, signals: Signals, ring: int, check: Backups) -> Answer:
    answer = _baseline(signals, check)
    if not answer.holds or not check.first_run or not ring:  # nobody ran the version before the first ring
        return answer
    before = range(ring)
    runs = tally.board.first_runs
    begun = sum(runs[each, found] for each in before for found in FirstRun)
    succeeded = sum(runs[each, FirstRun.SUCCEEDED] for each in before)
    unknown = sum(runs[each, FirstRun.UNKNOWN] for each in before)
    needed = begun if check.first_run == "each" else min(1, begun)
    note = f"; of {unknown} the result cannot be known" if unknown else ""
    why = f"backups: {succeeded} of {needed} members had a first backup that succeeded{note}"
    return Answer(succeeded >= needed and begun > 0, why)
