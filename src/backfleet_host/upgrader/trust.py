"""Which bytes a release is: signed metadata from the root this host was enrolled with, and the bytes themselves.

Source: TUF specification, section 5 (client workflow), by python-tuf. Metadata that is expired, older than what was
seen, mixed, endless, or signed by others is refused, and nothing changes.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Tuple, Type

import urllib3

from backfleet_host.upgrader import disk
from backfleet_host.upgrader.hostwords import read_host_words
from backfleet_host.upgrader.manifest import read_manifest
from backfleet_host.upgrader.refusal import Refusal
from backfleet_host.upgrader.source import GoOn, Target

if TYPE_CHECKING:
    from backfleet_host.contract import Order
    from backfleet_host.upgrader.site import Package, Site

TRIES = 5  # of one download, each going on where the last broke off
FIRST_PAUSE_SECONDS = 0.5  # doubled each time, with up to as much again at random
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
PIECE = 1 << 20  # bytes read at a time
OK, PARTIAL = 200, 206


class _Broken(Exception):
    """The network failed; it may be better the next time."""


def find(site: Site, order: Order, go_on: GoOn) -> Target:
    """Refresh the metadata and look the order's release up in it.

    Raises:
        Refusal: UntrustedRelease, NoRelease as UntrustedRelease, DownloadFailed.
    """
    path = f"{order.package}/{order.version}/{order.platform}"
    info = _asked(lambda: _updater(site, go_on).get_targetinfo(path), go_on)
    if info is None:
        raise Refusal("UntrustedRelease", f"signed metadata vouches for no {path}")
    target = _target(info)
    manifest = target.manifest
    if (manifest.package, manifest.version, manifest.platform) != (order.package, order.version, order.platform):
        raise Refusal("UntrustedRelease", "the release's description is that of another release")
    return target


def others(site: Site, order: Order, go_on: GoOn) -> List[Target]:
    """Every release of the same package and platform. Call it after `find`: that refreshed the metadata.

    Raises:
        Refusal: UntrustedRelease, DownloadFailed.
    """
    updater = _updater(site, go_on)
    _asked(updater.refresh, go_on)
    # Names only, from the verified copy that the refresh has kept: each is looked up again among what is trusted.
    kept = disk.read_json(site.root / "trust" / "metadata" / "targets.json") or {}
    found = []
    for path in sorted(kept.get("signed", {}).get("targets", {})):
        if path.startswith(f"{order.package}/") and path.endswith(f"/{order.platform}"):
            info = _asked(lambda path=path: updater.get_targetinfo(path), go_on)  # type: ignore[misc]
            if info is not None:
                found.append(_target(info))
    return found


def _asked(work: Callable[[], Any], go_on: GoOn) -> Any:
    from tuf.api.exceptions import DownloadError, RepositoryError

    try:
        return _retried(work, DownloadError, go_on)
    except DownloadError as problem:
        raise Refusal("DownloadFailed", f"signed metadata could not be fetched: {problem}") from None
    except RepositoryError as problem:
        text = f"signed metadata is refused ({type(problem).__name__}): {problem}"
        raise Refusal("UntrustedRelease", text) from None


def _target(info: Any) -> Target:
    manifest = read_manifest((info.custom or {}).get("backfleet"))
    if "sha256" not in info.hashes:
        raise Refusal("UntrustedRelease", "the release's description has no SHA-256")
    return Target(info.path, info.length, info.hashes["sha256"], manifest)


def fetch(site: Site, package: Package, target: Target, most_per_second: int, go_on: GoOn) -> Path:
    """The artifact on disk, every byte checked. One that was fetched before is used again.

    Raises:
        Refusal: DownloadFailed, UntrustedRelease.
        OSError: the disk is full, or will not be written.
    """
    kept = package.downloads / target.sha256
    if kept.is_file() and kept.stat().st_size == target.length and _hash_of(kept).hexdigest() == target.sha256:
        return kept
    part = package.downloads / f"{target.sha256}.part"
    folder, _, name = target.path.rpartition("/")
    address = f"{site.downloads}/targets/{folder}/{target.sha256}.{name}"
    try:
        _retried(lambda: _download(site, address, part, target, _Pace(most_per_second, go_on)), _Broken, go_on)
    except _Broken as problem:
        raise Refusal("DownloadFailed", f"the artifact could not be fetched: {problem}") from None
    disk.replace(part, kept)
    return kept


def _download(site: Site, address: str, part: Path, target: Target, pace: _Pace) -> None:
    """Fetch what is missing. What was fetched before is hashed again: a part of a file is nobody's word."""
    digest = _hash_of(part)
    have = part.stat().st_size if part.exists() else 0
    if have > target.length:
        disk.unlink(part)
        digest, have = hashlib.sha256(), 0
    if have < target.length:
        with disk.writing(part, "ab") as file:
            for piece in _answer(site, address, have, pace.piece):
                have += len(piece)
                if have > target.length:
                    break
                digest.update(piece)
                disk.write_all(file, piece)
                pace.keep(len(piece))
    if have < target.length:
        raise _Broken(f"{have} of {target.length} bytes came")
    if have > target.length or digest.hexdigest() != target.sha256:
        disk.unlink(part)
        raise Refusal("UntrustedRelease", "the bytes that came are not those the signed metadata names")


