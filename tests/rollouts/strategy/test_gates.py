"""What must hold before a ring starts, and what halts it while it runs."""

from typing import Any

import pytest

from backfleet.rollouts.model import CheckAnswer, FirstRun, Member, Signals
from backfleet.rollouts.policy import (
    Amount,
    Approval,
    Backups,
    BudgetCheck,
    Check,
    Failure,
    Manual,
    Policy,
    Prometheus,
    Ring,
    Soak,
    Webhook,
)
from backfleet.rollouts.states import RingState
from rollouts.strategy.decisions import FINISHED, HOUR, NOW, PENDING, RUNNING, M, R, begun, decided, policy, row, some

OK = FirstRun.SUCCEEDED
DONE = some(4, M.SUCCEEDED, first_run=OK)
REST = some(5, ring=1)
WATCHED_WEBHOOK = Webhook("https://w", watches=True)
PROMETHEUS, WEBHOOK = Prometheus("http://p", "up", below=1), Webhook("https://w")


def behind(check: Check) -> Policy:
    return policy(Ring("canary", count=4), Ring("rest", checks=(check,)), failure=Failure(Amount(percent=100)))


@pytest.mark.parametrize(
    ("check", "signals", "before", "why"),
    [
        row(Soak(2), {}, DONE, "", id="a soak of two hours is over after two hours"),
        row(Soak(2.5), {}, DONE, "soak: until 2026-12-01 12:30 UTC", id="a soak of two and a half is not"),
        row(Soak(0), {}, DONE, "", id="a soak of no time holds"),
        row(BudgetCheck(Amount(0)), {}, DONE, "", id="a budget gate holds without failures"),
        row(BudgetCheck(Amount(1)), {}, [*DONE, *some(1, M.FAILED)], "", id="a budget gate bears its number"),
        row(BudgetCheck(Amount(1)), {}, [*DONE, *some(2, M.FAILED)], "budget: 2 members failed so far, 1 may",
            id="a budget gate bears no more"),
        row(BudgetCheck(Amount(percent=20)), {}, [*DONE, *some(1, M.LOST)], "", id="a share of the rings before"),
        row(BudgetCheck(Amount(percent=19)), {}, [*DONE, *some(1, M.LOST)], "budget: 1 member failed so far, 0 may",
            id="a share rounds down"),
        row(Backups("each"), {}, DONE, "", id="each had a first backup that succeeded"),
        row(Backups("each"), {}, [*DONE, *some(1, M.SUCCEEDED)],
            "backups: 4 of 5 members had a first backup that succeeded", id="one had none yet"),
        row(Backups("each"), {}, [*DONE, *some(1, M.SUCCEEDED, first_run=FirstRun.UNKNOWN)],
            "backups: 4 of 5 members had a first backup that succeeded; of 1 the result cannot be known",
            id="not known never counts as well, and is shown"),
        row(Backups("each"), {}, [*DONE, *some(1, M.FAILED, code="BackupFailed", first_run=FirstRun.FAILED)],
            "backups: 4 of 5 members had a first backup that succeeded", id="a borne failure of a backup is still one"),
        row(Backups("each"), {}, [*DONE, *some(1, M.SKIPPED, code="ManagedElsewhere")], "",
            id="a host that refused has no backup to show"),
        row(Backups("each"), {}, [*DONE, *some(1, M.ROLLED_BACK)], "", id="nor has one that rolled back"),
        row(Backups("each"), {}, [*DONE, *some(1, M.ALREADY_THERE)], "", id="nor one that was there already"),
        row(Backups("each"), {}, [*DONE, *some(1, M.LOST)], "backups: 4 of 5 members had a first backup that succeeded",
            id="a lost one may run the version, and nobody knows how well"),
        row(Backups("any"), {}, [*some(3, M.SUCCEEDED), *some(1, M.SUCCEEDED, first_run=OK, code="z")], "",
            id="any: one is enough"),
        row(Backups("any"), {}, some(4, M.SUCCEEDED), "backups: 0 of 1 members had a first backup that succeeded",
            id="any: none is not"),
        row(Backups("", 0), {}, DONE, "", id="no more failed runs than before"),
        row(Backups("", 0), {"failed_runs_above_baseline": 1}, DONE,
            "backups: 1 more failed than before the rollout, 0 are allowed", id="one more failed run than before"),
        row(Backups("", 3), {"failed_runs_above_baseline": 3}, DONE, "", id="as many more as are allowed"),
        row(Backups("", 3), {"failed_runs_above_baseline": None}, DONE,
            "backups: it is not known how many failed under this version", id="failed runs that nobody can count"),
        row(Approval(2), {"approvals": {1: frozenset("ab")}}, DONE, "", id="two persons of two agreed"),
        row(Approval(2), {"approvals": {1: frozenset("a")}}, DONE, "approval: 1 of 2 persons agreed", id="one of two"),
        row(Approval(1), {"approvals": {0: frozenset("a")}}, DONE, "approval: 0 of 1 persons agreed",
            id="an approval of another ring"),
        row(Manual(), {}, DONE, "manual: a person must resume the rollout", id="nobody has resumed"),
        row(Manual(), {"resumed": frozenset({1})}, DONE, "", id="somebody has"),
        row(PROMETHEUS, {}, DONE, "prometheus: no answer yet", id="no answer of prometheus is no"),
        row(PROMETHEUS, {"answers": {(1, 0): CheckAnswer(True, "0.5")}}, DONE, "", id="an answer of prometheus"),
        row(WEBHOOK, {"answers": {(1, 0): CheckAnswer(False, "HTTP 500")}}, DONE, "webhook: HTTP 500",
            id="a webhook that says no, and why"),
        row(WEBHOOK, {"answers": {(0, 0): CheckAnswer(True, "")}}, DONE, "webhook: no answer yet",
            id="an answer to another ring's gate"),
    ],
)  # fmt: skip
def test_a_gate(check: Check, signals: dict[str, Any], before: list[Member], why: str) -> None:
    """Holds, or says why it does not; then nobody of its ring begins."""
    found = decided(behind(check), [*before, *REST], FINISHED, PENDING, signals=Signals(**signals))
    assert found.waits_for == why
    assert len(begun(found)) == (0 if why else 5)


