"""The transaction: from the version a host has to the version an order names, or exactly as it was. Never between.

Source: docs/host.md. The steps stand in one list, in the order they are taken; each is journalled. Up to `switch`
nothing a user can see has changed; from there on the journal tells recovery which way to go.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform as machine
import shutil
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from backfleet_host.contract import Order, Report, stage_line
from backfleet_host.upgrader import gate, shim, tree
from backfleet_host.upgrader.health import prove as prove_well
from backfleet_host.upgrader.instants import passed
from backfleet_host.upgrader.journal import BACK, PROVEN, SWITCHING, Attempted, Journal
from backfleet_host.upgrader.manifest import Manifest, read_manifest
from backfleet_host.upgrader.refusal import Refusal, Unwell
from backfleet_host.upgrader.site import Package, Site, point, read_json, sync, write_json

HELD_BACK_SECONDS = 24 * 3600  # a version that was taken back is not tried again before that
KEPT_OUTCOMES = 100  # orders whose outcome is remembered, so that the same order twice is answered, not done
SPARE_DISK = 16 << 20  # bytes that stay free
GATE_SECONDS = 10.0  # for shims that are in the instant of passing the gate
ANOTHER_ORDER_SECONDS = 0.5  # for the lock: long enough for one that is just ending

Say = Callable[[str], None]
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "i386": "386", "i686": "386"}


class Attempt:
    """One order on one package, and what its steps have found out so far."""

    def __init__(self, site: Site, order: Order, say: Say) -> None:
        self.site, self.order, self._say = site, order, say
        self.package = site.package(order.package)
        self.journal = Journal(self.package.journal)
        self.from_version = self.package.version()
        self.began = time.monotonic()
        self.stage = "admit"
        self.target: Any = None  # trust.Target, once the metadata is read
        self.artifact = Path()
        self.closed_gate = contextlib.ExitStack()

    def begin(self, stage: str) -> None:
        """Say that a step begins: the server shows it to whoever waits."""
        self.stage = stage
        self._say(stage_line(stage))

    def seconds_left(self) -> float:
        """Of the order's patience."""
        return max(0.0, self.order.patience - (time.monotonic() - self.began))

    def report(self, outcome: str, code: str = "", message: str = "") -> Report:
        """How it ended. What runs now is read from the disk, not remembered."""
        return Report(
            self.order.order_id,
            self.order.kind,
            self.order.package,
            outcome,
            code=code,
            message=message,
            stage=self.stage,
            from_version=self.from_version,
            to_version=self.order.version,
            current_version=self.package.version(),
            seconds=round(time.monotonic() - self.began, 3),
        )


# --- The steps ------------------------------------------------------------------------------------------------------


def check(attempt: Attempt) -> None:
    """Everything that can be known before anything is fetched. Nothing is touched."""
    from backfleet_host.upgrader import trust

    order, package = attempt.order, attempt.package
    ours = platform_here()
    if order.platform != ours:
        raise Refusal("UnsupportedPlatform", f"the release is for {order.platform}, this host is {ours}")
    if shim.flock_program() is None:
        raise Refusal("UnsupportedPlatform", "flock(1) is missing; install util-linux")
    attempt.target = trust.find(attempt.site, order)
    manifest = attempt.target.manifest
    _check_way(manifest.upgrades_from, attempt.from_version, order.version)
    stranger = shim.foreign(attempt.site.bin, package.name, manifest.programs)
    if stranger is not None:
        raise Refusal("ManagedElsewhere", f"{stranger} is not ours; remove it, or let what made it manage the client")
    needed = attempt.target.length + manifest.unpacked_bytes + SPARE_DISK
    free = shutil.disk_usage(str(package.folder)).free
    if free < needed:
        raise Refusal("DiskFull", f"{needed >> 20} MiB are needed in {package.folder}, {free >> 20} MiB are free")


def fetch(attempt: Attempt) -> None:
    """The artifact on disk, every byte checked against the signed metadata."""
    from backfleet_host.upgrader import trust

    attempt.artifact = trust.fetch(attempt.site, attempt.package, attempt.target)


