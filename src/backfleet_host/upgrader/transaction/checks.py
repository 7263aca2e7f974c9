"""The first step: check everything that can be known before anything is downloaded, and make the plan.

Source: docs/host.md.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from backfleet_host import archives
from backfleet_host.manifest import Manifest
from backfleet_host.platforms import canonical, platform_here
from backfleet_host.release_rules import broken_rule
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.errors import NotAnswering, OrderFailed, Reason
from backfleet_host.upgrader.host import adopted, policy, rights, shim, trees
from backfleet_host.upgrader.host.drift import unmanaged_programs
from backfleet_host.upgrader.host.installation import PackageFolder
from backfleet_host.upgrader.host.policy import ADOPT, HostPolicy, Policy
from backfleet_host.upgrader.host.rights import Rights
from backfleet_host.upgrader.release import upgrade_path
from backfleet_host.upgrader.release.source import ReleaseTarget
from backfleet_host.upgrader.transaction.attempt import Attempt, known_files, known_manifest
from backfleet_host.upgrader.transaction.outcome import meaning_of
from backfleet_host.upgrader.transaction.plan import Plan
from backfleet_host.upgrader.transaction.staged import staged_path

SPARE_DISK = 16 << 20  # bytes that stay free
SPARE_INODES = 32  # files that can still be made
SHIM_BYTES = 64 << 10  # more than one takes
AWAY_SECONDS = 10.0  # for which the server of releases is tried where everything is staged
BUSY_AGAIN_SECONDS = 1.0  # between two looks at a busy host
REBOOT_MARKERS = ("run/reboot-required", "var/run/reboot-required")  # files by which Debian asks for a reboot


def check(attempt: Attempt, refusals: Optional[List[OrderFailed]] = None) -> Plan:
    """Check everything that can be known now, and return the plan. Nothing is touched.

    Args:
        attempt: the order.
        refusals: collects everything that an order would be refused for; without it the first one is raised. What
            makes the other checks impossible is raised all the same.

    Raises:
        OrderFailed: the order cannot be carried out on this host, or not now.
    """
    package = attempt.package
    with _noted(refusals):
        _check_platform(attempt)
    allowed = policy.read_policy(attempt.installation.etc, package.name)
    with _noted(refusals):
        wait_until_host_is_ready(attempt, allowed, is_patient=refusals is None)
    goal, staged = _find_goal(attempt)
    with _noted(refusals):
        _check_direction(attempt, allowed, goal.manifest)
    targets: Tuple[ReleaseTarget, ...] = (goal,)
    with _noted(refusals):
        targets = staged or _upgrade_path(attempt, goal)
    repair, intact_seen_at = _repair(attempt, goal)
    plan = Plan(allowed, targets, repair, intact_seen_at)
    with _noted(refusals):
        plan = dataclasses.replace(plan, rights=_rights(attempt))
    _check_plan(attempt, plan, refusals)
    return plan


@contextlib.contextmanager
def _noted(refusals: Optional[List[OrderFailed]]) -> Iterator[None]:
    """Collect a refusal, or let it be raised if nobody collects them. A cancelled order always ends."""
    try:
        yield
    except OrderFailed as problem:
        if refusals is None or problem.code == "TaskCancelled":
            raise
        refusals.append(problem)


def _find_goal(attempt: Attempt) -> Tuple[ReleaseTarget, Tuple[ReleaseTarget, ...]]:
    """Return the release that the order names; and where the server of releases is away, the path that is staged.

    What is staged was verified by signed metadata within the last week, and whoever sent the order has just judged it.

    Raises:
        OrderFailed: as `ReleaseSource.find`.
    """
    server, order = attempt.installation.release_server, attempt.order
    taken_over = _previous_taken_over(attempt)
    if taken_over is not None:
        return taken_over, ()
    ready = staged_path(attempt) if order.kind == "upgrade" else ()
    if not ready or not all(is_intact(attempt.package, target.manifest.version) for target in ready):
        return attempt.source.find(server, order, attempt.check_interrupted), ()
    until = time.monotonic() + AWAY_SECONDS

    def check_interrupted() -> None:
        attempt.check_interrupted()
        if time.monotonic() > until:
            raise OrderFailed("DownloadFailed", f"there was no answer within {AWAY_SECONDS:.0f} s", "TooSlow")

    try:
        return attempt.source.find(server, order, check_interrupted), ()
    except OrderFailed as problem:
        if problem.code != "DownloadFailed":
            raise
        attempt.check_interrupted()
        attempt.state.details["staged"] = f"the version that is staged was taken: {problem.text}"
        return ready[-1], ready


def _previous_taken_over(attempt: Attempt) -> Optional[ReleaseTarget]:
    """Return what was taken over from others, if the order rolls back to that: no metadata names it."""
    package, version = attempt.package, attempt.order.version
    if attempt.order.kind != upgrade_path.ROLL_BACK or not _was_adopted(package, version):
        return None
    manifest = known_manifest(package, version)
    is_there = manifest is not None and is_intact(package, version)
    return ReleaseTarget(f"{package.name}/{version}", 0, "", manifest) if manifest is not None and is_there else None


def _check_platform(attempt: Attempt) -> None:
    ours = platform_here()
    if canonical(attempt.order.platform) != ours:
        text = f"the release is for {attempt.order.platform}, and this host is {ours}; add a release for {ours}"
        raise OrderFailed("UnsupportedPlatform", text)
    if not shim.can_be_run_here(attempt.package.folder, attempt.package.name):
        raise OrderFailed("UnsupportedPlatform", "flock(1) is missing; install util-linux")


def _check_plan(attempt: Attempt, plan: Plan, refusals: Optional[List[OrderFailed]]) -> None:
    """Check what the releases of a plan need of this host."""
    order, allowed = attempt.order, plan.policy
    for target in plan.targets:
        with _noted(refusals):
            _check_release(attempt, target.manifest, allowed)
    for reader in (order.oldest_reader, allowed.package.oldest_reader):
        with _noted(refusals):
            upgrade_path.check_format(plan.goal, attempt.old_manifest(), reader)
    with _noted(refusals):
        check_programs_can_be_run(attempt)
    with _noted(refusals):
        _check_space(attempt.package, plan)
    for target in plan.targets:
        with _noted(refusals):
            check_shims_can_be_written(attempt, target.manifest.programs)


def check_shims_can_be_written(attempt: Attempt, programs: Dict[str, str]) -> None:
    """Check that the shims of these commands can be written: their folder may be on another disk than the root.

    Raises:
        OrderFailed: HostBusy or DiskFull, they cannot.
    """
    folder, package = attempt.installation.bin, attempt.package
    limit = attempt.installation.policy_or_default().wait_limit
    if shim.first_to_write(folder, package.folder, package.name, programs, limit) is None:
        return
    try:
        disk.check_writable(folder, SHIM_BYTES * max(1, len(programs)))
    except OSError as problem:
        code, text = meaning_of(problem)
        raise OrderFailed(code, f"{text}; shims belong in {folder}; nothing was touched") from None


def check_programs_can_be_run(attempt: Attempt) -> None:
    """Check that programs can be run where trees and shims are.

    Raises:
        OrderFailed: UnsupportedPlatform, one of them is on a mount without programs.
    """
    for wanted, what in ((attempt.package.versions, "versions"), (attempt.installation.bin, "shims")):
        folder = next(path for path in (wanted, *wanted.absolute().parents) if path.exists())
        if os.statvfs(str(folder)).f_flag & os.ST_NOEXEC:
            text = f"{what} are in {folder}, which is mounted `noexec`: no program can be run there"
            advice = "remount it with `exec`, or put the root elsewhere; nothing was touched"
            raise OrderFailed("UnsupportedPlatform", f"{text}; {advice}", "NoExec")


def _check_space(package: PackageFolder, plan: Plan) -> None:
    """Check that artifacts and trees fit on the disk, in bytes and in inodes. Raises OrderFailed, DiskFull."""
    needed, free = plan.disk_bytes() + SPARE_DISK, shutil.disk_usage(str(package.folder)).free
    if free < needed:
        text = f"{package.folder} has {free >> 20} MiB free; {needed >> 20} MiB are needed; remove files from its disk"
        raise OrderFailed("DiskFull", text)
    inodes, free_inodes = plan.inodes() + SPARE_INODES, _free_inodes(package.folder)
    if free_inodes < inodes:
        text = f"the disk of {package.folder} has {free_inodes} inodes free; {inodes} are needed; remove files from it"
        raise OrderFailed("DiskFull", text)


def _free_inodes(folder: Path) -> float:
    """Return how many files can be made on the disk of a folder; file systems without inodes (btrfs) give no number."""
    found = os.statvfs(str(folder))
    return found.f_favail if found.f_files else float("inf")


def _rights(attempt: Attempt) -> Dict[str, Rights]:
    """Return the rights of the installed commands; note those that somebody gave them in the report's details.

    Raises:
        OrderFailed: UnsupportedPlatform, they include capabilities, and none has an effect on this mount.
    """
    package, old = attempt.package, attempt.old_manifest()
    tree = package.tree(attempt.from_version)
    if old is None or not tree.is_dir():
        return {}
    found = rights.of_commands(tree, old, known_files(package, old.version), attempt.installation.bin)
    special = rights.of_special(found, tree)
    if special:
        attempt.state.details["rights"] = special
    lending = next((command for command, one in found.items() if one.lends_rights), "")
    if lending and os.statvfs(str(tree)).f_flag & os.ST_NOSUID:
        text = f"{lending} has {found[lending]}, which has no effect where {package.folder} is: it is mounted `nosuid`"
        advice = "remount it with `suid`, or take the capabilities away (`setcap -r`)"
        raise OrderFailed("UnsupportedPlatform", f"{text}; {advice}", "NoSuid")
    return found


def _check_release(attempt: Attempt, manifest: Manifest, allowed: Policy) -> None:
    """Check what a release on the upgrade path requires of this host, and that it asks for nothing of the system's."""
    broken = broken_rule(manifest, allowed.package.units)
    if broken:
        text = f"the release {manifest.package} {manifest.version} is refused, however it is signed: {broken}"
        raise OrderFailed("UntrustedRelease", text, "BadDescription")
    check_not_quarantined(attempt, manifest.version)
    if not attempt.service(manifest).can_be_run_here:
        text = f"the service of {manifest.version} is a systemd unit only, and this host has no systemd"
        raise OrderFailed("UnsupportedPlatform", text)
    if manifest.needs_zstd and not archives.can_read_zstd():
        text = "the release is packed with zstd, which this host cannot read; install the program zstd"
        raise OrderFailed("UnsupportedPlatform", text)
    _check_no_other_manager(attempt, manifest, allowed)


