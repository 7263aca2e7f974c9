"""Which bytes a release is: signed metadata from the root this host was enrolled with, and the bytes themselves.

Metadata that is expired, older than what was seen, mixed, endless, or signed by others is refused, and nothing changes.
"""

from __future__ import annotations

import contextlib
import errno
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, List, TypeVar

from backfleet_host.manifest import BadManifest, read_manifest
from backfleet_host.upgrader.host import disk
from backfleet_host.upgrader.refusal import Refusal
from backfleet_host.upgrader.release import metadata
from backfleet_host.upgrader.release.download import Download, hash_of
from backfleet_host.upgrader.release.retrieval import LOOK_SECONDS, Broken
from backfleet_host.upgrader.release.source import GoOn, Target

if TYPE_CHECKING:
    from tuf.ngclient import Updater

    from backfleet_host.contract import Order
    from backfleet_host.upgrader.host.installation import Package, Site

TRIES = 5  # of one thing, each going on where the last broke off
FIRST_PAUSE_SECONDS = 0.5  # doubled each time, with up to as much again at random
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Found = TypeVar("Found")


def find(site: Site, order: Order, go_on: GoOn) -> Target:
    """Refresh the metadata and look the order's release up in it.

    Raises:
        Refusal: UntrustedRelease, DownloadFailed.
        OSError: what was seen cannot be written.
    """
    path = f"{order.package}/{order.version}/{order.platform}"
    info = _asked(site, lambda updater: updater.get_targetinfo(path), go_on)
    if info is None:
        raise Refusal("UntrustedRelease", f"signed metadata vouches for no {path}", "NotOffered")
    target = _target(info)
    manifest = target.manifest
    if (manifest.package, manifest.version, manifest.platform) != (order.package, order.version, order.platform):
        raise Refusal("UntrustedRelease", "the release's description is that of another release", "BadDescription")
    return target


def others(site: Site, order: Order, go_on: GoOn) -> List[Target]:
    """Every release of the same package and platform that can be read. Raises as `find`."""

    def offered(updater: Updater) -> List[Any]:
        updater.refresh()
        # Names only, from the verified copy that the refresh has kept: each is looked up again among what is trusted.
        kept = disk.read_json(site.root / "trust" / "metadata" / "targets.json") or {}
        names = sorted(kept.get("signed", {}).get("targets", {}))
        fitting = [path for path in names if _is_of(path, order)]
        return [updater.get_targetinfo(path) for path in fitting]

    found = []
    for info in _asked(site, offered, go_on):
        with contextlib.suppress(Refusal):  # one that this host cannot read is no stone for it, and stops no other
            found.append(_target(info))
    return found


def _is_of(path: str, order: Order) -> bool:
    return path.startswith(f"{order.package}/") and path.endswith(f"/{order.platform}")


def _asked(site: Site, work: Callable[[Updater], Found], go_on: GoOn) -> Found:
    what = "signed metadata"
    in_time = _in_time(what, go_on)
    return _retried(what, lambda: metadata.ask(site, work, in_time), in_time)


def _target(info: Any) -> Target:
    try:
        manifest = read_manifest((info.custom or {}).get("backfleet"))
    except BadManifest as problem:
        text = f"the release's signed description cannot be read: {problem}"
        raise Refusal("UntrustedRelease", text, "BadDescription") from None
    if "sha256" not in info.hashes:
        raise Refusal("UntrustedRelease", "the release's description has no SHA-256", "BadDescription")
    return Target(info.path, info.length, info.hashes["sha256"], manifest)


def fetch(site: Site, package: Package, target: Target, most_per_second: int, go_on: GoOn) -> Path:
    """The artifact on disk, every byte checked. One that was fetched before is used again.

    Raises:
        Refusal: DownloadFailed, UntrustedRelease.
        OSError: the disk is full, or will not be written.
    """
    kept = package.downloads / target.sha256
    if kept.is_file() and kept.stat().st_size == target.length and hash_of(kept).hexdigest() == target.sha256:
        return kept
    what = "the artifact"
    in_time = _in_time(what, go_on)
    download = Download(site, package, target, most_per_second, in_time)
    try:
        _retried(what, download.once, in_time)
        disk.replace(download.part, kept)
    except OSError as problem:
        if problem.errno in NO_ROOM:  # others need the room, and it is not enough
            disk.unlink(download.part)
        raise
    return kept


def _in_time(what: str, go_on: GoOn) -> GoOn:
    """The same, and what came too slowly is told as that."""

    def asked() -> None:
        try:
            go_on()
        except Refusal as problem:
            if problem.code == "TaskCancelled":
                raise
            raise Refusal("DownloadFailed", f"{what}: {problem.text}", "TooSlow") from None

    return asked


def _retried(what: str, work: Callable[[], Found], go_on: GoOn) -> Found:
    """What work gives, tried again while that may help and there is time."""
    for attempt in range(TRIES):
        try:
            return work()
        except Broken as problem:
            broken = problem
        last = attempt == TRIES - 1 or not broken.passing
        if last or not _waited(max(pause_after(attempt, random.random()), broken.wait), go_on):  # noqa: S311 - no secret
            break
    raise Refusal("DownloadFailed", f"{what} could not be fetched: {broken}", broken.reason)


def pause_after(attempt: int, chance: float) -> float:
    """Seconds. Hosts that failed together do not come back together."""
    return FIRST_PAUSE_SECONDS * 2.0**attempt * (1 + chance)


def _waited(seconds: float, go_on: GoOn) -> bool:
    """False if there was no time for it: what broke says more than that. Raises Refusal, TaskCancelled."""
    until = time.monotonic() + seconds
    try:
        while (left := until - time.monotonic()) > 0:
            go_on()
            time.sleep(min(left, LOOK_SECONDS))
        go_on()
    except Refusal as problem:
        if problem.code == "TaskCancelled":
            raise
        return False
    return True
