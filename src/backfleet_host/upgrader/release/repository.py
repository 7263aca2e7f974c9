"""Releases by signed metadata: verified from the root that this host was enrolled with, and downloaded.

Metadata that is expired, older than what was seen, mixed, endless or signed by others is refused, and nothing changes.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import random
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, List, Optional, Tuple, TypeVar

from backfleet_host.contract import Order
from backfleet_host.download_paths import deltas_of, target_path
from backfleet_host.layout import VERSION
from backfleet_host.manifest import BadManifest, UnknownVersionScheme, read_manifest
from backfleet_host.retries import backoff_seconds
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.release import metadata
from backfleet_host.upgrader.release.download import Download, hash_of
from backfleet_host.upgrader.release.retrieval import POLL_SECONDS, DownloadInterrupted
from backfleet_host.upgrader.release.source import Delta, InterruptCheck, ReleaseServer, ReleaseTarget, SignedFile

if TYPE_CHECKING:
    from tuf.ngclient import Updater

FIRST_PAUSE_SECONDS = 1.0  # upper bound of the first pause; it doubles each time
LONGEST_PAUSE_SECONDS = 15.0
LARGEST_CONTENT = 4 << 30  # bytes of an uncompressed release: more cannot be offered
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Found = TypeVar("Found")


def find(server: ReleaseServer, order: Order, check_interrupted: InterruptCheck) -> ReleaseTarget:
    """Refresh the metadata and return the release that an order names.

    Raises:
        OrderFailed: UntrustedRelease, DownloadFailed.
        OSError: the metadata cannot be written.
    """
    path = target_path(order.package, order.version, order.platform)

    def named(updater: Updater) -> Tuple[Any, List[Any]]:
        found = updater.get_targetinfo(path)
        return found, _deltas_to(path, server, updater) if found else []

    info, deltas = _query(server, named, check_interrupted)
    if info is None:
        raise OrderFailed("UntrustedRelease", f"signed metadata names no release {path}", "NotOffered")
    target = _target(info, deltas)
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
        paths = [path for path in _names(server) if _is_of(path, order)]
        return [(updater.get_targetinfo(path), _deltas_to(path, server, updater)) for path in paths]

    found = []
    for info, deltas in _query(server, offered, check_interrupted):
        with contextlib.suppress(OrderFailed):  # one that this host cannot read must not stop an order for another
            found.append(_target(info, deltas))
    return found


def is_offered(server: ReleaseServer, order: Order, version: str, check_interrupted: InterruptCheck) -> bool:
    """Return whether signed metadata names another version of an order's package for its platform. Raises as `find`.

    A version that is not named any more was withdrawn.
    """
    path = target_path(order.package, version, order.platform)
    return _query(server, lambda updater: updater.get_targetinfo(path), check_interrupted) is not None


def _names(server: ReleaseServer) -> List[str]:
    """Return every name in the file that a refresh has verified. Each is looked up again in what is trusted."""
    cached = disk.read_json(server.trust_folder / "metadata" / "targets.json") or {}
    return sorted(cached.get("signed", {}).get("targets", {}))


def _deltas_to(path: str, server: ReleaseServer, updater: Updater) -> List[Any]:
    """Return what signed metadata says of each delta to a release. The updater has refreshed it."""
    return [updater.get_targetinfo(name) for name in _names(server) if name.startswith(deltas_of(path))]


def _is_of(path: str, order: Order) -> bool:
    return path.startswith(f"{order.package}/") and path.endswith(f"/{order.platform}")


def _query(server: ReleaseServer, work: Callable[[Updater], Found], check_interrupted: InterruptCheck) -> Found:
    what = "signed metadata"
    check = _naming_what_was_slow(what, check_interrupted)
    return _with_retries(what, lambda: metadata.query(server, work, check), check, server.most_tries)


def _target(info: Any, deltas: List[Any]) -> ReleaseTarget:
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
    usable = tuple(delta for delta in map(_delta, deltas) if delta is not None)
    return ReleaseTarget(info.path, info.length, info.hashes["sha256"], manifest, usable)


def _delta(info: Any) -> Optional[Delta]:
    """Return a delta; None if its description is not of the form that this program knows: it is only a short cut."""
    custom = (info.custom or {}).get("backfleet_delta")
    if not isinstance(custom, dict) or "sha256" not in info.hashes:
        return None
    base_version, *hashes = (custom.get(name) for name in ("base_version", "base_sha256", "result_sha256"))
    lengths = [custom.get(name) for name in ("base_length", "result_length")]
    if not (isinstance(base_version, str) and re.fullmatch(VERSION, base_version)):
        return None
    if not all(isinstance(one, str) and re.fullmatch("[0-9a-f]{64}", one) for one in hashes):
        return None
    if not all(type(length) is int and 0 <= length <= LARGEST_CONTENT for length in lengths):
        return None
    signed = info.path, info.length, info.hashes["sha256"]
    return Delta(*signed, base_version, hashes[0], lengths[0], hashes[1], lengths[1])  # type: ignore[arg-type]


def fetch(
    server: ReleaseServer,
    target: SignedFile,
    folder: Path,
    bytes_per_second: int,
    check_interrupted: InterruptCheck,
) -> Path:
    """Download an artifact or a delta into `folder` and verify it. One that is there is verified and used again.

    Raises:
        OrderFailed: DownloadFailed, UntrustedRelease.
        OSError: the disk is full, or cannot be written.
    """
    complete = folder / target.sha256
    if _is_complete(complete, target):
        return complete
    what = "the delta" if isinstance(target, Delta) else "the artifact"
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


def _is_complete(path: Path, target: SignedFile) -> bool:
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
