"""Releases by signed metadata: verified from the root that this host was enrolled with, and downloaded.

Metadata that is expired, older than what was seen, mixed, endless or signed by others is refused, and nothing changes.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, List, TypeVar

from backfleet_host.contract import Order
from backfleet_host.download_paths import target_path
from backfleet_host.manifest import BadManifest, UnknownVersionScheme, read_manifest
from backfleet_host.retries import backoff_seconds
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.release import metadata
from backfleet_host.upgrader.release.download import Download, hash_of
from backfleet_host.upgrader.release.retrieval import POLL_SECONDS, DownloadInterrupted
from backfleet_host.upgrader.release.source import InterruptCheck, ReleaseServer, ReleaseTarget

if TYPE_CHECKING:
    from tuf.ngclient import Updater

FIRST_PAUSE_SECONDS = 1.0  # upper bound of the first pause; it doubles each time
LONGEST_PAUSE_SECONDS = 15.0
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Found = TypeVar("Found")


def find(server: ReleaseServer, order: Order, check_interrupted: InterruptCheck) -> ReleaseTarget:
    """Refresh the metadata and return the release that an order names.

    Raises:
        OrderFailed: UntrustedRelease, DownloadFailed.
        OSError: the metadata cannot be written.
    """
    path = target_path(order.package, order.version, order.platform)
    info = _query(server, lambda updater: updater.get_targetinfo(path), check_interrupted)
    if info is None:
        raise OrderFailed("UntrustedRelease", f"signed metadata names no release {path}", "NotOffered")
    target = _target(info)
    manifest = target.manifest
    if (manifest.package, manifest.version, manifest.platform) != (order.package, order.version, order.platform):
        found = f"{manifest.package}/{manifest.version}/{manifest.platform}"
        text = f"the description of the release {path} is that of another release, {found}"
        raise OrderFailed("UntrustedRelease", text, "BadDescription")
    return target


def others(server: ReleaseServer, order: Order, check_interrupted: InterruptCheck) -> List[ReleaseTarget]:
    """Return every release of the same package and platform that this host can read. Raises as `find`."""

    def offered(updater: Updater) -> List[Any]:
        updater.refresh()
        # Only names come from the file that the refresh has verified: each is looked up again in what is trusted.
        cached = disk.read_json(server.trust_folder / "metadata" / "targets.json") or {}
        names = sorted(cached.get("signed", {}).get("targets", {}))
        return [updater.get_targetinfo(path) for path in names if _is_of(path, order)]

    found = []
    for info in _query(server, offered, check_interrupted):
        with contextlib.suppress(OrderFailed):  # one that this host cannot read must not stop an order for another
            found.append(_target(info))
    return found


def is_offered(server: ReleaseServer, order: Order, version: str, check_interrupted: InterruptCheck) -> bool:
    """Return whether signed metadata names another version of an order's package for its platform. Raises as `find`.

    A version that is not named any more was withdrawn.
    """
    path = target_path(order.package, version, order.platform)
    return _query(server, lambda updater: updater.get_targetinfo(path), check_interrupted) is not None


def _is_of(path: str, order: Order) -> bool:
    return path.startswith(f"{order.package}/") and path.endswith(f"/{order.platform}")


def _query(server: ReleaseServer, work: Callable[[Updater], Found], check_interrupted: InterruptCheck) -> Found:
    what = "signed metadata"
    check = _naming_what_was_slow(what, check_interrupted)
    return _with_retries(what, lambda: metadata.query(server, work, check), check, server.most_tries)


def _target(info: Any) -> ReleaseTarget:
    try:
        manifest = read_manifest((info.custom or {}).get("backfleet"))
    except UnknownVersionScheme as problem:
        text = f"this host program cannot compare the versions of the package: {problem}; update the host program"
        raise OrderFailed("UnsupportedPlatform", text, "UnknownScheme") from None
    except BadManifest as problem:
        text = f"the release's signed description cannot be read: {problem}"
        raise OrderFailed("UntrustedRelease", text, "BadDescription") from None
    if "sha256" not in info.hashes:
        raise OrderFailed("UntrustedRelease", "the release's description has no SHA-256", "BadDescription")
    return ReleaseTarget(info.path, info.length, info.hashes["sha256"], manifest)


def fetch(
    server: ReleaseServer,
    target: ReleaseTarget,
    folder: Path,
    bytes_per_second: int,
    check_interrupted: InterruptCheck,
) -> Path:
    """Download the artifact into `folder` and verify it. One that is there already is verified and used again.

    Raises:
        OrderFailed: DownloadFailed, UntrustedRelease.
        OSError: the disk is full, or cannot be written.
    """
    complete = folder / target.sha256
    if _is_complete(complete, target):
        return complete
    what = "the artifact"
    check = _naming_what_was_slow(what, check_interrupted)
    download = Download(server, target, folder, bytes_per_second, check)
    try:
        _with_retries(what, download.run_once, check, server.most_tries)
        disk.rename(download.part, complete)
    except OSError as problem:
        if problem.errno in DISK_FULL:  # the part is of no use, and others need the space
            disk.remove_file(download.part)
        raise
    return complete


def _is_complete(path: Path, target: ReleaseTarget) -> bool:
    return path.is_file() and path.stat().st_size == target.length and bool(hash_of(path).hexdigest() == target.sha256)


def _naming_what_was_slow(what: str, check_interrupted: InterruptCheck) -> InterruptCheck:
    """Return the same check; running out of time is then reported as a slow download of `what`."""

    def check() -> None:
        try:
            check_interrupted()
        except OrderFailed as problem:
            if problem.code == "TaskCancelled":
                raise
            raise OrderFailed("DownloadFailed", f"{what}: {problem.text}", "TooSlow") from None

    return check


def _with_retries(what: str, work: Callable[[], Found], check_interrupted: InterruptCheck, most_tries: int) -> Found:
    """Return what `work` returns, tried again as long as that may help and the order has time.

    A server that is silent for a minute costs a minute: what has come is kept, and each try resumes where the last
    broke off.

    Raises:
        OrderFailed: DownloadFailed, every try failed; and whatever the check raises.
    """
    for attempt in itertools.count():
        try:
            return work()
        except DownloadInterrupted as problem:
            failure = problem
        pause = backoff_seconds(attempt, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, random.random())  # noqa: S311
        is_last = attempt + 1 == most_tries
        if is_last or not failure.passing or not _slept(max(pause, failure.wait), check_interrupted):
            tries = f" (tried {attempt + 1} times)" if attempt else ""
            raise OrderFailed("DownloadFailed", f"{what} could not be downloaded: {failure}{tries}", failure.reason)
    raise AssertionError("the tries are endless")


def _slept(seconds: float, check_interrupted: InterruptCheck) -> bool:
    """Sleep; return False if the order ran out of time meanwhile: the failure before says more than that.

    Raises:
        OrderFailed: TaskCancelled.
    """
    until = time.monotonic() + seconds
    try:
        while (left := until - time.monotonic()) > 0:
            check_interrupted()
            time.sleep(min(left, POLL_SECONDS))
        check_interrupted()
    except OrderFailed as problem:
        if problem.code == "TaskCancelled":
            raise
        return False
    return True
