"""The transaction: from the version a host has to the version an order names, or exactly as it was. Never between.

Forwards by the list in steps.py; from `switching` on the journal tells which way to go. What is here leads to an end:
well, back, or after a crash whichever of the two is true.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Callable, List, Optional, Tuple

from backfleet_host.contract import Order, Report, is_version
from backfleet_host.upgrader import disk, gate, keeps, shim
from backfleet_host.upgrader.attempt import Attempt, Say, known_manifest
from backfleet_host.upgrader.checks import read_words, wait_until_host_is_ready
from backfleet_host.upgrader.health import prove as prove_well
from backfleet_host.upgrader.instants import passed
from backfleet_host.upgrader.journal import BACK, PROVEN, REMOVING, SWITCHING, Attempted
from backfleet_host.upgrader.manifest import Manifest
from backfleet_host.upgrader.refusal import Refusal, Unwell
from backfleet_host.upgrader.site import Package, Site
from backfleet_host.upgrader.steps import (
    BEFORE_THE_SWITCH,
    STEPS,
    close_gate,
    drain_all,
    prove_version,
    write_shims,
)

UNDO_TRIES = 4  # of going back, if the disk refuses it
UNDO_PAUSE_SECONDS = 0.05  # before the second, doubled each time
KEPT_OUTCOMES = 100  # orders whose outcome is remembered, so that the same order twice is answered, not done
KEPT_DOWNLOADS = 4  # artifacts or parts of them, for whoever asks again
KEPT_DOWNLOAD_SECONDS = 24 * 3600
ANOTHER_ORDER_SECONDS = 0.5  # for the lock: long enough for one that is just ending


# --- Forwards -------------------------------------------------------------------------------------------------------


def move(attempt: Attempt) -> Report:
    """Take the steps; whatever goes wrong, the host is as it was, or was taken back. The caller holds the package."""
    try:
        for name, step in STEPS:
            attempt.begin(name)
            if name in BEFORE_THE_SWITCH:
                attempt.go_on()
            step(attempt)
            passed(name)
    except Exception as problem:  # noqa: BLE001 - whatever it is, the host must not stay in between
        return _give_up(attempt, problem)
    return succeed(attempt)


def succeed(attempt: Attempt, code: str = "", message: str = "") -> Report:
    """It is as the order wishes; what operators set for the client is too."""
    keep_settings(attempt.package, attempt.order)
    return finish(attempt, attempt.report("succeeded", code, message))


def keep_settings(package: Package, order: Order) -> None:
    """For whatever runs the client on this host. An order without any changes nothing; with the client they go."""
    with contextlib.suppress(OSError):  # a later order brings them again
        if order.kind == "uninstall":
            disk.unlink(package.settings)
        elif order.settings:
            disk.write_json(package.settings, order.settings)


def _give_up(attempt: Attempt, problem: Exception) -> Report:
    code, text = meaning_of(problem)
    attempt.note_reason(problem)
    if not attempt.has_switched:
        return finish(attempt, attempt.report("failed", code, text))
    is_its_fault = isinstance(problem, Unwell) and not problem.passing
    if isinstance(problem, Unwell):
        code = "RolledBack"
    return go_back(attempt, code, text, is_its_fault, getattr(problem, "output", ""))


# --- Backwards ------------------------------------------------------------------------------------------------------


def go_back(attempt: Attempt, code: str, reason: str, is_its_fault: bool, output: str = "") -> Report:
    """Point to the old version again and let it show that it is well; keep the evidence, remember the failure."""
    old, new = attempt.from_version, attempt.trying
    attempt.begin("back")
    attempt.journal.make_room()
    with contextlib.suppress(OSError):  # what cannot be written must not stop the way back
        # Written before anything is undone: a crash below must not be taken for progress.
        attempt.journal.write(BACK, code=code, reason=reason, is_its_fault=is_its_fault, trying=new)
    passed("going back")
    try:
        _with_patience(_undo, attempt)
    except Exception as problem:  # noqa: BLE001 - as above
        if is_its_fault:
            _remember_failure(attempt, reason, f"{output}\n{getattr(problem, 'output', '')}")
        text = f"{new} was unwell ({reason}), and going back to {old} failed: {meaning_of(problem)[1]}"
        report = attempt.report("failed", "RollbackFailed", text)
        # What the disk refused may be possible later: the journal stays, and the next start goes on going back.
        return report if isinstance(problem, OSError) else finish(attempt, report)
    attempt.open_gate()
    if is_its_fault:
        _remember_failure(attempt, reason, output)
    runs = f"{old} runs again" if old else "nothing is installed, as before"
    return finish(attempt, attempt.report("failed", code, f"{reason}; {runs}"))


def _with_patience(undo: Callable[[Attempt], None], attempt: Attempt) -> None:
    for number in range(UNDO_TRIES - 1):
        try:
            return undo(attempt)
        except OSError:
            time.sleep(UNDO_PAUSE_SECONDS * 2**number)
    return undo(attempt)


def _undo(attempt: Attempt) -> None:
    package, old = attempt.package, attempt.old
    if attempt.serving:
        _stop_new_one(attempt)
    if not attempt.from_version:
        shim.write_shims(attempt.site.bin, package.folder, package.name, {})
    disk.point(package.current, attempt.from_version)
    passed("pointed back")
    disk.point(package.previous, attempt.previous)
    keeps.restore(package.kept, package.failed / attempt.trying / "left")
    if not attempt.from_version:
        return
    if old is None:
        raise Unwell("what it should be is not known")
    write_shims(attempt.site, package, old)
    if attempt.serving:
        attempt.service(old).start()
    if not attempt.unwell_before:
        prove_well(old, package.current, attempt.runner)


def _stop_new_one(attempt: Attempt) -> None:
    """Stop the service of the version that is taken back, ready or not, and end what will not stop: one may serve.

    A backup that runs from it is none of the service: whatever came through the shim holds the lock `running`.
    """
    package, now = attempt.package, attempt.package.version()
    manifest = known_manifest(package, now)
    if manifest is None or manifest.service is None or now == attempt.from_version:
        return
    with contextlib.suppress(Unwell):
        attempt.service(manifest).stop()
    left = set(attempt.site.running(package.tree(now))) - attempt.site.holders(package.folder / "running")
    for process in left:
        if attempt.site.is_program(process, package.tree(now)):
            attempt.site.end(process)


def _remember_failure(attempt: Attempt, reason: str, output: str) -> None:
    """Evidence for whoever looks into it; without room for it the host is as well as before."""
    folder = attempt.package.failed / attempt.trying
    with contextlib.suppress(OSError):
        disk.make_folder(folder)
        # Not for everybody: what a command says may be more than all may know.
        disk.write_whole(folder / "output", output.encode("utf-8", "replace"), 0o600)
        now = attempt.site.clock()
        until = now + attempt.host_words.held_back_hours * 3600
        disk.write_json(folder / "reason.json", {"reason": reason, "at": now, "until": until})


# --- The end --------------------------------------------------------------------------------------------------------


def finish(attempt: Attempt, report: Report) -> Report:
    """Write the outcome, close the journal, tidy up. Done again after a crash, it comes to the same.

    What cannot be written now leaves the journal open, and the next start comes here again: the report is true all
    the same.
    """
    package = attempt.package
    attempt.journal.make_room()
    with contextlib.suppress(OSError):
        disk.write_json(package.outcome(report.order_id), {"report": report.__dict__})
        passed("outcome written")
        disk.write_json(package.folder / "outcome.json", {"report": report.__dict__})
        disk.unlink(package.unproven)
        attempt.journal.close()
        passed("journal closed")
        tidy(attempt.site, package, well=report.outcome == "succeeded")
    return report


def tidy(site: Site, package: Package, *, well: bool) -> None:
    """Remove what nothing needs: half-made things, old versions that nothing runs from, old outcomes, downloads.

    Only while no attempt is open. Where the last one failed its downloads stay for a day: asked again, nothing is
    fetched twice. Where somebody took the link `current` away and left our shims, trees stay for him to look at.
    """
    if package.version_before() and not os.path.lexists(str(package.tree(package.version_before()))):
        disk.unlink(package.previous)  # it was damaged, and whoever was to replace it was cut off
    kept = {package.version(), package.version_before()}
    may_go = bool(package.version()) or (not package.strangers() and not shim.ours(site.bin, package.name))
    for path in package.versions.iterdir():
        is_old = may_go and path.name not in kept and _is_tree(path)
        if (_is_half_made(path) or is_old) and not site.running(path):
            disk.remove_tree(path)
    for path in (package.folder / "facts").glob("*.json"):
        if path.is_file() and not package.tree(path.name[: -len(".json")]).is_dir():
            disk.unlink(path)
    disk.remove_tree(package.kept)
    disk.unlink(package.unproven)
    for folder in (package.folder, package.folder / "facts", package.folder / "outcomes", *_folders(package.failed)):
        for path in [*folder.glob(".*.partial"), *folder.glob(".*.new")]:
            disk.unlink(path)
    _tidy_downloads(package, 0 if well else KEPT_DOWNLOADS, site.clock())
    for path in _newest_first(package.folder / "outcomes")[KEPT_OUTCOMES:]:
        disk.unlink(path)


def _is_half_made(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".partial")


def _is_tree(path: Path) -> bool:
    """What else somebody put among the trees is not ours to remove."""
    return path.is_dir() and not path.is_symlink() and is_version(path.name)


def _tidy_downloads(package: Package, most: int, now: float) -> None:
    for number, path in enumerate(_newest_first(package.downloads)):
        if not path.is_file():
            continue
        age = now - path.stat().st_mtime
        if number >= most or not -KEPT_DOWNLOAD_SECONDS < age < KEPT_DOWNLOAD_SECONDS:
            disk.unlink(path)


def _newest_first(folder: Path) -> List[Path]:
    return sorted(folder.iterdir(), key=lambda path: path.lstat().st_mtime, reverse=True)


def _folders(folder: Path) -> List[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def meaning_of(problem: Exception) -> Tuple[str, str]:
    """What a failure is called in a report."""
    if isinstance(problem, Refusal):
        return problem.code, f"{problem.reason}: {problem.text}" if problem.reason else problem.text
    if isinstance(problem, Unwell):
        return "HealthCheckFailed", problem.text
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "DiskFull", f"no room left while writing {problem.filename or ''}".rstrip()
    if isinstance(problem, OSError) and problem.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "HostBusy", f"{problem.filename or 'the root'} cannot be written: {problem.strerror}"
    return "InternalError", f"{type(problem).__name__}: {problem}"


# --- What a crash left ----------------------------------------------------------------------------------------------


def recover(site: Site, package: Package, attempted: Attempted, say: Say, patience: int) -> Report:
    """Finish or undo an attempt that a crash cut off, within so many seconds. The caller holds the package.

    Where it could do neither the journal is there afterwards, and the next start comes here again.

    | last line | what is done |
    | nothing, or before switching | what is half-made goes; the old version runs; the attempt may be made again |
    | switching, `current` not at the goal yet | go back: the service and all state too |
    | switching, `current` at the goal | prove now: well, it is kept; unwell, go back |
    | going back | go on going back |
    | proven | it is kept |
    """
    attempt = Attempt(site, replace(attempted.order, patience=patience), say)
    site.end_orphans(str(package.folder))
    attempt.from_version, attempt.previous = attempted.from_version, attempted.previous
    with attempt.closed_gate:
        if attempted.order.kind == "uninstall":
            return _recover_uninstall(attempt, attempted)
        if not attempted.has(SWITCHING):
            text = f"cut off before the switch; {attempted.from_version or 'nothing'} is installed as before; ask again"
            return finish(attempt, attempt.report("failed", "InternalError", text))
        return _recover_switched(attempt, attempted)


def _recover_switched(attempt: Attempt, attempted: Attempted) -> Report:
    attempt.serving = bool(attempted.told(SWITCHING, "serving", False))
    if attempted.has(PROVEN) and not attempted.has(BACK):
        _serve_again(attempt)
        return succeed(attempt, message="finished after a crash")
    attempt.has_switched = True
    attempt.failing_before = frozenset(attempted.told(SWITCHING, "failing", ()))
    attempt.unwell_before = attempted.told(SWITCHING, "unwell")
    attempt.trying = attempted.told(BACK, "trying") or attempt.order.version
    try:
        _hold_still(attempt)
    except Refusal as problem:
        return attempt.report("failed", problem.code, problem.text)
    if attempted.has(BACK):
        told = [attempted.told(BACK, name) for name in ("code", "reason", "is_its_fault")]
        return go_back(attempt, told[0], told[1], bool(told[2]))
    if attempt.package.version() == attempted.order.version != attempted.from_version:
        return _judge_after_crash(attempt)
    return go_back(attempt, "InternalError", "cut off in the middle of the switch; ask again", False)


def _serve_again(attempt: Attempt) -> None:
    """Start the service that ran before, should the machine have gone down since."""
    manifest = known_manifest(attempt.package, attempt.package.version())
    if manifest is not None and attempt.serving:
        with contextlib.suppress(Unwell):  # it was proven: what stops it now is another matter, and status tells it
            attempt.service(manifest).start()


def _hold_still(attempt: Attempt) -> None:
    """Close the gate; wait for what began since the crash, where only one may run at once, as long as there is time.

    That is where state is to be compared, and where a version says so.

    Raises:
        Refusal: BackupRunning, it ran for longer.
    """
    package = attempt.package
    gate.make_lock_files(package.folder)
    with contextlib.suppress(Refusal):
        close_gate(package, attempt.closed_gate)
    known = [known_manifest(package, version) for version in (package.version(), attempt.from_version)]
    if (package.kept / keeps.INDEX).exists() or any(found is not None and found.switch == "idle" for found in known):
        try:
            attempt.closed_gate.enter_context(gate.held(package.folder / "running", seconds=attempt.seconds_left()))
        except gate.NotInTime:
            text = f"{package.version()} is not proven yet: a backup runs on it; ask again when it has ended"
            raise Refusal("BackupRunning", text) from None


def _judge_after_crash(attempt: Attempt) -> Report:
    """It was switched and not proven: what it is worth is found out now."""
    attempt.begin("prove")
    try:
        manifest = known_manifest(attempt.package, attempt.order.version)
        if manifest is None:
            raise Unwell("what it should be is not known")
        read_words(attempt)
        write_shims(attempt.site, attempt.package, manifest)
        if attempt.serving and manifest.service is not None:
            attempt.started = attempt.service(manifest).start()
        prove_version(attempt, manifest)
        attempt.journal.write(PROVEN)
    except Exception as problem:  # noqa: BLE001 - as above
        return _give_up(attempt, problem)
    attempt.open_gate()
    return succeed(attempt, message="proven after a crash")


# --- Uninstall ------------------------------------------------------------------------------------------------------


def uninstall(attempt: Attempt) -> Report:
    """Take the client off the host, when nothing runs from it. State that it keeps stays, unless the order says so."""
    package = attempt.package
    attempt.begin("drain")
    gate.make_lock_files(package.folder)
    try:
        read_words(attempt)
        wait_until_host_is_ready(attempt)
        attempt.go_on()
        close_gate(package, attempt.closed_gate)
        drain_all(attempt)
        attempt.go_on(code="BackupRunning")
        old = attempt.old
        attempt.journal.write(REMOVING, serving=attempt.serving)
    except Exception as problem:  # noqa: BLE001 - as above
        return finish(attempt, attempt.report("failed", *meaning_of(problem)))
    attempt.begin("switch")
    try:
        _remove(attempt, old)
    except Exception as problem:  # noqa: BLE001 - as above
        return _put_back(attempt, *meaning_of(problem))
    return _removed(attempt, "")


def _removed(attempt: Attempt, message: str) -> Report:
    """The client is gone. What it kept goes with it if the order says so: last, for nothing brings that back."""
    left = _remove_state(attempt) if attempt.order.remove_state else ""
    if left:
        keep_settings(attempt.package, attempt.order)
        text = f"the client is gone, its state is not: {left}"
        return finish(attempt, attempt.report("failed", "InternalError", text))
    return succeed(attempt, message=message)


def _remove_state(attempt: Attempt) -> str:
    """All that the release and this host's administrator call state; why not, if something of it stays."""
    if attempt.old is None:
        return f"what {attempt.from_version} keeps is not known"
    try:
        read_words(attempt)  # a crash may lie between
    except Refusal as problem:
        return problem.text
    return keeps.remove(attempt.keeps())


