"""Uninstall a client: completely, or it is there as before."""

from __future__ import annotations

import contextlib
from typing import Optional

from backfleet_host.contract import Report
from backfleet_host.files import is_locked
from backfleet_host.layout import HOST_PACKAGE, Places
from backfleet_host.manifest import Manifest
from backfleet_host.upgrader import disk, gate
from backfleet_host.upgrader.errors import OrderFailed, Unhealthy
from backfleet_host.upgrader.failpoints import failpoint
from backfleet_host.upgrader.host import adopted, shim
from backfleet_host.upgrader.host.policy import read_policy
from backfleet_host.upgrader.transaction.attempt import Attempt
from backfleet_host.upgrader.transaction.carrying import keep_additions
from backfleet_host.upgrader.transaction.checks import check_shims_can_be_written, wait_until_host_is_ready
from backfleet_host.upgrader.transaction.draining import drain_until_idle
from backfleet_host.upgrader.transaction.journal import REMOVING, ROLLING_BACK, OpenAttempt
from backfleet_host.upgrader.transaction.outcome import (
    ENDED_EARLY,
    finish,
    meaning_of,
    retry_on_disk_errors,
    save_settings,
    succeed,
)
from backfleet_host.upgrader.transaction.plan import Plan
from backfleet_host.upgrader.transaction.switching import write_shims


def uninstall(attempt: Attempt) -> Report:
    """Remove the client when nothing runs from it. Its state stays, unless the order says that it goes too."""
    package = attempt.package
    attempt.begin("drain")
    gate.make_lock_files(package.folder)
    try:
        if package.name == HOST_PACKAGE and is_locked(Places(attempt.installation.root).lock):
            text = "an order cannot remove what carries it out; run `backfleet-host remove` on the host"
            raise OrderFailed("ManagedElsewhere", text)
        policy = read_policy(attempt.installation.etc, package.name)
        wait_until_host_is_ready(attempt, policy)
        check_shims_can_be_written(attempt, {})
        attempt.check_interrupted()
        old = attempt.old_manifest()
        _give_back(attempt)
        serving = drain_until_idle(attempt, old, policy.host.drain_limit)
        attempt.check_interrupted(code="BackupRunning")
        if not attempt.order.remove_state:
            keep_additions(attempt)
        attempt.journal.write(REMOVING, serving=serving)
    except Exception as problem:  # noqa: BLE001 - whatever it is, the server must hear of it
        return _take_over_again(attempt, *meaning_of(problem))
    attempt.begin("switch")
    return _remove_or_put_back(attempt, old, serving, "")


def resume_uninstall(attempt: Attempt, cut_off: OpenAttempt) -> Report:
    """Finish or undo an uninstall that a crash cut off."""
    if not cut_off.has(REMOVING):
        text = f"{ENDED_EARLY} anything was removed; {attempt.from_version} is installed as before; ask again"
        return _take_over_again(attempt, "HostBusy", text)
    serving = bool(cut_off.field(REMOVING, "serving", False))
    if cut_off.has(ROLLING_BACK):
        return _put_back(attempt, serving, cut_off.field(ROLLING_BACK, "code"), cut_off.field(ROLLING_BACK, "reason"))
    return _remove_or_put_back(attempt, attempt.old_manifest(), serving, "finished after a crash")


def _give_back(attempt: Attempt) -> None:
    """Put what was there before this client at its place: what starts from now on is that, and does not wait for us."""
    installation, package = attempt.installation, attempt.package
    if adopted.read(package) is not None:
        attempt.state.details["given_back"] = adopted.give_back(installation, package)
        shim.write_shims(installation.bin, package.folder, package.name, {})
        failpoint("given back")


def _take_over_again(attempt: Attempt, code: str, text: str) -> Report:
    """End an uninstall that removed nothing. What the disk refuses now is left to the next start."""
    installation, old = attempt.installation, attempt.old_manifest()
    programs = old.programs if old is not None else {}
    try:
        retry_on_disk_errors(lambda: adopted.take_over(installation, attempt.package, programs))
    except Exception as second:  # noqa: BLE001 - whatever it is, the server must hear of it
        text = f"{text}; and taking the client over again failed: {meaning_of(second)[1]}"
        return attempt.report("failed", "RollbackFailed", text)
    attempt.state.details.pop("given_back", None)
    return finish(attempt, attempt.report("failed", code, text))


def _remove_or_put_back(attempt: Attempt, old: Optional[Manifest], serving: bool, message: str) -> Report:
    try:
        _remove(attempt, old, serving)
    except Exception as problem:  # noqa: BLE001 - whatever it is, the client must not stay half removed
        return _put_back(attempt, serving, *meaning_of(problem))
    left = _remove_state(attempt) if attempt.order.remove_state else ""
    if left:
        save_settings(attempt.package, attempt.order)
        text = f"the client was removed, but its state was not: {left}"
        return finish(attempt, attempt.report("failed", "InternalError", text))
    return succeed(attempt, message=message)


def _remove_state(attempt: Attempt) -> str:
    """Remove all state that the release and the host policy name: last, because it cannot be undone.

    Returns:
        Why some of it stays; "" if all is gone.
    """
    old = attempt.old_manifest()
    if old is None:
        return f"the description of {attempt.from_version}, which names it, is missing or unreadable"
    try:
        policy = read_policy(attempt.installation.etc, attempt.package.name)  # again: a crash may lie between
    except OrderFailed as problem:
        return problem.text
    return attempt.preserved.remove(Plan(policy).preserved_paths(old))


def _remove(attempt: Attempt, old: Optional[Manifest], serving: bool) -> None:
    package = attempt.package
    if old is not None and serving:
        try:
            attempt.service(old).stop()
        except Unhealthy as problem:
            raise OrderFailed("HostBusy", f"{old.version}: {problem.text}") from None
    is_adopted = adopted.read(package) is not None
    if is_adopted:
        _give_back(attempt)  # again: after a crash
        disk.remove_file(package.uninstalled)
    else:
        disk.write_json(package.uninstalled, {"version": attempt.from_version})
    shim.write_shims(attempt.installation.bin, package.folder, package.name, {})
    disk.point_link(package.current, "")
    disk.point_link(package.previous, "")
    disk.remove_file(package.adopted)
    failpoint("uninstalled")


def _put_back(attempt: Attempt, serving: bool, code: str, text: str) -> Report:
    """Make the client what it was before. What the disk refuses now is left to the next start."""
    attempt.journal.release_reserve()
    with contextlib.suppress(OSError):
        attempt.journal.write(ROLLING_BACK, code=code, reason=text)
    try:
        retry_on_disk_errors(lambda: _undo_removal(attempt, serving))
    except Exception as second:  # noqa: BLE001 - whatever it is, the server must hear of it
        text = f"{text}; and putting the client back failed: {meaning_of(second)[1]}"
        report = attempt.report("failed", "RollbackFailed", text)
        return report if isinstance(second, OSError) else finish(attempt, report)
    return finish(attempt, attempt.report("failed", code, text))


def _undo_removal(attempt: Attempt, serving: bool) -> None:
    old = attempt.old_manifest()
    disk.point_link(attempt.package.current, attempt.from_version)
    disk.point_link(attempt.package.previous, attempt.previous)
    if old is not None:
        adopted.take_over(attempt.installation, attempt.package, old.programs)
        write_shims(attempt.installation, attempt.package, old)
        if serving:
            attempt.service(old).start()