def wait_until_host_is_ready(attempt: Attempt, allowed: Policy, *, is_patient: bool = True) -> None:
    """Wait until this host's administrator allows changes, if it is patient.

    Raises:
        OrderFailed: ManagedElsewhere, changes are switched off; HostBusy, the host was not ready in time.
    """
    check_changes_allowed(allowed)
    while True:
        why, reason = _why_busy(attempt, allowed.host)
        if not why:
            return
        late = f"{why}; nothing was touched; ask again later"
        if not is_patient:
            raise OrderFailed("HostBusy", late, reason)
        attempt.check_interrupted("HostBusy", late, reason)
        attempt.sleep(BUSY_AGAIN_SECONDS)


def check_changes_allowed(allowed: Policy) -> None:
    """Check that this host's administrator has not switched changes off. Raises OrderFailed, ManagedElsewhere."""
    if not (allowed.host.changes and allowed.package.changes):
        text = "this host's administrator has switched changes off (`changes` in /etc/backfleet); nothing was touched"
        raise OrderFailed("ManagedElsewhere", text)


def _why_busy(attempt: Attempt, allowed: HostPolicy) -> Tuple[str, Reason]:
    markers = [attempt.installation.host / marker for marker in REBOOT_MARKERS]
    if allowed.waits_for_reboot and any(marker.exists() for marker in markers):
        return "a reboot of this host is pending", "RebootPending"
    load = attempt.installation.load()
    if allowed.busiest and load > allowed.busiest:
        return f"this host's load is {load:.1f}, above {allowed.busiest}", "HighLoad"
    return "", ""


