"""How an order ends: its outcome written, its journal closed, and nothing left lying about."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import Callable, List, Tuple

from backfleet_host.contract import Order, Report, is_version
from backfleet_host.upgrader.failpoints import failpoint
from backfleet_host.upgrader.host import disk, shim
from backfleet_host.upgrader.host.installation import Package, Site
from backfleet_host.upgrader.refusal import Refusal, Unwell
from backfleet_host.upgrader.transaction.attempt import Attempt

UNDO_TRIES = 4  # of going back, if the disk refuses it
UNDO_PAUSE_SECONDS = 0.05  # before the second, doubled each time
KEPT_OUTCOMES = 100  # orders whose outcome is remembered, so that the same order twice is answered, not done
KEPT_DOWNLOADS = 4  # artifacts or parts of them, for whoever asks again
KEPT_DOWNLOAD_SECONDS = 24 * 3600


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


def finish(attempt: Attempt, report: Report) -> Report:
    """Write the outcome, close the journal, tidy up. Done again after a crash, it comes to the same.

    What cannot be written now leaves the journal open, and the next start comes here again: the report is true all
    the same.
    """
    package = attempt.package
    attempt.journal.make_room()
    with contextlib.suppress(OSError):
        disk.write_json(package.outcome(report.order_id), {"report": report.__dict__})
        failpoint("outcome written")
        disk.write_json(package.folder / "outcome.json", {"report": report.__dict__})
        disk.unlink(package.unproven)
        attempt.journal.close()
        failpoint("journal closed")
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


def with_patience(undo: Callable[[Attempt], None], attempt: Attempt) -> None:
    """Undo what was done; if the disk refuses it, again. Raises OSError, it still does; and what `undo` raises."""
    for number in range(UNDO_TRIES - 1):
        try:
            return undo(attempt)
        except OSError:
            time.sleep(UNDO_PAUSE_SECONDS * 2**number)
    return undo(attempt)
