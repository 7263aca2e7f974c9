"""The steps of an upgrade, in the order they are taken. Up to `switch` nothing a user can see has changed.

Source: docs/host.md.
"""

from __future__ import annotations

import contextlib
import time
from typing import Callable, Tuple

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader.failpoints import failpoint
from backfleet_host.upgrader.host import disk, gate, preserved_state, probes, shim, trees
from backfleet_host.upgrader.host.health import AGAIN_SECONDS
from backfleet_host.upgrader.host.health import prove as prove_well
from backfleet_host.upgrader.host.installation import Package, Site
from backfleet_host.upgrader.host.services import wait_until_idle
from backfleet_host.upgrader.refusal import Refusal, Unwell
from backfleet_host.upgrader.transaction.attempt import LEAST_PROOF_SECONDS, Attempt
from backfleet_host.upgrader.transaction.checks import check, is_whole
from backfleet_host.upgrader.transaction.journal import PROVEN, SWITCHING

WHOLE_SECONDS = 30.0  # that what was just found whole is believed to be
GATE_SECONDS = 10.0  # for shims that are in the instant of passing the gate
SEEN_SECONDS = 1.0  # that a service is believed to be as it was seen
STILL_RUNNING = "a backup ran for longer than there was time; nothing was touched"
LEFTOVERS_SECONDS = 5.0  # for what a stopped service left running


def fetch(attempt: Attempt) -> None:
    """The artifacts on disk, every byte checked against the signed metadata."""
    most = min(filter(None, (attempt.order.bytes_per_second, attempt.host_words.bytes_per_second)), default=0)

    def go_on() -> None:
        attempt.go_on("DownloadFailed", "the download took too long; what came is kept for the next order")

    for target in attempt.wanted:
        if not is_whole(attempt.package, target.manifest.version):
            artifact = attempt.source.fetch(attempt.site, attempt.package, target, most, go_on)
            attempt.artifacts[target.manifest.version] = artifact


def stage(attempt: Attempt) -> None:
    """The new tree complete beside the old one; and the old one verified: no way back, no switch."""
    package, old = attempt.package, attempt.from_version
    for target in attempt.wanted:
        if target.manifest.version in attempt.artifacts:
            _unpack(attempt, target.manifest)
    if not old:
        return
    is_fresh = time.monotonic() - attempt.whole_at < WHOLE_SECONDS
    if attempt.old is None or not (is_fresh or is_whole(package, old)):
        text = f"{old}, the way back, is not whole, and nobody offers it any more"
        raise Refusal("HealthCheckFailed", f"{text}; offer it again, or uninstall it first (its state stays)")
    _take_baseline(attempt, attempt.old)


def _take_baseline(attempt: Attempt, old: Manifest) -> None:
    """What the old version does not do well either is no fault of the new one, nor of going back."""
    tree = attempt.package.tree(old.version)
    try:
        prove_well(old, tree, attempt.runner)
    except Unwell as problem:
        attempt.unwell_before = attempt.details["unwell_before"] = problem.text
    failing = set()
    for probe in attempt.words.probes:
        attempt.go_on(late="the probes of this host take too long; nothing was touched")
        if not probes.answers_well(probe, old, tree, attempt.runner):
            failing.add(probe.name)
    attempt.failing_before = frozenset(failing)
    if failing:
        attempt.details["probes_failing_before"] = sorted(failing)


def _unpack(attempt: Attempt, manifest: Manifest) -> None:
    package, version = attempt.package, manifest.version
    mends = version == attempt.from_version and package.tree(version).is_dir()
    if not mends:
        if package.tree(version).is_dir() and attempt.site.running(package.tree(version)):
            raise Refusal("HostBusy", f"something runs from a damaged {version}; end it first")
        disk.remove_tree(package.tree(version))
    disk.remove_tree(package.partial(version))
    files = trees.unpack(attempt.artifacts[version], manifest, package.partial(version))
    try:
        shim.write_answers(package.partial(version), package.tree(version), manifest.programs)
    except FileExistsError:
        text = f"the artifact has a folder {shim.ANSWERS}, which is ours"
        raise Refusal("UntrustedRelease", text, "BadArchive") from None
    disk.sync(package.partial(version))
    failpoint("unpacked")
    disk.write_json(package.facts(version), {"manifest": manifest.to_json(), "files": files})
    if mends:  # what runs from the damaged one goes on with its files; whatever it opens from now on is whole
        disk.exchange(package.partial(version), package.tree(version))
        attempt.details["mended"] = version
    else:
        disk.replace(package.partial(version), package.tree(version))
    disk.sync(package.versions)


