"""The steps `switch`, `prove` and `commit`: the new version becomes current, is verified, and stays.

Source: docs/host.md.
"""

from __future__ import annotations

import time

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.errors import OrderFailed, Unhealthy
from backfleet_host.upgrader.failpoints import failpoint
from backfleet_host.upgrader.host import health, probes, shim, users
from backfleet_host.upgrader.host.installation import Installation, PackageFolder
from backfleet_host.upgrader.host.policy import Policy, Probe
from backfleet_host.upgrader.host.services import wait_until_idle
from backfleet_host.upgrader.host.subprocesses import Runner
from backfleet_host.upgrader.transaction.attempt import Attempt
from backfleet_host.upgrader.transaction.carrying import carry_additions
from backfleet_host.upgrader.transaction.draining import check_still_idle, left_running
from backfleet_host.upgrader.transaction.journal import SWITCHING, VERIFIED
from backfleet_host.upgrader.transaction.plan import Baseline, Plan

LEFTOVERS_SECONDS = 5.0  # for processes that a stopped service left running


def switch(attempt: Attempt, plan: Plan, baseline: Baseline) -> None:
    """Stop the service, snapshot the state, point to the new version in one step, start the service.

    Where the upgrade path has intermediate versions, each is switched to, verified and left again.
    """
    package, old = attempt.package, attempt.old_manifest()
    attempt.state.has_switched = True  # before the line is written: a write that failed may still be on the disk
    attempt.journal.write(SWITCHING, **baseline.journal_fields())
    disk.make_marker(package.unverified)
    failpoint("about to switch")
    check_still_idle(attempt)
    stopped_at = time.monotonic()
    if old is not None and baseline.serving:
        _stop_old_service(attempt, plan, old)
        failpoint("service stopped")
    preserved = plan.preserved_paths(old)
    if preserved:
        check_still_idle(attempt)
        attempt.preserved.snapshot(preserved, package.snapshot, attempt.check_cancelled)
    if plan.goal.version != attempt.from_version:
        # Durable together with `current`, which is in the same folder.
        disk.point_link(package.previous, attempt.from_version, durable=False)
    for target in plan.targets:
        _switch_to(attempt, plan, target.manifest, serving=baseline.serving)
        if target is not plan.targets[-1]:
            verify_version(attempt, plan.policy, baseline, target.manifest)
            _leave_intermediate_version(attempt, plan, baseline, target.manifest)
    if baseline.serving:
        attempt.state.details["service_down_seconds"] = round(time.monotonic() - stopped_at, 3)


def _stop_old_service(attempt: Attempt, plan: Plan, old: Manifest) -> None:
    try:
        attempt.service(old).stop()
    except Unhealthy as problem:  # this is no fault of the new version
        raise OrderFailed("HostBusy", f"{old.version}: {problem.text}") from None
    left = left_running(attempt, LEFTOVERS_SECONDS) if plan.must_be_idle(old) else []
    if left:
        raise OrderFailed("HostBusy", f"the service is stopped, and process {left[0]} still runs from {old.version}")


def _leave_intermediate_version(attempt: Attempt, plan: Plan, baseline: Baseline, manifest: Manifest) -> None:
    """Stop the service of an intermediate version, after a backup that it may have begun by itself."""
    if not baseline.serving or manifest.service is None:
        return
    service = attempt.service(manifest)
    if not wait_until_idle(service, plan.policy.host.drain_limit):
        text = f"a backup inside {manifest.version}, an intermediate version, was still running when the time was over"
        raise OrderFailed("BackupRunning", text)
    service.stop()


def _switch_to(attempt: Attempt, plan: Plan, manifest: Manifest, *, serving: bool) -> None:
    check_still_idle(attempt)
    attempt.state.trying = manifest.version
    carry_additions(attempt, manifest.version)  # again: a backup may have changed them since they were staged
    disk.point_link(attempt.package.current, manifest.version)
    failpoint("switched")
    write_shims(attempt.installation, attempt.package, manifest)
    attempt.state.started = None
    if serving and manifest.service is not None:
        service = attempt.trial_service(manifest, plan.policy.host.verify_limit)
        attempt.state.started = service.start(is_down=True)


def verify_version(attempt: Attempt, policy: Policy, baseline: Baseline, manifest: Manifest) -> None:
    """Verify a version from where it will run: its health command, the host's probes, its service, all state.

    Raises:
        Unhealthy: something fails that did not fail on the old version.
    """
    package, runner = attempt.package, attempt.trial_runner(policy.host.verify_limit)
    health.verify(manifest, package.current, runner, baseline.cannot_start)
    if manifest.version == attempt.order.version:  # nobody runs an intermediate version
        _run_shims(attempt, policy, baseline, manifest, runner)
    for probe in policy.package.probes:
        if probe.name not in baseline.failing_probes:
            _run_probe(attempt, probe, manifest, runner)
    if attempt.state.started is not None:
        attempt.service(manifest).check_stayed_up(attempt.state.started)
    changed = attempt.preserved.first_change(package.snapshot, attempt.check_time_to_verify)
    if changed:
        raise Unhealthy(f"preserved state was changed: {changed}")


def _run_shims(attempt: Attempt, policy: Policy, baseline: Baseline, manifest: Manifest, runner: Runner) -> None:
    """Run the shims as each user of the client. Where they did not run before the switch, that is only noted.

    A failure of the client itself, for a user that nobody named and where no version was before, is none: its health
    command may need what only its real users have.

    Raises:
        Unhealthy: they do not run for one of them. It is the version's fault if they ran for him before.
    """
    seen = baseline.served_users | baseline.unserved_users
    for user in users.users_of(attempt.installation, policy, sorted(seen)):
        failure = users.failure(user, manifest, attempt.installation.bin, attempt.package.current, runner)
        if failure is None:
            continue
        if user.name in baseline.unserved_users:
            attempt.state.details.setdefault("shims_failing", {})[user.name] = failure.text
        elif user.is_named or failure.is_of_shim or user.name in baseline.served_users:
            passing = failure.passing or user.name not in baseline.served_users
            text = f"{failure.text}; `users` in host.toml names those who run it"
            raise Unhealthy(text, failure.output, passing=passing, reason="ShimFails")


def _run_probe(attempt: Attempt, probe: Probe, manifest: Manifest, runner: Runner) -> None:
    """Run one of the host's probes. One that could not decide for all of its time is noted, and no reason to roll back.

    Raises:
        Unhealthy: the version fails it.
    """
    try:
        probes.run_probe(probe, manifest, attempt.package.tree(manifest.version), runner)
    except Unhealthy as problem:
        if problem.reason != "TemporaryFailure":
            raise
        attempt.state.details.setdefault("probes_undecided", []).append(probe.name)


def commit(attempt: Attempt) -> None:
    """Keep the new version, whatever fails from here on. Backups run again."""
    attempt.journal.write(VERIFIED)
    attempt.open_gate()


def write_shims(installation: Installation, package: PackageFolder, manifest: Manifest) -> None:
    """Write the shims of one version."""
    limit = installation.policy_or_default().wait_limit
    shim.write_shims(installation.bin, package.folder, package.name, manifest.programs, limit)
