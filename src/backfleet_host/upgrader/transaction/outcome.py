"""How an order ends: its outcome is written, its journal closed, and nothing that is not needed stays."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import Callable, ContextManager, List, Tuple

from backfleet_host.contract import PREPARING, Order, Report
from backfleet_host.files import PARTIAL
from backfleet_host.layout import version_in_folder
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.errors import NotAnswering, OrderFailed, Unhealthy
from backfleet_host.upgrader.failpoints import failpoint
from backfleet_host.upgrader.host import shim
from backfleet_host.upgrader.host.installation import Installation, PackageFolder
from backfleet_host.upgrader.transaction.attempt import Attempt
from backfleet_host.upgrader.transaction.staged import staged_versions

ENDED_EARLY = "its process was ended (killed, or the machine went down) before"
"""How the message begins of an order that touched nothing: no fault of the release or of the host program."""
UNDO_TRIES = 4  # of a rollback that the disk refuses
UNDO_PAUSE_SECONDS = 0.05  # before the second try, doubled each time
MOST_OUTCOMES = 100  # orders whose outcome is remembered, so that the same order again is answered, not repeated
MOST_DOWNLOADS = 4  # artifacts or parts of them that stay after a failure, for the next order
DOWNLOAD_SECONDS = 24 * 3600  # for which they stay


def succeed(attempt: Attempt, code: str = "", message: str = "") -> Report:
    """End an attempt that has done what the order asks; save its settings too."""
    save_settings(attempt.package, attempt.order)
    undecided = attempt.state.details.get("probes_undecided")
    if undecided:
        kept = f"kept, although probes of this host could not decide (exit code 75): {', '.join(undecided)}"
        message = f"{message}; {kept}" if message else kept
    return finish(attempt, attempt.report("succeeded", code, message))


def save_settings(package: PackageFolder, order: Order) -> None:
    """Save an order's settings for whatever runs the client here. An uninstall removes them."""
    with contextlib.suppress(OSError):  # a later order brings them again
        if order.kind == "uninstall":
            disk.remove_file(package.settings)
        elif order.settings:  # an order without any changes nothing
            disk.write_json(package.settings, order.settings)


def finish(attempt: Attempt, report: Report) -> Report:
    """Write the outcome, close the journal, tidy up. Idempotent: after a crash it is done again.

    What cannot be written now leaves the journal open, and the next start finishes it. The report is true all the same.
    """
    package = attempt.package
    attempt.journal.release_reserve()
    _remove_half_made(attempt.installation, package)  # first: it may take the space that the outcome needs
    with contextlib.suppress(OSError):
        written = {"report": report.__dict__, "ended": _moment(time.time())}
        disk.write_json(package.outcome(report.order_id), written)
        failpoint("outcome written")
        disk.write_json(package.folder / "outcome.json", written)
        version, is_removed = package.version(), report.kind == "uninstall"
        has_verified = report.outcome == "succeeded" and report.kind not in (*PREPARING, "settings")
        if (has_verified and version) or (is_removed and not version):  # where `current` is lost, `verified` stays
            disk.point_link(package.verified, version, durable=False)
        disk.remove_file(package.unverified)
        attempt.journal.close()
        failpoint("journal closed")
        tidy(attempt.installation, package, succeeded=report.outcome == "succeeded")
    return report