def drain(attempt: Attempt) -> None:
    """Close the gate; where the client must be idle, wait for running ones. A running backup is never ended.

    What takes a moment is asked before: backups wait behind the gate.
    """
    gate.make_lock_files(attempt.package.folder)
    see_what_serves(attempt)
    must_be_idle = _must_be_idle(attempt)
    if attempt.serving and attempt.old is not None and not must_be_idle:
        _wait_until_idle_inside(attempt, attempt.old)
        _see_again(attempt)
    close_gate(attempt.package, attempt.closed_gate)
    if must_be_idle:
        drain_all(attempt)


def _must_be_idle(attempt: Attempt) -> bool:
    """State that is compared and put back must have one writer: a package that keeps any is drained too."""
    going_through = [*([attempt.old] if attempt.old else []), *(target.manifest for target in attempt.targets)]
    return any(manifest.switch == "idle" for manifest in going_through) or bool(attempt.keeps())


def drain_all(attempt: Attempt) -> None:
    """Wait until no backup runs: through the shim, inside the service, straight from the tree.

    Raises:
        Refusal: BackupRunning, one ran for too long; HostBusy, it is not known whether the service runs.
    """
    text = STILL_RUNNING
    running = attempt.package.folder / "running"
    try:
        attempt.closed_gate.enter_context(gate.held(running, seconds=attempt.seconds_left(), wait=attempt.nap))
    except gate.NotInTime:
        raise Refusal("BackupRunning", text) from None
    old = attempt.old
    if old is not None:
        _wait_until_idle_inside(attempt, old)
    _see_again(attempt)
    if old is not None and not attempt.serving:
        left = _left_running(attempt, attempt.seconds_left(), attempt.nap)
        if left:
            raise Refusal("BackupRunning", f"{text}; it runs straight from the tree, as process {left[0]}")


def _wait_until_idle_inside(attempt: Attempt, manifest: Manifest) -> None:
    """Until no backup runs inside the service. Raises Refusal, BackupRunning."""
    service = attempt.service(manifest) if manifest.service is not None else None
    if not wait_until_idle(service, attempt.seconds_left(), attempt.nap):
        raise Refusal("BackupRunning", STILL_RUNNING)


def see_what_serves(attempt: Attempt) -> None:
    """Whether the service runs now, and so is to run afterwards.

    Raises:
        Refusal: HostBusy, that cannot be told.
    """
    old, attempt.seen_at = attempt.old, time.monotonic()
    try:
        attempt.serving = old is not None and attempt.service(old).was_serving()
    except Unwell as problem:
        raise Refusal("HostBusy", f"{attempt.from_version}: {problem.text}; nothing was touched") from None


def _see_again(attempt: Attempt) -> None:
    """After a wait: the administrator may have stopped the service meanwhile. Raises Refusal, HostBusy."""
    if time.monotonic() - attempt.seen_at > SEEN_SECONDS:
        see_what_serves(attempt)