def _remove(attempt: Attempt, old: Optional[Manifest]) -> None:
    package = attempt.package
    if old is not None and attempt.serving:
        try:
            attempt.service(old).stop()
        except Unwell as problem:
            raise Refusal("HostBusy", f"{old.version}: {problem.text}") from None
    shim.write_shims(attempt.site.bin, package.folder, package.name, {})
    disk.point(package.current, "")
    disk.point(package.previous, "")
    passed("uninstalled")


def _put_back(attempt: Attempt, code: str, text: str) -> Report:
    """It could not be removed: then it is there as before. What the disk refuses now is left to the next start."""
    attempt.journal.make_room()
    with contextlib.suppress(OSError):
        attempt.journal.write(BACK, code=code, reason=text)
    try:
        _with_patience(_undo_removal, attempt)
    except Exception as second:  # noqa: BLE001 - as above
        report = attempt.report("failed", "RollbackFailed", f"{text}; and then: {meaning_of(second)[1]}")
        return report if isinstance(second, OSError) else finish(attempt, report)
    return finish(attempt, attempt.report("failed", code, text))


def _undo_removal(attempt: Attempt) -> None:
    old = attempt.old
    disk.point(attempt.package.current, attempt.from_version)
    disk.point(attempt.package.previous, attempt.previous)
    if old is not None:
        write_shims(attempt.site, attempt.package, old)
        if attempt.serving:
            attempt.service(old).start()


def _recover_uninstall(attempt: Attempt, attempted: Attempted) -> Report:
    if not attempted.has(REMOVING):
        text = f"cut off before anything was removed; {attempt.from_version} is installed as before; ask again"
        return finish(attempt, attempt.report("failed", "InternalError", text))
    attempt.serving = bool(attempted.told(REMOVING, "serving", False))
    old = attempt.old
    if attempted.has(BACK):
        return _put_back(attempt, attempted.told(BACK, "code"), attempted.told(BACK, "reason"))
    try:
        _remove(attempt, old)
    except Exception as problem:  # noqa: BLE001 - as above
        return _put_back(attempt, *meaning_of(problem))
    return _removed(attempt, "finished after a crash")