def _moment(seconds: float) -> str:
    """Return a time in UTC for people, such as 2026-11-28T22:04:05Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def tidy(installation: Installation, package: PackageFolder, *, succeeded: bool) -> None:
    """Remove what is not needed: half-made files, old versions that nothing runs from, old outcomes, downloads.

    Only while no attempt is open. If somebody removed the link `current` and left our shims, all trees stay for them to
    look at. What cannot be removed stays, and does not keep the rest.

    Args:
        succeeded: the last order did. After a failure its downloads stay for a day, for the next order.
    """
    with _best_effort():
        if package.version_before() and not os.path.lexists(str(package.tree(package.version_before()))):
            disk.remove_file(package.previous)  # its tree was damaged, and a crash came before the new one
    _remove_half_made(installation, package)
    with _best_effort():
        if package.version() and not package.verified.is_dir():  # an older program made none
            disk.point_link(package.verified, package.version())
    _remove_old_trees(installation, package)
    for path in (package.folder / "facts").glob("*.json"):
        with _best_effort():
            if path.is_file() and not (package.versions / path.name[: -len(".json")]).is_dir():
                disk.remove_file(path)
    with _best_effort():
        disk.remove_tree(package.snapshot)
    with _best_effort():
        disk.remove_file(package.unverified)
    _tidy_downloads(package, 0 if succeeded else MOST_DOWNLOADS, installation.clock())
    for path in _newest_first(package.folder / "outcomes")[MOST_OUTCOMES:]:
        with _best_effort():
            disk.remove_file(path)


def _best_effort() -> ContextManager[None]:
    """Ignore what the disk refuses: one thing that cannot be removed must not keep the others."""
    return contextlib.suppress(OSError)


def _remove_half_made(installation: Installation, package: PackageFolder) -> None:
    """Remove trees that were being unpacked, and files and links that were being written. At any time: none is used."""
    with _best_effort():
        for path in package.versions.iterdir():
            with _best_effort():
                if _is_half_made(path) and not installation.is_in_use(package, path):
                    disk.remove_tree(path)
    for folder in (package.folder, package.folder / "facts", package.folder / "outcomes", *_folders(package.failed)):
        with _best_effort():
            for name in sorted(os.listdir(folder)):
                if name.startswith(".") and name.endswith((PARTIAL, ".new")):
                    with _best_effort():
                        disk.remove_file(folder / name)


def _remove_old_trees(installation: Installation, package: PackageFolder) -> None:
    needed = {package.version(), package.version_before(), disk.version_of_link(package.verified)}
    needed |= staged_versions(package, installation)
    has_shims = bool(shim.shims_of(installation.bin, package.name))
    if not package.version() and (package.unmanaged_links() or has_shims):
        return
    for path in package.versions.iterdir():
        with _best_effort():
            if (
                version_in_folder(path.name) not in needed
                and _is_tree(path)
                and not installation.is_in_use(package, path)
            ):
                disk.remove_tree(path)


def _is_half_made(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(PARTIAL)


def _is_tree(path: Path) -> bool:
    """Return whether it is a tree of ours. Anything else among the trees is not ours to remove."""
    return not path.is_symlink() and path.is_dir() and version_in_folder(path.name) != ""


def _tidy_downloads(package: PackageFolder, most: int, now: float) -> None:
    for number, path in enumerate(_newest_first(package.downloads)):
        if not path.is_file():
            continue
        age = now - path.stat().st_mtime
        if number >= most or not -DOWNLOAD_SECONDS < age < DOWNLOAD_SECONDS:
            with _best_effort():
                disk.remove_file(path)


def _newest_first(folder: Path) -> List[Path]:
    return sorted(folder.iterdir(), key=lambda path: path.lstat().st_mtime, reverse=True)


def _folders(folder: Path) -> List[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def meaning_of(problem: Exception) -> Tuple[str, str]:
    """Return the code and the message of a report on this failure."""
    if isinstance(problem, OrderFailed):
        return problem.code, f"{problem.reason}: {problem.text}" if problem.reason else problem.text
    if isinstance(problem, Unhealthy):
        return "HealthCheckFailed", f"{problem.reason}: {problem.text}" if problem.reason else problem.text
    if isinstance(problem, NotAnswering):
        return "HostBusy", f"{problem.reason}: {problem.text}"
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "DiskFull", f"no space left on the disk while writing {problem.filename or ''}".rstrip()
    if isinstance(problem, OSError) and problem.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "HostBusy", f"{problem.filename or 'the root'} cannot be written: {problem.strerror}"
    return "InternalError", f"{type(problem).__name__}: {problem}"


def retry_on_disk_errors(undo: Callable[[], None]) -> None:
    """Call `undo`, and again a few times if the disk refuses it. Raises OSError: it still does, or does not answer."""
    for number in range(UNDO_TRIES - 1):
        try:
            return undo()
        except NotAnswering:  # each try would take as long again, while backups wait
            raise
        except OSError:
            time.sleep(UNDO_PAUSE_SECONDS * 2**number)
    return undo()
