"""Carry orders out, and recover what a crash left of them.

Every verb answers with a report and raises nothing except that a root is not enrolled: the server must hear of
whatever happens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from backfleet_host.contract import PREPARING, Malformed, Order, Report, read_report, stage_line
from backfleet_host.identity import read_identity
from backfleet_host.layout import HOST_PACKAGE, Places
from backfleet_host.upgrader import adopting, gate
from backfleet_host.upgrader.disk import read_json
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.host import drift, modes
from backfleet_host.upgrader.host.installation import (
    RESERVED_NAMES,
    Installation,
    PackageFolder,
    installation_at,
)
from backfleet_host.upgrader.host.policy import read_host_policy, read_policy
from backfleet_host.upgrader.release import upgrade_path
from backfleet_host.upgrader.release.addresses import check_address
from backfleet_host.upgrader.release.relays import Relay
from backfleet_host.upgrader.status import status_of
from backfleet_host.upgrader.transaction.attempt import (
    Attempt,
    CancelCheck,
    Progress,
    begin_attempt,
    never_cancelled,
    reason_details,
)
from backfleet_host.upgrader.transaction.checks import (
    BUSY_AGAIN_SECONDS,
    check_changes_allowed,
    check_not_quarantined,
    is_intact_release,
)
from backfleet_host.upgrader.transaction.client_settings import take_settings
from backfleet_host.upgrader.transaction.engine import prepare, upgrade
from backfleet_host.upgrader.transaction.journal import AttemptJournal, UnreadableJournal
from backfleet_host.upgrader.transaction.outcome import ENDED_EARLY, finish, meaning_of, save_settings, tidy
from backfleet_host.upgrader.transaction.recovery import recover as recover_attempt
from backfleet_host.upgrader.transaction.switching import write_shims
from backfleet_host.upgrader.transaction.uninstall import uninstall
from backfleet_host.versions import FIRST_SCHEME, scheme_of

OWN_SECONDS = 240.0  # for which an upgrade of the host program may hold its lock: verifying it, and rolling it back
LOCK_SECONDS = 0.5  # to wait for another order of the same package that is just ending


def carry_out(
    order: Order,
    root: Path,
    *,
    progress: Progress,
    is_cancelled: CancelCheck = never_cancelled,
    mirror: Optional[Relay] = None,
) -> Report:
    """Carry an order out and report what is then true. The same order again is answered, not repeated.

    Args:
        progress: called with each line of progress. Best effort: what it raises as OSError is ignored.
        is_cancelled: once it returns True the order ends with TaskCancelled, if nothing has been switched yet. After
            the switch it is ignored: the order then finishes or rolls back.
        mirror: what else is asked for releases, before the server.

    Raises:
        NotEnrolled: the root belongs to no server.
    """
    installation = dataclasses.replace(installation_at(root, order.downloads), mirror=mirror)
    try:
        if order.downloads:
            allowed = read_host_policy(installation.etc).downloads
            check_address(order.downloads, read_identity(Places(root)).server, allowed)
    except OrderFailed as problem:
        refused = _failed(order, problem.code, problem.text, installation.package(order.package))
        return dataclasses.replace(refused, stage="admit", details={"reason": problem.reason} if problem.reason else {})
    return carry_out_on(installation, order, progress, is_cancelled)


def carry_out_on(
    installation: Installation, order: Order, progress: Progress, is_cancelled: CancelCheck = never_cancelled
) -> Report:
    """Carry an order out on an installation that is already known. As `carry_out`."""
    if order.package in RESERVED_NAMES:
        return _failed(order, "InternalError", f"no package may have the name {order.package!r}; it is reserved")
    umask_before = os.umask(0o022)  # whatever ours was: other users run what we write
    try:
        return _carry_out(installation, order, _best_effort(progress), is_cancelled)
    finally:
        os.umask(umask_before)


def _best_effort(progress: Progress) -> Progress:
    """Return progress whose output is best effort: a full disk must not abort an order or its rollback."""

    def report(line: str) -> None:
        with contextlib.suppress(OSError):
            progress(line)

    return report


def _carry_out(installation: Installation, order: Order, progress: Progress, is_cancelled: CancelCheck) -> Report:
    package = installation.package(order.package)
    if order.kind == "status":
        return _report_status(installation, package, order, progress)
    try:
        order = _once_root_is_writable(installation, order, is_cancelled)
        package.prepare()
        with gate.held(package.folder / "lock", seconds=_lock_seconds(order)):
            modes.mend(installation, package)
            return _admit(installation, package, order, progress, is_cancelled)
    except gate.NotInTime:
        text = "another order for this package is being carried out; ask again when it has ended"
        return _failed(order, "UpgradeInProgress", text, package)
    except UnreadableJournal as problem:
        return _failed(order, "InternalError", str(problem), package)
    except Exception as problem:  # noqa: BLE001 - whatever it is, the server must hear of it
        return _failed(order, *meaning_of(problem), package, reason_details(problem))


def _once_root_is_writable(installation: Installation, order: Order, is_cancelled: CancelCheck) -> Order:
    """Wait while the root is read-only, because this host may still be booting.

    Returns:
        The order with what is left of its time.

    Raises:
        OrderFailed: TaskCancelled; HostBusy, the root was not writable in time.
    """
    began = time.monotonic()
    while _is_read_only(installation.root):
        left = order.timeout_seconds - (time.monotonic() - began)
        if is_cancelled():
            raise OrderFailed("TaskCancelled", "the order was cancelled before the switch; nothing was touched")
        if left <= 0:
            text = f"{installation.root} cannot be written, its file system is read-only; nothing was touched"
            raise OrderFailed("HostBusy", f"{text}; ask again once it is writable", "ReadOnlyRoot")
        time.sleep(min(left, BUSY_AGAIN_SECONDS))
    return dataclasses.replace(order, timeout_seconds=max(1, round(order.timeout_seconds - (time.monotonic() - began))))


def _is_read_only(root: Path) -> bool:
    try:
        return bool(os.statvfs(str(root)).f_flag & os.ST_RDONLY)
    except OSError:  # what is wrong there, the next step finds out
        return False


def _report_status(installation: Installation, package: PackageFolder, order: Order, progress: Progress) -> Report:
    """Report the status of all packages. First recover an open attempt of this one: nobody else may come to do it."""
    if package.journal.exists():
        with (
            contextlib.suppress(OSError, UnreadableJournal, gate.NotInTime),
            gate.held(package.folder / "lock", seconds=0),
        ):
            cut_off = AttemptJournal(package.journal).read()  # once we hold the lock: the order may have just ended
            if cut_off is not None:
                recover_attempt(installation, cut_off, progress, order.timeout_seconds)
    return _succeeded(order, package, status_of(installation))


def _admit(
    installation: Installation, package: PackageFolder, order: Order, progress: Progress, is_cancelled: CancelCheck
) -> Report:
    """Recover what a crash left; then carry the order out, unless it was answered before or nothing is to be done."""
    progress(stage_line("admit"))
    adopting.finish_if_cut_off(installation, package)
    journal = AttemptJournal(package.journal)
    cut_off = journal.read()
    if cut_off is not None:
        report = recover_attempt(installation, cut_off, progress, order.timeout_seconds)
        is_still_open = journal.read() is not None
        if is_still_open or cut_off.order.order_id == order.order_id or order.kind == "recover":
            return dataclasses.replace(report, order_id=order.order_id, kind=order.kind)
    with contextlib.suppress(OSError):  # files that somebody put here must not stop an order
        journal.close()  # a journal that was cut off in its first line
        tidy(installation, package, succeeded=_last_succeeded(package))
    known = _known_outcome(package, order.order_id)
    if known is not None:
        return dataclasses.replace(known, current_version=package.version())  # later orders may have changed it
    if order.kind == "recover":
        return _succeeded(order, package, {})
    unmanaged = package.unmanaged_links()
    if unmanaged:
        return _failed(order, "ManagedElsewhere", f"{unmanaged[0]}; remove it, or point it to one of ours", package)
    attempt = begin_attempt(installation, order, progress, is_cancelled)
    return _begin(_adopt_first(attempt) if order.kind == "install" and not attempt.from_version else attempt)


def _adopt_first(attempt: Attempt) -> Attempt:
    """Take over what is there already, where this host's policy says so; what follows is then an upgrade of it.

    Raises:
        OrderFailed: ManagedElsewhere, it cannot be taken over, and runs as before.
    """
    installation, package = attempt.installation, attempt.package
    try:
        allowed = read_policy(installation.etc, package.name)
    except OrderFailed:
        return attempt  # its checks read it again, and say at which stage it was found wrong
    if allowed.adopt != "divert" or not adopting.programs_of(installation, package.name):
        return attempt
    check_changes_allowed(allowed)
    adoption = adopting.adopt_locked(installation, package)
    after = begin_attempt(installation, attempt.order, attempt.progress, attempt.is_cancelled)
    after.state.details["adopted"] = {place.path: adoption.version for place in adoption.places}
    return after


def _begin(attempt: Attempt) -> Report:
    """Answer an order for which nothing is to be done; else open its journal and carry it out."""
    if attempt.order.kind == upgrade_path.ROLL_BACK and not attempt.order.version and attempt.previous:
        attempt = dataclasses.replace(attempt, order=dataclasses.replace(attempt.order, version=attempt.previous))
    order = attempt.order
    answer = _answer_at_once(attempt)
    if answer is not None:
        return finish(attempt, answer)
    attempt.journal.open(order, attempt.from_version, attempt.previous, attempt.installation.clock())
    with attempt.helpers, attempt.closed_gate:
        return _carry_out_steps(attempt)


def _carry_out_steps(attempt: Attempt) -> Report:
    if attempt.order.kind == "uninstall":
        return uninstall(attempt)
    return prepare(attempt) if attempt.order.kind in PREPARING else upgrade(attempt)


def _answer_at_once(attempt: Attempt) -> Optional[Report]:
    """Return the report where nothing needs to be done, or nothing may; else None."""
    order, current = attempt.order, attempt.from_version
    if order.kind == "uninstall":
        return None if current else attempt.report("succeeded", "AlreadyCurrent", "nothing is installed")
    if order.kind in ("upgrade", upgrade_path.ROLL_BACK, "settings", *PREPARING) and not current:
        return attempt.report("failed", "ClientNotInstalled", f"{order.package} is not installed on this host")
    if order.kind == "settings":
        return take_settings(attempt)
    if current == order.version and _is_as_installed(attempt):
        save_settings(attempt.package, order)
        _renew_shims(attempt)
        return attempt.report("succeeded", "AlreadyCurrent", f"{current} is installed already")
    try:
        _check_roll_back(attempt)
        if order.kind != "precheck":  # which finds that among all that is to be found
            check_not_quarantined(attempt, order.version)
    except OrderFailed as problem:
        return attempt.report("failed", problem.code, problem.text)
    return None


def _check_roll_back(attempt: Attempt) -> None:
    """Check that an order to roll back has a version to go to, and goes down. Raises OrderFailed, NotAllowedFrom."""
    order, current, installed = attempt.order, attempt.from_version, attempt.old_manifest()
    if order.kind != upgrade_path.ROLL_BACK:
        return
    if not order.version:
        text = f"{current} is installed, and no version from before it is kept; name one (`--version`)"
        raise OrderFailed("NotAllowedFrom", text)
    scheme = scheme_of(FIRST_SCHEME) if installed is None else installed.version_scheme
    if not scheme.is_older(order.version, current):
        text = f"{order.version} is not older than {current}, which is installed; an upgrade goes there"
        raise OrderFailed("NotAllowedFrom", text)


def _renew_shims(attempt: Attempt) -> None:
    """Write shims of an older form anew, or with another limit. Each is replaced in one step, while clients run."""
    manifest = attempt.old_manifest()
    if manifest is not None:
        with contextlib.suppress(OSError):  # what is there works
            gate.make_lock_files(attempt.package.folder)
            write_shims(attempt.installation, attempt.package, manifest)


def _is_as_installed(attempt: Attempt) -> bool:
    """Return whether the installed version is intact and its shims are ours. If not, the same order repairs it."""
    manifest = attempt.old_manifest()
    if manifest is None or not is_intact_release(attempt.package, manifest.version):
        return False
    return not drift.of_shims(attempt.installation, attempt.package, manifest)


def recover(order: Order, root: Path, *, progress: Progress) -> Report:
    """Finish or undo what a dead process left of this order, and report what is then true.

    Raises:
        NotEnrolled: the root belongs to no server.
    """
    installation = installation_at(root)  # nothing is downloaded
    package = installation.package(order.package)
    known = _known_outcome(package, order.order_id)
    if known is not None:
        return dataclasses.replace(known, current_version=package.version())
    recovered = carry_out_on(installation, _as_recovery(order), progress)
    to_version = order.version or recovered.to_version  # a roll-back may leave it to the host
    if recovered.outcome == "failed" or package.version() == to_version:
        return dataclasses.replace(recovered, kind=order.kind, to_version=to_version)
    # The process died before its journal began, so that nothing was touched.
    text = f"{ENDED_EARLY} it began; {package.version() or 'nothing'} is installed as before; ask again"
    return _failed(order, "HostBusy", text, package)


def recover_all(root: Path, *, progress: Progress) -> List[Report]:
    """Finish or undo whatever a crash left under this root; return a report for each package that had something.

    Raises:
        NotEnrolled: the root belongs to no server.
    """
    installation = installation_at(root)
    reports = []
    for package in installation.packages():
        with contextlib.suppress(gate.NotInTime), gate.held(package.folder / "lock", seconds=LOCK_SECONDS):
            adopting.finish_if_cut_off(installation, package)
        try:
            cut_off = AttemptJournal(package.journal).read()
        except UnreadableJournal:  # reported for this package; the others are recovered all the same
            order = Order("recover-all", "recover", package.name)
            reports.append(carry_out_on(installation, order, progress))
            continue
        if cut_off is not None:
            reports.append(carry_out_on(installation, _as_recovery(cut_off.order), progress))
    return reports


def _lock_seconds(order: Order) -> float:
    """Return for how many seconds an order waits for another one of the same package.

    A rollback of the host program starts the agent that then asks what came of it, and waits until that agent runs.
    """
    return OWN_SECONDS if (order.kind, order.package) == ("recover", HOST_PACKAGE) else LOCK_SECONDS


def _as_recovery(order: Order) -> Order:
    return dataclasses.replace(order, kind="recover", remove_state=False, settings={})


def _last_succeeded(package: PackageFolder) -> bool:
    """Return whether the last order did: then its downloads go, should it have died before it removed them."""
    last = (read_json(package.folder / "outcome.json") or {}).get("report")
    return isinstance(last, dict) and last.get("outcome") == "succeeded"


def _known_outcome(package: PackageFolder, order_id: str) -> Optional[Report]:
    """Return the report of an order that was answered before; None if there is none."""
    saved = read_json(package.outcome(order_id))
    if saved is None:
        return None
    try:
        return read_report(saved["report"])
    except (Malformed, KeyError, TypeError):
        return None


def _succeeded(order: Order, package: PackageFolder, details: Dict[str, Any]) -> Report:
    version, is_known = package.version(), not package.unmanaged_links()
    about = (order.order_id, order.kind, order.package, "succeeded")
    return Report(*about, current_version=version if is_known else "", details=details, version_known=is_known)


def _failed(
    order: Order,
    code: str,
    text: str,
    package: Optional[PackageFolder] = None,
    details: Optional[Dict[str, Any]] = None,
) -> Report:
    """Return a report of a failure. Where one of our links leads elsewhere, what is installed is not known."""
    is_known = package is not None and not package.unmanaged_links()
    return Report(
        order.order_id,
        order.kind,
        order.package,
        "failed",
        code=code,
        message=text,
        to_version=order.version,
        current_version=package.version() if package is not None and is_known else "",
        details=details or {},
        version_known=is_known,
    )