def check_not_quarantined(attempt: Attempt, version: str) -> None:
    """Check that this version was not rolled back here recently. Raises OrderFailed, RolledBack."""
    failure = quarantine(attempt.package, version, attempt.installation.clock())
    if failure is not None and not attempt.order.tries_again:
        text = f"{version} was rolled back on this host recently: {failure.get('reason')}"
        raise OrderFailed("RolledBack", f"{text}; an order with TryAgain (`--try-again`) tries it all the same")


def quarantine(package: PackageFolder, version: str, now: float) -> Optional[Dict[str, Any]]:
    """Return why a version is quarantined on this host; None if it is not. A clock that was set back ends it.

    Args:
        now: Unix time.
    """
    record = disk.read_json(package.evidence(version) / "reason.json")
    try:
        return record if record is not None and float(record["at"]) <= now < float(record["until"]) else None
    except (KeyError, TypeError, ValueError):
        return None


def _check_direction(attempt: Attempt, allowed: Policy, goal: Manifest) -> None:
    """Check that the order goes up, or may go down. Raises OrderFailed, NotAllowedFrom.

    An uninstalled version counts like an installed one: otherwise two orders would do what one may not.
    """
    current, order = attempt.from_version or attempt.package.uninstalled_version(), attempt.order
    if not current or not goal.version_scheme.is_older(goal.version, current):
        return
    server = attempt.installation.release_server
    may = upgrade_path.may_go_down(
        goal.version,
        kind=order.kind,
        previous=attempt.previous,
        is_allowed=allowed.allows_downgrade,
        is_withdrawn=not attempt.source.is_offered(server, order, current, attempt.check_interrupted),
    )
    if not may:
        was = "is" if attempt.from_version else "was"
        text = f"{goal.version} is older than {current}, which {was} installed here and is still offered"
        below = attempt.previous and goal.version_scheme.is_older(attempt.previous, current)
        advice = f"withdraw {current}, roll back to {attempt.previous}" if below else f"withdraw {current}"
        last = "or set `allows_downgrade` in /etc/backfleet on this host"
        raise OrderFailed("NotAllowedFrom", f"{text}; {advice}, {last}")