def _left_running(attempt: Attempt, seconds: float, nap: Callable[[float], None] = time.sleep) -> list[int]:
    """What still runs from the old tree after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        left = attempt.site.running(attempt.package.tree(attempt.from_version)) if attempt.from_version else []
        if not left or time.monotonic() >= until:
            return left
        nap(AGAIN_SECONDS)


def switch(attempt: Attempt) -> None:
    """Stop the service, remember the state, point to the new version in one step, start the service."""
    package, old = attempt.package, attempt.old
    failing = sorted(attempt.failing_before)
    attempt.has_switched = True  # whatever becomes of the line: a write that failed may have been done all the same
    attempt.journal.write(SWITCHING, serving=attempt.serving, failing=failing, unwell=attempt.unwell_before)
    disk.mark(package.unproven)
    failpoint("about to switch")
    stopped_at = time.monotonic()
    if old is not None and attempt.serving:
        _stop_old_one(attempt, old)
    named = attempt.keeps()
    if named:
        preserved_state.snapshot(named, package.kept)
    if attempt.goal.version != attempt.from_version:
        disk.point(package.previous, attempt.from_version, durable=False)  # in one with `current`, which is beside it
    for target in attempt.targets:
        _move_to(attempt, target.manifest)
        if target is not attempt.targets[-1]:
            prove_version(attempt, target.manifest)
            _leave_stone(attempt, target.manifest)
    if attempt.serving:
        attempt.details["service_down_seconds"] = round(time.monotonic() - stopped_at, 3)


def _stop_old_one(attempt: Attempt, old: Manifest) -> None:
    try:
        attempt.service(old).stop()
    except Unwell as problem:  # which says nothing about the new version
        raise Refusal("HostBusy", f"{old.version}: {problem.text}") from None
    left = _left_running(attempt, LEFTOVERS_SECONDS) if _must_be_idle(attempt) else []
    if left:
        raise Refusal("HostBusy", f"the service is stopped, and process {left[0]} still runs from {old.version}")


def _leave_stone(attempt: Attempt, manifest: Manifest) -> None:
    """Its service may have begun a backup by itself: that is waited for, as long as a proof may take."""
    if not attempt.serving or manifest.service is None:
        return
    service = attempt.service(manifest)
    if not wait_until_idle(service, max(attempt.seconds_left(), LEAST_PROOF_SECONDS)):
        raise Refusal("BackupRunning", f"a backup inside {manifest.version}, a stepping stone, ran for too long")
    service.stop()


def _move_to(attempt: Attempt, manifest: Manifest) -> None:
    attempt.trying = manifest.version
    disk.point(attempt.package.current, manifest.version)
    failpoint("switched")
    write_shims(attempt.site, attempt.package, manifest)
    attempt.started = None
    if attempt.serving and manifest.service is not None:
        attempt.started = attempt.service(manifest).start(is_down=True)


def prove(attempt: Attempt) -> None:
    """The new version shows that it is well, from where it will run; and all state is what it was."""
    prove_version(attempt, attempt.goal)


def prove_version(attempt: Attempt, manifest: Manifest) -> None:
    """Health command, the host's probes, state.

    Raises:
        Unwell: what did not go as it did before.
    """
    package, runner = attempt.package, attempt.runner_on_trial()
    prove_well(manifest, package.current, runner)
    for probe in attempt.words.probes:
        if probe.name not in attempt.failing_before:
            probes.ask(probe, manifest, package.tree(manifest.version), runner)
    if attempt.started is not None:
        attempt.service(manifest).check_stayed_up(attempt.started)
    changed = preserved_state.changed(package.kept)
    if changed:
        raise Unwell(f"state that must survive did not: {changed}")


def commit(attempt: Attempt) -> None:
    """From here on it is done, whatever fails. Backups run again."""
    attempt.journal.write(PROVEN)
    attempt.open_gate()


STEPS: Tuple[Tuple[str, Callable[[Attempt], None]], ...] = (
    ("check", check),
    ("fetch", fetch),
    ("stage", stage),
    ("drain", drain),
    ("switch", switch),
    ("prove", prove),
    ("commit", commit),
)
BEFORE_THE_SWITCH = ("check", "fetch", "stage", "drain", "switch")  # steps that only begin while it is still wanted


def close_gate(package: Package, closed: contextlib.ExitStack) -> None:
    """Let no new run begin.

    Raises:
        Refusal: HostBusy, somebody else holds the gate.
    """
    try:
        closed.enter_context(gate.held(package.folder / "gate", seconds=GATE_SECONDS))
    except gate.NotInTime:
        raise Refusal("HostBusy", "the gate is held by somebody else; look at who has the file `gate` open") from None


def write_shims(site: Site, package: Package, manifest: Manifest) -> None:
    """The shims of one version."""
    shim.write_shims(site.bin, package.folder, package.name, manifest.programs)
