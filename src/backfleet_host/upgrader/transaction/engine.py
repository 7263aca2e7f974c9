"""The transaction: from the installed version to that of the order, or back to exactly what was. Never between.

From the line `switching` on, the journal decides which way an attempt ends that a crash cut off: recovery.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import List, Optional

from backfleet_host.contract import Report
from backfleet_host.upgrader.errors import OrderFailed, Unhealthy
from backfleet_host.upgrader.transaction.attempt import Attempt
from backfleet_host.upgrader.transaction.checks import check
from backfleet_host.upgrader.transaction.draining import drain
from backfleet_host.upgrader.transaction.outcome import finish, meaning_of, succeed
from backfleet_host.upgrader.transaction.plan import Baseline, Plan
from backfleet_host.upgrader.transaction.rollback import Cause, roll_back
from backfleet_host.upgrader.transaction.staged import note_staged
from backfleet_host.upgrader.transaction.staging import fetch, stage
from backfleet_host.upgrader.transaction.switching import commit, switch, verify_version
from backfleet_host.upgrader.transaction.verdict import cause_of


def upgrade(attempt: Attempt) -> Report:
    """Install or upgrade. Whatever fails, the host is as it was, or rolled back. The caller holds the package's lock.

    Up to the step `switch` nothing changes that a user of the client could notice.
    """
    plan, baseline = Plan(), Baseline()
    try:
        with attempt.step("check"):
            plan = check(attempt)
        with attempt.step("fetch"):
            artifacts = fetch(attempt, plan)
        with attempt.step("stage"):
            baseline = stage(attempt, plan, artifacts)
        with attempt.step("drain"):
            baseline = replace(baseline, serving=drain(attempt, plan))
        with attempt.step("switch"):
            switch(attempt, plan, baseline)
        with attempt.step("prove"):
            verify_version(attempt, plan.policy, baseline, plan.goal)
        with attempt.step("commit"):
            commit(attempt)
    except Exception as problem:  # noqa: BLE001 - whatever it is, the host must not stay between two versions
        return end_failed(attempt, plan, baseline, problem)
    return succeed(attempt)


def prepare(attempt: Attempt) -> Report:
    """Carry out a precheck or a stage: the first steps of an upgrade, after which nothing is switched.

    What is staged stays for STAGED_SECONDS, and the upgrade that comes then has nothing to download. The caller holds
    the package's lock.
    """
    order, plan = attempt.order, Plan()
    refusals: Optional[List[OrderFailed]] = [] if order.kind == "precheck" else None
    try:
        with attempt.step("check"):
            plan = _checked(attempt, refusals)
        if order.kind == "stage":
            with attempt.step("fetch"):
                artifacts = fetch(attempt, plan)
            with attempt.step("stage"):
                stage(attempt, plan, artifacts)
            note_staged(attempt, plan.targets)
    except Exception as problem:  # noqa: BLE001 - whatever it is, the host must stay as it was
        return end_failed(attempt, plan, Baseline(), problem)
    done = "is downloaded and verified" if order.kind == "stage" else "would be taken now"
    return finish(attempt, attempt.report("succeeded", "", f"{order.version} {done}; nothing was switched"))


def _checked(attempt: Attempt, refusals: Optional[List[OrderFailed]]) -> Plan:
    """Return the plan. A precheck that finds refusals fails with the first one's code, and names all of them.

    Raises:
        OrderFailed: the order would be refused.
    """
    try:
        plan = check(attempt, refusals)
    except OrderFailed as problem:
        if not refusals or problem.code == "TaskCancelled":
            raise
        refusals.append(problem)
        plan = Plan()
    if not refusals:
        return plan
    found = list(dict.fromkeys((problem.code, problem.text) for problem in refusals))
    attempt.state.details["refusals"] = [{"code": code, "text": text} for code, text in found]
    texts = found[0][1] if len(found) == 1 else "; ".join(f"{code}: {text}" for code, text in found)
    raise OrderFailed(refusals[0].code, texts, refusals[0].reason)


def end_failed(attempt: Attempt, plan: Plan, baseline: Baseline, problem: Exception) -> Report:
    """End an attempt after a failure: leave the host as it is if nothing was switched, else roll back."""
    code, text = meaning_of(problem)
    attempt.note_reason(problem)
    if not attempt.state.has_switched:
        return finish(attempt, attempt.report("failed", code, text))
    if isinstance(problem, Unhealthy):
        cause, failed_before = cause_of(problem, attempt.state.trying, baseline, attempt.from_version)
        if failed_before:
            attempt.state.details.setdefault("reason", "FailedBefore")
    else:
        cause = Cause(code, text, is_its_fault=False)
    return roll_back(attempt, plan.policy.host, baseline, cause)