def test_all_gates_of_a_ring_must_hold() -> None:
    """The first that does not is named, and when it may."""
    rings = (Ring("canary", count=4), Ring("rest", checks=(Soak(1), Soak(3), Manual())))
    found = decided(policy(*rings), [*DONE, *REST], FINISHED, PENDING)
    assert (found.waits_for, found.decide_again_at) == ("soak: until 2026-12-01 13:00 UTC", NOW + HOUR)


def test_a_gate_that_does_not_watch_is_not_asked_again() -> None:
    """Its ring has started."""
    document = behind(BudgetCheck(Amount(0)))
    assert decided(document, [*DONE, *some(1, M.FAILED), *REST], FINISHED, RUNNING).state is None


@pytest.mark.parametrize(
    ("check", "signals", "members", "reason"),
    [
        row(Backups("", 0, watches=True), {"failed_runs_above_baseline": 1}, DONE,
            "backups: 1 more failed than before the rollout, 0 are allowed; no retry mends that: cancel it, and apply "
            "its policy again, which counts from then on", id="failed runs jump while a ring runs"),
        row(Backups("", 0, watches=True), {"failed_runs_above_baseline": None}, DONE,
            "backups: it is not known how many failed under this version",
            id="failed runs cannot be counted any more"),
        row(Backups("", 0, watches=True), {}, DONE, "", id="failed runs stay as they were"),
        row(Backups("each", watches=True), {}, [*DONE, *some(1, M.VERIFYING)], "",
            id="a latecomer whose backup is still to come"),
        row(Backups("each", watches=True), {}, [*DONE, *some(1, M.FAILED, ring=1, code="BackupFailed",
            first_run=FirstRun.FAILED)], "backups: the first backup of 1 member failed",
            id="a first backup of the ring itself fails"),
        row(BudgetCheck(Amount(0), watches=True), {}, [*DONE, *some(1, M.FAILED, ring=1)],
            "budget: 1 member failed so far, 0 may", id="a failure in the ring that runs"),
        row(Prometheus("", "q", below=1, watches=True), {"answers": {(1, 0): CheckAnswer(False, "7 is not below 1")}},
            DONE, "prometheus: 7 is not below 1", id="prometheus says no while the ring runs"),
        row(Prometheus("", "q", below=1, watches=True), {"answers": {(1, 0): CheckAnswer(True, "")}}, DONE, "",
            id="prometheus still says yes"),
        row(WATCHED_WEBHOOK, {"answers": {(1, 0): CheckAnswer(False, "no answer: refused")}}, DONE,
            "webhook: no answer: refused", id="a webhook was asked and did not answer"),
        row(WATCHED_WEBHOOK, {"answers": {(1, 0): CheckAnswer(True, "")}}, DONE, "", id="a webhook agrees"),
    ],
)  # fmt: skip
def test_a_gate_that_watches(check: Check, signals: dict[str, Any], members: list[Member], reason: str) -> None:
    """Halts the rollout while its ring runs; no order leaves in that decision."""
    document = behind(check)
    found = decided(document, [*members, *REST], FINISHED, RUNNING, signals=Signals(**signals))
    assert found.state is (R.HALTED if reason else None)
    assert found.reason == (f"a check that watches does not hold: {reason}" if reason else "")
    assert not (reason and begun(found))


@pytest.mark.parametrize("check", [WATCHED_WEBHOOK, Prometheus("", "q", below=1, watches=True)])
def test_a_gate_that_watches_and_was_not_asked_lately_lets_nobody_begin(check: Check) -> None:
    """After a resume, or a time in which no server ran: its answer is waited for, and silence halts nothing."""
    found = decided(behind(check), [*DONE, *REST], FINISHED, RUNNING)
    assert (found.state, begun(found)) == (None, [])
    assert found.waits_for == f"{check.kind}: no answer yet"
    yes = Signals(answers={(1, 0): CheckAnswer(True, "")})
    assert len(begun(decided(behind(check), [*DONE, *REST], FINISHED, RUNNING, signals=yes))) == 5


def test_a_gate_that_watches_does_not_watch_a_ring_that_is_finished() -> None:
    """What happens then is the next ring's business."""
    found = decided(behind(Webhook("https://w", watches=True)), DONE, FINISHED, FINISHED)
    assert found.state is R.COMPLETED


def test_a_watching_backups_gate_lets_the_first_ring_start() -> None:
    """Nobody ran the version before it."""
    document = policy(Ring("canary", count=5, checks=(Backups("each", 0, watches=True),)), Ring("rest"))
    found = decided(document, some(5), PENDING, PENDING)
    assert [(move.ring, move.to) for move in found.ring_moves] == [(0, RingState.RUNNING)]
