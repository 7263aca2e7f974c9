"""The steps `fetch` and `stage`: the new versions complete on disk beside the old one, and the old one verified."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import Dict, FrozenSet, Set, Tuple

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader import disk, gate
from backfleet_host.upgrader.errors import OrderFailed, Unhealthy
from backfleet_host.upgrader.failpoints import failpoint
from backfleet_host.upgrader.host import health, probes, rights, shim, trees, users
from backfleet_host.upgrader.transaction.attempt import Attempt, known_files, known_manifest
from backfleet_host.upgrader.transaction.carrying import carry_additions, keep_edited_shims, keep_over_repair
from backfleet_host.upgrader.transaction.checks import is_intact, is_ready
from backfleet_host.upgrader.transaction.fetching import Artifact, fetch_release
from backfleet_host.upgrader.transaction.plan import Baseline, Plan
from backfleet_host.upgrader.transaction.verdict import words_of

NO_EXCHANGE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS)  # how a system says that it cannot exchange two folders
INTACT_SECONDS = 30.0  # for which a tree that was found intact is not checked again


def fetch(attempt: Attempt, plan: Plan) -> Dict[str, Artifact]:
    """Download and verify every artifact that is needed; return their files by version."""
    limits = (attempt.order.bytes_per_second, plan.policy.host.bytes_per_second)
    bytes_per_second = min(filter(None, limits), default=0)

    def check_interrupted() -> None:
        late = "the download took too long; what came is kept for the next order"
        attempt.check_interrupted("DownloadFailed", late)

    return {
        target.manifest.version: fetch_release(attempt, plan, target, bytes_per_second, check_interrupted)
        for target in plan.needed
        if not is_ready(attempt, target.manifest.version)
    }


def stage(attempt: Attempt, plan: Plan, artifacts: Dict[str, Artifact]) -> Baseline:
    """Unpack the artifacts, check that the old version is intact, and return how it is before the switch.

    Raises:
        OrderFailed: HealthCheckFailed, the old version is damaged and not offered any more: nothing could be rolled
            back to; UntrustedRelease, an archive is refused; HostBusy, processes run from a damaged tree;
            ManagedElsewhere, what somebody put into the old tree cannot be carried over.
    """
    for target in plan.needed:
        if target.manifest.version in artifacts:
            _unpack(attempt, plan, target.manifest, artifacts[target.manifest.version])
    version = attempt.from_version
    if not version:
        return Baseline()
    old = attempt.old_manifest()
    is_fresh = time.monotonic() - plan.intact_seen_at < INTACT_SECONDS
    if old is None or not (is_fresh or is_intact(attempt.package, version)):
        text = f"{version}, the version to roll back to, is damaged and not offered any more"
        raise OrderFailed("HealthCheckFailed", f"{text}; offer it again, or uninstall it first (its state stays)")
    for retained in {version, attempt.previous, *(target.manifest.version for target in plan.targets)}:
        manifest = known_manifest(attempt.package, retained)
        if manifest is not None:
            _give_rights(attempt, plan, manifest, attempt.package.tree(retained))
    carry_additions(attempt, plan.goal.version)
    keep_edited_shims(attempt, old)
    return _take_baseline(attempt, plan, old)


def _give_rights(attempt: Attempt, plan: Plan, manifest: Manifest, tree: Path) -> None:
    """Give the commands in a tree the rights that the installed ones have. Raises OrderFailed, HostBusy."""
    try:
        rights.give(tree, manifest, known_files(attempt.package, manifest.version), plan.rights)
    except OSError as problem:
        if problem.errno not in (errno.EPERM, errno.EOPNOTSUPP):
            raise
        names = ", ".join(f"{command} ({one})" for command, one in plan.rights.items())
        text = f"{manifest.version} cannot get the rights of the installed commands, {names}: {problem.strerror}"
        raise OrderFailed("HostBusy", f"{text}; let the agent run as root, or take them away") from None


def _take_baseline(attempt: Attempt, plan: Plan, old: Manifest) -> Baseline:
    """Find out what fails on the old version already."""
    tree, unhealthy, words = attempt.package.tree(old.version), "", ""
    cannot_start: FrozenSet[str] = frozenset()
    try:
        health.verify(old, tree, attempt.runner)
    except Unhealthy as problem:
        _check_answering(problem)
        unhealthy = attempt.state.details["unwell_before"] = problem.text
        words, cannot_start = words_of(problem, old.version), problem.cannot_start
    failing = set()
    for probe in plan.policy.package.probes:
        attempt.check_interrupted(late="the probes of this host take too long; nothing was touched")
        try:
            probes.run_probe(probe, old, tree, attempt.runner)
        except Unhealthy as problem:
            _check_answering(problem)
            failing.add(probe.name)
    if failing:
        attempt.state.details["probes_failing_before"] = sorted(failing)
    served, unserved = _take_baseline_of_users(attempt, plan, old, tree, unhealthy)
    return Baseline(
        unhealthy=unhealthy,
        failing_probes=frozenset(failing),
        cannot_start=cannot_start,
        words=words,
        served_users=served,
        unserved_users=unserved,
    )


def _check_answering(problem: Unhealthy) -> None:
    """Check that a command failed for another reason than a file system that does not answer.

    Such a command cannot say anything about the new version either, and would keep the gate closed for its time.

    Raises:
        OrderFailed: HostBusy.
    """
    if problem.reason == "NotAnswering":
        raise OrderFailed("HostBusy", f"{problem.text}; mend or unmount it; nothing was touched", problem.reason)


def _take_baseline_of_users(
    attempt: Attempt, plan: Plan, old: Manifest, tree: Path, unhealthy: str
) -> Tuple[FrozenSet[str], FrozenSet[str]]:
    """Find out for which users the shims run now, and for which they do not: also those who run the client just now.

    Of our own user the health command tells it, without another run: the order may have little time.
    """
    package, installation = attempt.package, attempt.installation
    running = package.folder / "running"
    holders = installation.lock_holders(running, package.folder) if gate.is_anything_running(running) else []
    own = users.own_name()
    served: Set[str] = set() if unhealthy else {own}
    unserved: Set[str] = {own} - served
    for user in users.users_of(installation, plan.policy, [holder.user for holder in holders if holder.is_run]):
        if user.name == own:
            continue
        failure = users.failure(user, old, installation.bin, tree, attempt.runner)
        (served if failure is None else unserved).add(user.name)
    return frozenset(served), frozenset(unserved)


def _unpack(attempt: Attempt, plan: Plan, manifest: Manifest, artifact: Artifact) -> None:
    """Make the tree of a version, in place of a damaged one if there is one."""
    package, version = attempt.package, manifest.version
    partial, tree = package.partial(version), package.tree(version)
    is_repair = version == attempt.from_version and tree.is_dir()
    if not is_repair:
        if tree.is_dir() and attempt.installation.is_in_use(package, tree):
            raise OrderFailed("HostBusy", f"processes run from {tree}, which is damaged; end them first")
        disk.remove_tree(tree)
    if partial.is_dir() and attempt.installation.is_in_use(package, partial):
        raise OrderFailed("HostBusy", f"processes run from {partial}, which a repair has replaced; end them first")
    disk.remove_tree(partial)
    files = trees.unpack(artifact.file, manifest, partial, artifact.form)
    try:
        shim.write_answers(partial, tree, manifest.programs)
    except FileExistsError:
        text = f"the artifact has a folder {shim.ANSWERS}, a name that is reserved for the upgrader"
        raise OrderFailed("UntrustedRelease", text, "BadArchive") from None
    if is_repair:
        keep_over_repair(attempt, version, partial, files)
    disk.sync_folder(partial)
    failpoint("unpacked")
    disk.write_json(package.facts(version), {"manifest": manifest.to_json(), "files": files})
    _give_rights(attempt, plan, manifest, partial)
    if is_repair:  # processes go on with the files that they have open; what they open from now on is intact
        _exchange(partial, tree)
        attempt.state.details["mended"] = version
    else:
        disk.rename(partial, tree)
    disk.sync_folder(package.versions)


def _exchange(partial: Path, tree: Path) -> None:
    """Let an intact tree take the place of a damaged one: in one step, or else file by file."""
    try:
        disk.exchange(partial, tree)
    except OSError as problem:
        if problem.errno not in NO_EXCHANGE:
            raise
        disk.replace_content(partial, tree)
