"""Taking a client off its host: whole, or it is there as before."""

from __future__ import annotations

import contextlib
from typing import Optional

from backfleet_host.contract import Report
from backfleet_host.manifest import Manifest
from backfleet_host.upgrader.failpoints import failpoint
from backfleet_host.upgrader.host import disk, gate, preserved_state, shim
from backfleet_host.upgrader.refusal import Refusal, Unwell
from backfleet_host.upgrader.transaction.attempt import Attempt
from backfleet_host.upgrader.transaction.checks import read_words, wait_until_host_is_ready
from backfleet_host.upgrader.transaction.journal import BACK, REMOVING, Attempted
from backfleet_host.upgrader.transaction.outcome import finish, keep_settings, meaning_of, succeed, with_patience
from backfleet_host.upgrader.transaction.steps import close_gate, drain_all, write_shims


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
    except Exception as problem:  # noqa: BLE001 - whatever it is, the host must not stay in between
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
    return preserved_state.remove(attempt.keeps())


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
    failpoint("uninstalled")


def _put_back(attempt: Attempt, code: str, text: str) -> Report:
    """It could not be removed: then it is there as before. What the disk refuses now is left to the next start."""
    attempt.journal.make_room()
    with contextlib.suppress(OSError):
        attempt.journal.write(BACK, code=code, reason=text)
    try:
        with_patience(_undo_removal, attempt)
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


def go_on_uninstalling(attempt: Attempt, attempted: Attempted) -> Report:
    """Finish or undo one that a crash cut off."""
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
