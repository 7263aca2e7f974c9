"""The upgrade on the host: one transaction, forwards or backwards, never between.

Verbs: `carry_out` an order, `recover` what a crash left of one, `recover_all`, `status`. Every verb answers with a
report and raises nothing but for a root that is not enrolled: whatever happens, the server must hear of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from backfleet_host.contract import Malformed, Order, Report, is_version, read_report, stage_line
from backfleet_host.platforms import platform_here
from backfleet_host.upgrader.host import drift, gate
from backfleet_host.upgrader.host.disk import read_json
from backfleet_host.upgrader.host.installation import NO_PACKAGES, Package, Site, site_of
from backfleet_host.upgrader.refusal import Refusal
from backfleet_host.upgrader.transaction.attempt import Attempt, Stopping, known_manifest, nobody_stops_it
from backfleet_host.upgrader.transaction.checks import check_not_held_back, is_whole
from backfleet_host.upgrader.transaction.engine import move
from backfleet_host.upgrader.transaction.journal import Journal, Unreadable
from backfleet_host.upgrader.transaction.outcome import finish, keep_settings, meaning_of, tidy
from backfleet_host.upgrader.transaction.recovery import recover as _recover_attempt
from backfleet_host.upgrader.transaction.uninstall import uninstall

__all__ = ["Site", "carry_out", "platform_here", "recover", "recover_all", "site_of", "status"]

Say = Callable[[str], None]
ANOTHER_ORDER_SECONDS = 0.5  # for the lock: long enough for one that is just ending


def carry_out(order: Order, root: Path, *, say: Say, stopping: Stopping = nobody_stops_it) -> Report:
    """Carry an order out and report what is then true. The same order again is answered, not done twice.

    Once `stopping` is true it ends with TaskCancelled, if nothing has been switched yet; else it finishes or goes back.
    """
    return carry_out_on(site_of(root, order.downloads), order, say, stopping)


def carry_out_on(site: Site, order: Order, say: Say, stopping: Stopping = nobody_stops_it) -> Report:
    """As `carry_out`, on a site that is already known."""
    if order.package in NO_PACKAGES:
        return _refused(order, "InternalError", f"no package may be called {order.package!r}")
    package = site.package(order.package)
    others = os.umask(0o022)  # whoever we were started by: others run what we write
    try:
        return _carried_out(site, package, order, _whatever_becomes_of_it(say), stopping)
    finally:
        os.umask(others)


def _whatever_becomes_of_it(say: Say) -> Say:
    """A disk that is full where progress is told to stops neither an order nor its way back."""

    def say_it(line: str) -> None:
        with contextlib.suppress(OSError):
            say(line)

    return say_it


def _carried_out(site: Site, package: Package, order: Order, say: Say, stopping: Stopping) -> Report:
    if order.kind == "status":
        return _told(site, package, order, say)
    try:
        package.prepare()
        with gate.held(package.folder / "lock", seconds=ANOTHER_ORDER_SECONDS):
            return _admitted(site, package, order, say, stopping)
    except gate.NotInTime:
        text = "another order for this package is being carried out"
        return _refused(order, "UpgradeInProgress", text, package)
    except Unreadable as problem:
        return _refused(order, "InternalError", str(problem), package)
    except Exception as problem:  # noqa: BLE001 - whatever it is, the server must hear of it
        return _refused(order, *meaning_of(problem), package)


def _told(site: Site, package: Package, order: Order, say: Say) -> Report:
    """How all packages stand. What a crash left of this one is made good first: nobody else may come to do it."""
    if package.journal.exists():
        with contextlib.suppress(OSError, Unreadable, gate.NotInTime), gate.held(package.folder / "lock", seconds=0):
            cut_off = Journal(package.journal).read()  # with the lock in hand: an order may just have ended
            if cut_off is not None:
                _recover_attempt(site, package, cut_off, say, order.timeout_seconds)
    return _succeeded(order, package, status_of(site))


def _admitted(site: Site, package: Package, order: Order, say: Say, stopping: Stopping) -> Report:
    """What a crash left comes first; then this order, unless it was answered before or there is nothing to do."""
    say(stage_line("admit"))
    cut_off = Journal(package.journal).read()
    if cut_off is not None:
        report = _recover_attempt(site, package, cut_off, say, order.timeout_seconds)
        is_still_open = Journal(package.journal).read() is not None
        if is_still_open or cut_off.order.order_id == order.order_id or order.kind == "recover":
            return dataclasses.replace(report, order_id=order.order_id, kind=order.kind)
    with contextlib.suppress(OSError):  # what somebody put here stops no order
        Journal(package.journal).close()  # one that was cut off in its first line begins nothing
        tidy(site, package, well=_ended_well(package))
    known = _known_outcome(package, order.order_id)
    if known is not None:
        return dataclasses.replace(known, current_version=package.version())  # which later orders may have changed
    if order.kind == "recover":
        return _succeeded(order, package, {})
    strangers = package.strangers()
    if strangers:
        return _refused(order, "ManagedElsewhere", f"{strangers[0]}; remove it, or point it to one of ours", package)
    attempt = Attempt(site, order, say, stopping)
    settled = _settled(site, attempt)
    if settled is not None:
        return finish(attempt, settled)
    attempt.journal.open(order, attempt.from_version, attempt.previous, site.clock())
    with attempt.closed_gate:
        return uninstall(attempt) if order.kind == "uninstall" else move(attempt)


def _ended_well(package: Package) -> bool:
    """Whether the last order did: then nobody asks for its downloads again, should it have died before they went."""
    last = (read_json(package.folder / "outcome.json") or {}).get("report")
    return isinstance(last, dict) and last.get("outcome") == "succeeded"


def _settled(site: Site, attempt: Attempt) -> Report | None:
    """The answer where nothing needs to be done, or nothing may."""
    order, current = attempt.order, attempt.from_version
    if order.kind == "uninstall":
        return None if current else attempt.report("succeeded", "AlreadyCurrent", "nothing is installed")
    if order.kind == "upgrade" and not current:
        return attempt.report("failed", "ClientNotInstalled", f"{order.package} is not installed on this host")
    if current == order.version and _is_as_it_should_be(site, attempt):
        keep_settings(attempt.package, order)
        return attempt.report("succeeded", "AlreadyCurrent", f"{current} runs already")
    try:
        check_not_held_back(attempt, order.version)
    except Refusal as problem:
        return attempt.report("failed", problem.code, problem.text)
    return None


def _is_as_it_should_be(site: Site, attempt: Attempt) -> bool:
    """Whether what is installed is whole, and its shims are ours. What is not is mended by the same order."""
    manifest = attempt.old
    if manifest is None or not is_whole(attempt.package, manifest.version):
        return False
    return not drift.of_shims(site, attempt.package, manifest)


def recover(order: Order, root: Path, *, say: Say) -> Report:
    """Make good what a dead process left of this order, and report what is now true."""
    site = site_of(root, order.downloads)
    package = site.package(order.package)
    known = _known_outcome(package, order.order_id)
    if known is not None:
        return dataclasses.replace(known, current_version=package.version())
    recovered = carry_out_on(site, _recovery(order), say)
    if recovered.outcome == "failed" or package.version() == order.version:
        return dataclasses.replace(recovered, kind=order.kind, to_version=order.version)
    # It died before its journal began: nothing was touched.
    text = f"cut off before it began; {package.version() or 'nothing'} is installed as before; ask again"
    return _refused(order, "InternalError", text, package)


def recover_all(root: Path, *, say: Say) -> List[Report]:
    """Finish or undo whatever a crash left under this root; a report for each package that had something."""
    site = site_of(root)
    reports = []
    for package in site.packages():
        try:
            cut_off = Journal(package.journal).read()
        except Unreadable:  # its package says so; the others are recovered all the same
            reports.append(carry_out_on(site, Order("recover-all", "recover", package.name), say))
            continue
        if cut_off is not None:
            reports.append(carry_out_on(site, _recovery(cut_off.order), say))
    return reports


def _recovery(order: Order) -> Order:
    return dataclasses.replace(order, kind="recover", remove_state=False, settings={})


def status(root: Path) -> Dict[str, Any]:
    """Versions, links and what is open, of every package under this root. Changes nothing."""
    return status_of(site_of(root))


def status_of(site: Site) -> Dict[str, Any]:
    """As `status`, on a site that is already known."""
    return {"platform": platform_here(), "packages": [_package_status(site, package) for package in site.packages()]}


def _package_status(site: Site, package: Package) -> Dict[str, Any]:
    last = read_json(package.folder / "outcome.json") or {}
    return {
        "package": package.name,
        "current": package.version(),
        "previous": package.version_before(),
        "versions": _versions_of(package),
        "drift": drift.of(site, package, known_manifest(package, package.version())),
        "in_use": _in_use(site, package),
        "settings": read_json(package.settings) or {},
        "attempt_open": package.journal.exists(),
        "failed": sorted(path.name for path in package.failed.iterdir()) if package.failed.is_dir() else [],
        "last": last.get("report"),
    }


def _known_outcome(package: Package, order_id: str) -> Report | None:
    kept = read_json(package.outcome(order_id))
    if kept is None:
        return None
    try:
        return read_report(kept["report"])
    except (Malformed, KeyError, TypeError):
        return None


def _succeeded(order: Order, package: Package, details: Dict[str, Any]) -> Report:
    return Report(
        order.order_id, order.kind, order.package, "succeeded", current_version=package.version(), details=details
    )


def _refused(order: Order, code: str, text: str, package: Optional[Package] = None) -> Report:
    return Report(
        order.order_id,
        order.kind,
        order.package,
        "failed",
        code=code,
        message=text,
        to_version=order.version,
        current_version=package.version() if package is not None else "",
    )


def _versions_of(package: Package) -> List[str]:
    """Complete trees on disk."""
    return sorted(path.name for path in package.versions.iterdir() if path.is_dir() and is_version(path.name))


def _in_use(site: Site, package: Package) -> Dict[str, List[int]]:
    """Old versions that processes still run from: two generations at once are no secret."""
    old = [version for version in _versions_of(package) if version != package.version()]
    found = {version: site.running(package.tree(version)) for version in old}
    return {version: running for version, running in found.items() if running}