class _Pace:
    """No more than so many bytes a second, over the whole of a download; 0 = as fast as it comes."""

    def __init__(self, most_per_second: int, go_on: GoOn) -> None:
        self._most, self._go_on = most_per_second, go_on
        self._began, self._bytes = time.monotonic(), 0
        self.piece = min(PIECE, max(1024, most_per_second // 10)) if most_per_second else PIECE

    def keep(self, size: int) -> None:
        """So many bytes came: wait until they may have. Raises Refusal once there is no time for more."""
        self._go_on()
        self._bytes += size
        if self._most:
            time.sleep(max(0.0, self._bytes / self._most - (time.monotonic() - self._began)))


def _answer(site: Site, address: str, have: int, size: int) -> Iterator[bytes]:
    """What is missing after the first `have` bytes, in pieces of at most `size`."""
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        response = _pool(site).request(
            "GET", address, headers=headers, preload_content=False, retries=False, redirect=False, timeout=_timeout()
        )
        try:
            if response.status not in (OK, PARTIAL) or (response.status == PARTIAL and not have):
                raise _Broken(f"the server answered {response.status}")
            skip = have if response.status == OK else 0  # a proxy that knows no ranges gives all of it
            while True:
                piece = response.read1(size)  # what came before a break is kept; read() would drop it
                if not piece:
                    return
                skipped, skip = min(skip, len(piece)), max(0, skip - len(piece))
                if len(piece) > skipped:
                    yield piece[skipped:]
        finally:
            response.release_conn()
            response.close()
    except urllib3.exceptions.HTTPError as problem:
        raise _Broken(str(problem)[:300]) from None


def _retried(work: Callable[[], Any], passing: Type[Exception], go_on: GoOn) -> Any:
    for attempt in range(TRIES):
        try:
            return work()
        except passing:
            if attempt == TRIES - 1:
                raise
            go_on()
            pause = FIRST_PAUSE_SECONDS * 2**attempt
            time.sleep(pause + random.uniform(0, pause))  # noqa: S311 - spreads hosts in time, hides nothing
    raise AssertionError


def _updater(site: Site, go_on: GoOn) -> Any:
    from tuf.ngclient import Updater, UpdaterConfig

    folder = site.root / "trust" / "metadata"
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return Updater(
        metadata_dir=str(folder),
        metadata_base_url=f"{site.downloads}/metadata/",
        fetcher=_fetcher(site, go_on),
        config=UpdaterConfig(),
        bootstrap=site.trust_root,
    )


def _fetcher(site: Site, go_on: GoOn) -> Any:
    from tuf.api.exceptions import DownloadError, DownloadHTTPError
    from tuf.ngclient import FetcherInterface

    class Fetcher(FetcherInterface):
        """Our own trust and time limits for every request."""

        def _fetch(self, url: str) -> Iterator[bytes]:
            try:
                response = _pool(site).request(
                    "GET", url, preload_content=False, retries=False, redirect=False, timeout=_timeout()
                )
            except urllib3.exceptions.HTTPError as problem:
                raise DownloadError(str(problem)[:300]) from None
            if response.status != OK:
                response.close()
                raise DownloadHTTPError(f"the server answered {response.status}", response.status)
            return self._pieces(response)

        def _pieces(self, response: Any) -> Iterator[bytes]:
            try:
                while True:
                    piece = response.read1(PIECE)  # what there is: read() would wait for the whole piece
                    if not piece:
                        return
                    go_on()
                    yield piece
            except urllib3.exceptions.HTTPError as problem:
                raise DownloadError(str(problem)[:300]) from None
            finally:
                response.release_conn()

    return Fetcher()


_POOLS: Dict[Tuple[Optional[Path], str], urllib3.PoolManager] = {}


def _pool(site: Site) -> urllib3.PoolManager:
    """One pool per authority and proxy: connections are kept within an order."""
    key = site.ca_file, os.environ.get("BACKFLEET_PROXY") or read_host_words(site.etc).proxy
    if key not in _POOLS:
        trust = {"ca_certs": str(site.ca_file)} if site.ca_file else {}
        proxy = key[1]
        _POOLS[key] = (
            urllib3.ProxyManager(proxy, **trust) if proxy else urllib3.PoolManager(**trust)  # type: ignore[arg-type]
        )
    return _POOLS[key]


def _timeout() -> urllib3.Timeout:
    return urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)


def _hash_of(path: Path) -> Any:
    digest = hashlib.sha256()
    if path.exists():
        with open(path, "rb", buffering=0) as file:
            while True:
                piece = file.read(PIECE)
                if not piece:
                    break
                digest.update(piece)
    return digest
