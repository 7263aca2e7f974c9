"""Recovery: finish or undo what a crash left of an attempt. The last line of its journal decides."""

from __future__ import annotations

import contextlib
import os

from backfleet_host.contract import Report
from backfleet_host.upgrader import disk, gate
from backfleet_host.upgrader.errors import OrderFailed, Unhealthy
from backfleet_host.upgrader.host import preserved_state
from backfleet_host.upgrader.host.installation import Installation, PackageFolder
from backfleet_host.upgrader.host.policy import HostPolicy, Policy, read_policy
from backfleet_host.upgrader.transaction.attempt import Attempt, Progress, known_manifest, resume_attempt
from backfleet_host.upgrader.transaction.draining import close_gate, wait_for_runs
from backfleet_host.upgrader.transaction.engine import end_failed
from backfleet_host.upgrader.transaction.journal import ROLLING_BACK, SWITCHING, VERIFIED, OpenAttempt
from backfleet_host.upgrader.transaction.outcome import ENDED_EARLY, finish, succeed
from backfleet_host.upgrader.transaction.plan import Baseline, Plan
from backfleet_host.upgrader.transaction.rollback import Cause, roll_back
from backfleet_host.upgrader.transaction.switching import verify_version, write_shims
from backfleet_host.upgrader.transaction.uninstall import resume_uninstall


def recover(installation: Installation, cut_off: OpenAttempt, progress: Progress, timeout_seconds: int) -> Report:
    """Finish or undo an attempt that a crash cut off. The caller holds the package's lock.

    If neither is possible now, the journal stays open, and the next start comes here again.

    | last line | what is done |
    | none, or before `switching` | half-made files are removed; the old version runs; the order may be repeated |
    | the same, `current` is another one than before, and not verified | the journal has lost its end: roll back |
    | `switching`, `current` is not the goal yet | roll back, the service and all state too |
    | `switching`, `current` is the goal | verify it now: keep it if it is healthy, else roll back |
    | `going back` | go on rolling back |
    | `proven` | keep it |
    | before `switching`, or `proven`, and `current` is lost | it is made again first |
    """
    attempt = resume_attempt(installation, cut_off, progress, timeout_seconds)
    installation.end_orphans(str(attempt.package.folder))
    with attempt.helpers, attempt.closed_gate:
        if cut_off.order.kind == "uninstall":
            return resume_uninstall(attempt, cut_off)
        _make_link_again(attempt.package, cut_off)
        if not cut_off.has(SWITCHING):
            current, verified = attempt.package.version(), disk.version_of_link(attempt.package.verified)
            if current not in ("", cut_off.from_version, verified):
                return _recover_without_end(attempt)
            there = current or cut_off.from_version or "nothing"
            text = f"{ENDED_EARLY} the switch; {there} is installed as before; ask again"
            return finish(attempt, attempt.report("failed", "HostBusy", text))
        return _recover_switched(attempt, cut_off)


def _make_link_again(package: PackageFolder, cut_off: OpenAttempt) -> None:
    """Make the link `current` again where it is lost, too: the journal says where it led, or a rollback does so."""
    if os.path.lexists(str(package.current)):
        return
    is_kept = cut_off.has(VERIFIED) and not cut_off.has(ROLLING_BACK)
    before = "" if cut_off.has(SWITCHING) else cut_off.from_version
    version = cut_off.order.version if is_kept else before
    if version and package.tree(version).is_dir():
        disk.point_link(package.current, version)


def _recover_switched(attempt: Attempt, cut_off: OpenAttempt) -> Report:
    baseline = _baseline_of(cut_off)
    if cut_off.has(VERIFIED) and not cut_off.has(ROLLING_BACK):
        _serve_again(attempt, baseline)
        return succeed(attempt, message="finished after a crash")
    attempt.state.has_switched = True
    attempt.state.trying = cut_off.field(ROLLING_BACK, "trying") or attempt.order.version
    try:
        _hold_still(attempt)
    except OrderFailed as problem:
        return attempt.report("failed", problem.code, problem.text)
    policy = attempt.installation.policy_or_default()
    if cut_off.has(ROLLING_BACK):
        code, reason, is_its_fault = (cut_off.field(ROLLING_BACK, name) for name in ("code", "reason", "is_its_fault"))
        return roll_back(attempt, policy, baseline, Cause(code, reason, bool(is_its_fault)))
    if attempt.package.version() == cut_off.order.version != cut_off.from_version:
        return _verify_after_crash(attempt, policy, baseline)
    cause = Cause("InternalError", "cut off in the middle of the switch; ask again", is_its_fault=False)
    return roll_back(attempt, policy, baseline, cause)