def stage(attempt: Attempt) -> None:
    """The new tree complete beside the old one; and the old one verified: no way back, no switch."""
    package, version = attempt.package, attempt.order.version
    manifest: Manifest = attempt.target.manifest
    known = read_json(package.facts(version))
    if known is None or not package.tree(version).is_dir() or tree.differs(package.tree(version), known["files"]):
        _unpack(attempt, manifest)
    old = attempt.from_version
    if old and old != version:
        facts = read_json(package.facts(old))
        changed = "what it should be is not known" if facts is None else tree.differs(package.tree(old), facts["files"])
        if changed:
            raise Refusal("HealthCheckFailed", f"{old}, the way back, is not whole ({changed}); install it again first")


def _unpack(attempt: Attempt, manifest: Manifest) -> None:
    package, version = attempt.package, attempt.order.version
    if tree.in_use(package.tree(version)):
        raise Refusal("HostBusy", f"something runs from a damaged {version}; end it first")
    tree.remove(package.tree(version))
    tree.remove(package.partial(version))
    files = tree.unpack(attempt.artifact, manifest, package.partial(version))
    passed("unpacked")
    write_json(package.facts(version), {"manifest": _as_json(manifest), "files": files})
    os.replace(package.partial(version), package.tree(version))
    sync(package.versions)


def drain(attempt: Attempt) -> None:
    """Close the gate; where the client must be idle, wait for running ones. A running backup is never ended."""
    gate.make_lock_files(attempt.package.folder)
    _close_gate(attempt.package, attempt.closed_gate)
    if attempt.target.manifest.switch == "idle":
        _wait_until_idle(attempt)


def switch(attempt: Attempt) -> None:
    """Point to the new version, in one step."""
    package, version = attempt.package, attempt.order.version
    attempt.journal.write(SWITCHING, to=version)
    passed("about to switch")
    point(package.previous, attempt.from_version)
    point(package.current, version)
    passed("switched")
    _write_shims(attempt.site, package, attempt.target.manifest)


def prove(attempt: Attempt) -> None:
    """The new version shows that it is well, from where it will run."""
    prove_well(attempt.target.manifest, attempt.package.current)


def commit(attempt: Attempt) -> None:
    """From here on it is done, whatever fails."""
    attempt.journal.write(PROVEN)


STEPS: Tuple[Tuple[str, Callable[[Attempt], None]], ...] = (
    ("check", check),
    ("fetch", fetch),
    ("stage", stage),
    ("drain", drain),
    ("switch", switch),
    ("prove", prove),
    ("commit", commit),
)


# --- Forwards, backwards --------------------------------------------------------------------------------------------


def move(attempt: Attempt) -> Report:
    """Take the steps; whatever goes wrong, the host is as it was, or was taken back. The caller holds the package."""
    try:
        for name, step in STEPS:
            attempt.begin(name)
            step(attempt)
            attempt.journal.write(name)
            passed(name)
    except (Refusal, Unwell, OSError) as problem:
        return _give_up(attempt, problem)
    return finish(attempt.package, attempt.journal, attempt.report("succeeded"))


def _give_up(attempt: Attempt, problem: Exception) -> Report:
    code, text = meaning_of(problem)
    attempted = attempt.journal.read()
    if attempted is not None and attempted.has(SWITCHING):
        return go_back(attempt, code, text, getattr(problem, "output", ""))
    report = attempt.report("failed", code, text)
    return finish(attempt.package, attempt.journal, report)


def go_back(attempt: Attempt, code: str, reason: str, output: str) -> Report:
    """Point to the old version again and let it show that it is well; keep the evidence, remember the failure."""
    package, old, new = attempt.package, attempt.from_version, attempt.order.version
    attempt.begin("back")
    # Written before anything is undone: a crash below must not be taken for progress.
    attempt.journal.write(BACK, code=code, reason=reason)
    passed("going back")
    point(package.current, old)
    passed("pointed back")
    point(package.previous, "")
    try:
        _make_old_one_work(attempt.site, package, old)
    except (Unwell, OSError, Refusal) as problem:
        text = f"{new} was unwell ({reason}), and going back to {old} failed: {meaning_of(problem)[1]}"
        return finish(package, attempt.journal, attempt.report("failed", "RollbackFailed", text))
    if code != "BackupRunning":
        _remember_failure(attempt, reason, output)
    runs = f"{old} runs again" if old else "nothing is installed, as before"
    return finish(package, attempt.journal, attempt.report("failed", "RolledBack", f"{reason}; {runs}"))