def _upgrade_path(attempt: Attempt, goal: ReleaseTarget) -> Tuple[ReleaseTarget, ...]:
    """Return the releases to go through: the goal alone, if it may be reached directly."""
    current, manifest = attempt.from_version, goal.manifest
    if current == manifest.version:  # it is damaged, and repaired
        return (goal,)
    if manifest.accepts(current) or attempt.order.kind == upgrade_path.ROLL_BACK:
        return (goal,)
    server = attempt.installation.release_server
    others = attempt.source.others(server, attempt.order, attempt.check_interrupted)
    offered = {target.manifest.version: target for target in others}
    versions = upgrade_path.find_path(current, manifest, [target.manifest for target in offered.values()])
    if versions is None:
        text = f"{manifest.version} may be reached from {manifest.upgrades_from} only, this host has {current}"
        raise OrderFailed("NotAllowedFrom", f"{text}, and no offered release leads there; offer one that does")
    return tuple(goal if version == manifest.version else offered[version] for version in versions)


def _repair(attempt: Attempt, goal: ReleaseTarget) -> Tuple[Optional[ReleaseTarget], float]:
    """Return the installed release, if it is damaged: nothing is switched without a version to roll back to.

    Returns:
        The release, or None if it is intact or no longer offered (the staging step then fails); and when it was found
        intact, in monotonic seconds.
    """
    current = attempt.from_version
    if not current:
        return None, float("-inf")
    is_goal = goal.manifest.version == current
    if is_intact_release(attempt.package, current) or (not is_goal and is_intact(attempt.package, current)):
        return None, time.monotonic()
    if is_goal:
        return goal, float("-inf")
    server = attempt.installation.release_server
    others = attempt.source.others(server, attempt.order, attempt.check_interrupted)
    return next((target for target in others if target.manifest.version == current), None), float("-inf")


def is_intact_release(package: PackageFolder, version: str) -> bool:
    """Return whether a version's tree is that of a signed release, and not what was taken over from others."""
    return is_intact(package, version) and not _was_adopted(package, version)


def _was_adopted(package: PackageFolder, version: str) -> bool:
    return bool((disk.read_json(package.facts(version)) or {}).get("adopted", False))


def is_ready(attempt: Attempt, version: str) -> bool:
    """Return whether nothing of a version needs to be fetched. What was taken over is enough to roll back to."""
    if attempt.order.kind == upgrade_path.ROLL_BACK:
        return is_intact(attempt.package, version)
    return is_intact_release(attempt.package, version)


def is_intact(package: PackageFolder, version: str) -> bool:
    """Return whether a version's tree is as it was unpacked."""
    known = disk.read_json(package.facts(version)) or {}
    folder, files = package.tree(version), known.get("files")
    return isinstance(files, dict) and folder.is_dir() and not trees.first_difference(folder, files)


def _check_no_other_manager(attempt: Attempt, manifest: Manifest, allowed: Policy) -> None:
    """Check that our shims have their places. Raises OrderFailed, ManagedElsewhere, a program of others is there."""
    advice = f"`backfleet-host adopt {attempt.package.name}` on this host takes its place, with a way back"
    unmanaged = shim.first_unmanaged(attempt.installation.bin, attempt.package.name, manifest.programs)
    if unmanaged is not None:
        raise OrderFailed("ManagedElsewhere", f"{unmanaged} is not ours; {advice}")
    if allowed.adopt != ADOPT[0] or adopted.read(attempt.package) is not None:
        return  # what is elsewhere may stay there
    old = attempt.old_manifest()
    fresh = [command for command in manifest.programs if old is None or command not in old.programs]
    if attempt.from_version and old is None:
        return  # which commands it has had is not known; afterwards it is drift, and every status reports it
    try:
        others = unmanaged_programs(attempt.installation, attempt.package.name, fresh)
    except NotAnswering as problem:
        text = f"{problem.filename}, where another program of that name may be: {problem.strerror}; mend or unmount it"
        raise OrderFailed("HostBusy", f"{text}; nothing was touched", problem.reason) from None
    for path, owner in others.items():
        text = f"{path} exists already: {owner}; {advice}"
        raise OrderFailed("ManagedElsewhere", f'{text}, or `adopt = "shadow"` in /etc/backfleet goes beside it')
