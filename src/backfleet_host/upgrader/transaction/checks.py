"""The first step: everything that can be known before anything is fetched. Nothing is touched.

Source: docs/host.md.
"""

from __future__ import annotations

import shutil
import time
from typing import Any, Dict, Optional

from backfleet_host import archives
from backfleet_host.manifest import Manifest
from backfleet_host.platforms import canonical, platform_here
from backfleet_host.upgrader.host import disk, policy, shim, trees
from backfleet_host.upgrader.host.drift import others
from backfleet_host.upgrader.host.installation import Package
from backfleet_host.upgrader.refusal import Refusal
from backfleet_host.upgrader.release import upgrade_path
from backfleet_host.upgrader.release.source import Target
from backfleet_host.upgrader.transaction.attempt import Attempt

SPARE_DISK = 16 << 20  # bytes that stay free
BUSY_AGAIN_SECONDS = 1.0  # between looks whether a busy host still is
REBOOT_MARKS = ("run/reboot-required", "var/run/reboot-required")  # where Debian and its kin say so


def check(attempt: Attempt) -> None:
    """Everything that can be known before anything is fetched. Nothing is touched."""
    order, package, site = attempt.order, attempt.package, attempt.site
    ours = platform_here()
    if canonical(order.platform) != ours:
        raise Refusal("UnsupportedPlatform", f"the release is for {order.platform}, this host is {ours}")
    if shim.flock_program() is None:
        raise Refusal("UnsupportedPlatform", "flock(1) is missing; install util-linux")
    read_words(attempt)
    wait_until_host_is_ready(attempt)
    goal = attempt.source.find(site, order, attempt.go_on)
    attempt.targets = _way(attempt, goal)
    attempt.mending = _what_mends(attempt, goal)
    for target in attempt.targets:
        _check_release(attempt, target.manifest)
    for reader in (order.oldest_reader, attempt.words.oldest_reader):
        upgrade_path.check_format(goal.manifest, attempt.old, reader)
    needed = sum(target.length + target.manifest.unpacked_bytes for target in attempt.wanted) + SPARE_DISK
    free = shutil.disk_usage(str(package.folder)).free
    if free < needed:
        raise Refusal("DiskFull", f"{needed >> 20} MiB are needed in {package.folder}, {free >> 20} MiB are free")


def _check_release(attempt: Attempt, manifest: Manifest) -> None:
    """What a release on the way asks of this host, a stepping stone too."""
    check_not_held_back(attempt, manifest.version)
    if not attempt.service(manifest).can_be_run_here:
        raise Refusal("UnsupportedPlatform", "its service is a systemd unit only, and this host has no systemd")
    if manifest.needs_zstd and not archives.can_read_zstd():
        text = "the release is packed with zstd, which this host cannot read; install the program zstd"
        raise Refusal("UnsupportedPlatform", text)
    _check_no_other_manager(attempt, manifest)


def wait_until_host_is_ready(attempt: Attempt) -> None:
    """What this host's administrator asks for before anything is changed on it.

    Raises:
        Refusal: ManagedElsewhere, changes are switched off; HostBusy, the host was not ready in time.
    """
    if not (attempt.host_words.changes and attempt.words.changes):
        text = "this host's administrator has switched changes off (`changes` in /etc/backfleet); nothing was touched"
        raise Refusal("ManagedElsewhere", text)
    while True:
        why = _why_busy(attempt)
        if not why:
            return
        attempt.go_on("HostBusy", f"{why}; nothing was touched; ask again later")
        attempt.nap(BUSY_AGAIN_SECONDS)


def _why_busy(attempt: Attempt) -> str:
    words = attempt.host_words
    marks = [attempt.site.host / mark for mark in REBOOT_MARKS]
    if words.waits_for_reboot and any(mark.exists() for mark in marks):
        return "a reboot of this host is pending"
    load = attempt.site.load()
    if words.busiest and load > words.busiest:
        return f"this host's load is {load:.1f}, above {words.busiest}"
    return ""


def check_not_held_back(attempt: Attempt, version: str) -> None:
    """That this version was not taken back here a short while ago. Raises Refusal, RolledBack."""
    failure = remembered_failure(attempt.package, version, attempt.site.clock())
    if failure is not None and not attempt.order.tries_again:
        text = f"{version} was taken back on this host a short while ago: {failure.get('reason')}"
        raise Refusal("RolledBack", f"{text} (an order to try again tries it all the same)")


def remembered_failure(package: Package, version: str, now: float) -> Optional[Dict[str, Any]]:
    """Why this version was taken back on this host, if that is not long ago. A clock that was set back forgets it."""
    kept = disk.read_json(package.failed / version / "reason.json")
    try:
        return kept if kept is not None and float(kept["at"]) <= now < float(kept["until"]) else None
    except (KeyError, TypeError, ValueError):
        return None


def read_words(attempt: Attempt) -> None:
    """What this host's administrator says."""
    attempt.host_words = policy.read_host_words(attempt.site.etc)
    attempt.words = policy.read_package_words(attempt.site.etc, attempt.package.name)


def _way(attempt: Attempt, goal: Target) -> list[Target]:
    """The versions to go through: the goal alone, if it may be reached directly."""
    current, manifest = attempt.from_version, goal.manifest
    if current == manifest.version:  # it is to be mended
        return [goal]
    if upgrade_path.step_of(manifest).may_follow(current):
        return [goal]
    offered = {
        target.manifest.version: target for target in attempt.source.others(attempt.site, attempt.order, attempt.go_on)
    }
    versions = upgrade_path.way(current, manifest, [target.manifest for target in offered.values()])
    if versions is None:
        text = f"{manifest.version} may be reached from {manifest.upgrades_from} only, this host has {current}"
        raise Refusal("NotAllowedFrom", f"{text}, and no release leads there")
    return [goal if version == manifest.version else offered[version] for version in versions]


def _what_mends(attempt: Attempt, goal: Target) -> Optional[Target]:
    """What is installed, if it is not as it was unpacked: without a way back nothing is switched. None if it is whole.

    None too if nobody offers it any more: then the upgrade ends where the way back is looked at.
    """
    current = attempt.from_version
    if not current:
        return None
    if is_whole(attempt.package, current):
        attempt.whole_at = time.monotonic()
        return None
    if goal.manifest.version == current:
        return goal
    others = attempt.source.others(attempt.site, attempt.order, attempt.go_on)
    return next((target for target in others if target.manifest.version == current), None)


def is_whole(package: Package, version: str) -> bool:
    """Whether a version's tree is there, and as it was unpacked."""
    known = disk.read_json(package.facts(version)) or {}
    folder, files = package.tree(version), known.get("files")
    return isinstance(files, dict) and folder.is_dir() and not trees.differs(folder, files)


def _check_no_other_manager(attempt: Attempt, manifest: Manifest) -> None:
    stranger = shim.foreign(attempt.site.bin, attempt.package.name, manifest.programs)
    if stranger is not None:
        raise Refusal("ManagedElsewhere", f"{stranger} is not ours; remove it, or let what made it manage the client")
    if not attempt.from_version:  # later it is drift, told in every status
        for path, owner in others(attempt.site, attempt.package.name, manifest.programs).items():
            raise Refusal("ManagedElsewhere", f"{path} is there already: {owner}; remove it there first")