def _make_old_one_work(site: Site, package: Package, old: str) -> None:
    facts = read_json(package.facts(old)) if old else None
    if not old:
        shim.write_shims(site.bin, package.folder, package.name, {})
    elif facts is not None:
        manifest = read_manifest(facts["manifest"])
        _write_shims(site, package, manifest)
        prove_well(manifest, package.current)


def finish(package: Package, journal: Journal, report: Report) -> Report:
    """Write the outcome, close the journal, tidy up. Done again after a crash, it comes to the same."""
    write_json(package.outcome(report.order_id), {"report": report.__dict__})
    passed("outcome written")
    write_json(package.folder / "outcome.json", {"report": report.__dict__})
    journal.close()
    passed("journal closed")
    with contextlib.suppress(OSError):  # what cannot be tidied now is tidied at the next order
        tidy(package)
    return report


def tidy(package: Package) -> None:
    """Remove what nothing needs: half-made trees, downloads, old versions that nothing runs from, old outcomes."""
    kept = {package.version(), package.version_before()}
    for path in package.versions.iterdir():
        if path.name.endswith(".partial") or (path.name not in kept and not tree.in_use(path)):
            tree.remove(path)
            package.facts(path.name).unlink(missing_ok=True)
    for path in package.downloads.iterdir():
        path.unlink()
    outcomes = sorted((package.folder / "outcomes").glob("*.json"), key=lambda path: path.stat().st_mtime)
    for path in outcomes[:-KEPT_OUTCOMES]:
        path.unlink()


def meaning_of(problem: Exception) -> Tuple[str, str]:
    """What a failure is called in a report."""
    if isinstance(problem, Refusal):
        return problem.code, problem.text
    if isinstance(problem, Unwell):
        return "HealthCheckFailed", problem.text
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return "DiskFull", f"no room left while writing {problem.filename or ''}".rstrip()
    if isinstance(problem, OSError) and problem.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "HostBusy", f"{problem.filename or 'the root'} cannot be written: {problem.strerror}"
    return "InternalError", f"{type(problem).__name__}: {problem}"


# --- What a crash left ----------------------------------------------------------------------------------------------


def recover(site: Site, package: Package, attempted: Attempted, say: Say) -> Report:
    """Finish or undo an attempt that a crash cut off. The caller holds the package.

    | last line | what is done |
    | nothing, or before switching | what is half-made goes; the old version runs; the attempt may be made again |
    | switching, `current` not there yet | the same |
    | switching, `current` there | prove now: well, it is kept; unwell, go back |
    | going back | go on going back |
    | proven | it is kept |
    """
    attempt = Attempt(site, attempted.order, say)
    attempt.from_version = attempted.from_version
    with attempt.closed_gate:
        if attempted.order.kind == "uninstall":
            return uninstall(attempt)
        if attempted.has(PROVEN):
            return finish(package, attempt.journal, attempt.report("succeeded", message="finished after a crash"))
        if attempted.has(BACK):
            return go_back(attempt, attempted.told(BACK, "code"), attempted.told(BACK, "reason"), "")
        if attempted.has(SWITCHING) and package.version() == attempted.order.version != attempted.from_version:
            return _judge_after_crash(attempt)
        point(package.current, attempted.from_version)
        text = f"cut off before the switch; {attempted.from_version or 'nothing'} is installed as before; ask again"
        return finish(package, attempt.journal, attempt.report("failed", "InternalError", text))