def _recover_without_end(attempt: Attempt) -> Report:
    """Roll back what was switched although its journal does not say so: the disk lost the end of it."""
    attempt.state.has_switched, attempt.state.trying = True, attempt.order.version
    try:
        _hold_still(attempt)
    except OrderFailed as problem:
        return attempt.report("failed", problem.code, problem.text)
    old = attempt.old_manifest()
    baseline = Baseline(serving=old is not None and old.service is not None)
    cause = Cause("InternalError", "its journal has lost its end; ask again", is_its_fault=False)
    return roll_back(attempt, attempt.installation.policy_or_default(), baseline, cause)


def _baseline_of(cut_off: OpenAttempt) -> Baseline:
    """Return the baseline that the line `switching` has. Older programs wrote fewer fields."""
    users = cut_off.field(SWITCHING, "users", {})
    return Baseline(
        serving=bool(cut_off.field(SWITCHING, "serving", False)),
        unhealthy=cut_off.field(SWITCHING, "unwell"),
        failing_probes=frozenset(cut_off.field(SWITCHING, "failing", ())),
        words=cut_off.field(SWITCHING, "words"),
        served_users=frozenset(users.get("served", ())),
        unserved_users=frozenset(users.get("unserved", ())),
        cannot_start=frozenset(cut_off.field(SWITCHING, "cannot_start", ())),
    )


def _serve_again(attempt: Attempt, baseline: Baseline) -> None:
    """Start the service if it ran before: the machine may have gone down since."""
    manifest = known_manifest(attempt.package, attempt.package.version())
    if manifest is not None and baseline.serving:
        with contextlib.suppress(Unhealthy):  # the version was verified: what stops its service now, status reports
            attempt.service(manifest).start()


def _hold_still(attempt: Attempt) -> None:
    """Close the gate. Where the client must be idle, wait for backups that began since the crash.

    It must be idle where state is compared, and where a version asks for it.

    Raises:
        OrderFailed: BackupRunning, a backup ran for longer than there was time.
    """
    package = attempt.package
    gate.make_lock_files(package.folder)
    if not package.unverified.exists():  # a rollback that was cut off at its end; commands need it to pass the gate
        disk.make_marker(package.unverified)
    with contextlib.suppress(OrderFailed):
        close_gate(attempt)
    known = [known_manifest(package, version) for version in (package.version(), attempt.from_version)]
    if (package.snapshot / preserved_state.INDEX).exists() or any(
        found is not None and found.switch == "idle" for found in known
    ):
        late = f"{package.version()} is not verified yet; ask again when the backup that runs on it has ended"
        wait_for_runs(attempt, late)


def _verify_after_crash(attempt: Attempt, policy: HostPolicy, baseline: Baseline) -> Report:
    """Verify a version that was switched to and not verified before the crash."""
    attempt.begin("prove")
    plan = Plan(Policy(policy))
    try:
        manifest = known_manifest(attempt.package, attempt.order.version)
        if manifest is None:
            raise Unhealthy(f"the description of {attempt.order.version} is missing or unreadable")
        plan = Plan(read_policy(attempt.installation.etc, attempt.package.name))
        write_shims(attempt.installation, attempt.package, manifest)
        if baseline.serving and manifest.service is not None:
            attempt.state.started = attempt.trial_service(manifest, plan.policy.host.verify_limit).start()
        verify_version(attempt, plan.policy, baseline, manifest)
        attempt.journal.write(VERIFIED)
    except Exception as problem:  # noqa: BLE001 - whatever it is, the host must not stay between two versions
        return end_failed(attempt, plan, baseline, problem)
    attempt.open_gate()
    return succeed(attempt, message="verified after a crash")