def _judge_after_crash(attempt: Attempt) -> Report:
    """It was switched and not proven: what it is worth is found out now."""
    package, version = attempt.package, attempt.order.version
    attempt.begin("prove")
    gate.make_lock_files(package.folder)
    _close_gate(package, attempt.closed_gate)
    facts = read_json(package.facts(version))
    try:
        if facts is None:
            raise Unwell("what it should be is not known")
        manifest = read_manifest(facts["manifest"])
        _write_shims(attempt.site, package, manifest)
        prove_well(manifest, package.current)
    except (Unwell, Refusal, OSError) as problem:
        return go_back(attempt, *meaning_of(problem), getattr(problem, "output", ""))
    attempt.journal.write(PROVEN)
    return finish(package, attempt.journal, attempt.report("succeeded", message="proven after a crash"))


def uninstall(attempt: Attempt) -> Report:
    """Take the client off the host, when nothing runs from it."""
    package = attempt.package
    attempt.begin("drain")
    gate.make_lock_files(package.folder)
    try:
        _close_gate(package, attempt.closed_gate)
        _wait_until_idle(attempt)
        attempt.begin("switch")
        shim.write_shims(attempt.site.bin, package.folder, package.name, {})
        point(package.current, "")
        point(package.previous, "")
        passed("uninstalled")
    except (Refusal, OSError) as problem:
        return finish(package, attempt.journal, attempt.report("failed", *meaning_of(problem)))
    return finish(package, attempt.journal, attempt.report("succeeded"))


# --- Small things the steps share -----------------------------------------------------------------------------------


def platform_here() -> str:
    """This host, as releases name platforms."""
    return f"{machine.system().lower()}-{_MACHINES.get(machine.machine().lower(), machine.machine().lower())}"


def remembered_failure(package: Package, version: str, now: float) -> Optional[Dict[str, Any]]:
    """Why this version was taken back on this host, if that is not long ago."""
    kept = read_json(package.failed / version / "reason.json")
    return kept if kept is not None and float(kept.get("until", 0)) > now else None


def _remember_failure(attempt: Attempt, reason: str, output: str) -> None:
    """Evidence for whoever looks into it; without room for it the host is as well as before."""
    folder = attempt.package.failed / attempt.order.version
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        (folder / "output").write_text(output, encoding="utf-8")
        now = attempt.site.clock()
        write_json(folder / "reason.json", {"reason": reason, "at": now, "until": now + HELD_BACK_SECONDS})


def _close_gate(package: Package, closed: contextlib.ExitStack) -> None:
    try:
        closed.enter_context(gate.held(package.folder / "gate", seconds=GATE_SECONDS))
    except gate.NotInTime:
        raise Refusal("HostBusy", "the gate is held by somebody else; look at who has the file `gate` open") from None


def _wait_until_idle(attempt: Attempt) -> None:
    try:
        running = attempt.package.folder / "running"
        attempt.closed_gate.enter_context(gate.held(running, seconds=attempt.seconds_left()))
    except gate.NotInTime:
        raise Refusal("BackupRunning", "a backup ran for longer than there was time; nothing was touched") from None


def _check_way(upgrades_from: str, current: str, version: str) -> None:
    if not upgrades_from or not current:
        return
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        fits = SpecifierSet(upgrades_from, prereleases=True).contains(Version(current), prereleases=True)
    except InvalidVersion:
        fits = False
    if not fits:
        raise Refusal("NotAllowedFrom", f"{version} may be reached from {upgrades_from} only, this host has {current}")


def _write_shims(site: Site, package: Package, manifest: Manifest) -> None:
    shim.write_shims(site.bin, package.folder, package.name, manifest.programs)


def _as_json(manifest: Manifest) -> Dict[str, Any]:
    health = manifest.health
    said: Dict[str, Any] = {**manifest.__dict__, "bin": list(manifest.bin), "health": None}
    if health is not None:
        said["health"] = {"command": list(health.command), "expect": health.expect, "seconds": health.seconds}
    return said


def versions_of(package: Package) -> List[str]:
    """Complete trees on disk."""
    return sorted(path.name for path in package.versions.iterdir() if not path.name.startswith("."))
