"""Which bytes a release is: signed metadata from the root this host was enrolled with, and the bytes themselves.

Source: TUF specification, section 5 (client workflow), by python-tuf. Metadata that is expired, older than what was
seen, mixed, endless, or signed by others is refused, and nothing changes.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Optional, Type

import urllib3

from backfleet_host.upgrader.manifest import Manifest, read_manifest
from backfleet_host.upgrader.refusal import Refusal
from backfleet_host.upgrader.site import Package, Site

if TYPE_CHECKING:
    from backfleet_host.contract import Order

TRIES = 5  # of one download, each going on where the last broke off
FIRST_PAUSE_SECONDS = 0.5  # doubled each time, with up to as much again at random
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
PIECE = 1 << 20  # bytes read at a time
OK, PARTIAL = 200, 206


@dataclass(frozen=True)
class Target:
    """A release as signed metadata describes it: how long, which hash, what to do with it."""

    path: str
    length: int
    sha256: str
    manifest: Manifest


class _Broken(Exception):
    """The network failed; it may be better the next time."""


def find(site: Site, order: Order) -> Target:
    """Refresh the metadata and look the order's release up in it.

    Raises:
        Refusal: UntrustedRelease, NoRelease as UntrustedRelease, DownloadFailed.
    """
    from tuf.api.exceptions import DownloadError, RepositoryError

    path = f"{order.package}/{order.version}/{order.platform}"
    try:
        info = _retried(lambda: _updater(site).get_targetinfo(path), DownloadError)
    except DownloadError as problem:
        raise Refusal("DownloadFailed", f"signed metadata could not be fetched: {problem}") from None
    except RepositoryError as problem:
        text = f"signed metadata is refused ({type(problem).__name__}): {problem}"
        raise Refusal("UntrustedRelease", text) from None
    if info is None:
        raise Refusal("UntrustedRelease", f"signed metadata vouches for no {path}")
    manifest = read_manifest((info.custom or {}).get("backfleet"))
    if (manifest.package, manifest.version, manifest.platform) != (order.package, order.version, order.platform):
        raise Refusal("UntrustedRelease", "the release's description is that of another release")
    if "sha256" not in info.hashes:
        raise Refusal("UntrustedRelease", "the release's description has no SHA-256")
    return Target(path, info.length, info.hashes["sha256"], manifest)


def fetch(site: Site, package: Package, target: Target) -> Path:
    """The artifact on disk, every byte checked. One that was fetched before is used again.

    Raises:
        Refusal: DownloadFailed, UntrustedRelease.
        OSError: the disk is full, or will not be written.
    """
    kept = package.downloads / target.sha256
    if kept.is_file() and kept.stat().st_size == target.length and _hash_of(kept).hexdigest() == target.sha256:
        return kept
    partial = package.downloads / f".{target.sha256}.partial"
    folder, _, name = target.path.rpartition("/")
    address = f"{site.downloads}/targets/{folder}/{target.sha256}.{name}"
    try:
        _retried(lambda: _download(site, address, partial, target), _Broken)
    except _Broken as problem:
        raise Refusal("DownloadFailed", f"the artifact could not be fetched: {problem}") from None
    os.replace(partial, kept)
    return kept


def _download(site: Site, address: str, partial: Path, target: Target) -> None:
    """Fetch what is missing. What was fetched before is hashed again: a partial file is nobody's word."""
    digest = _hash_of(partial)
    have = partial.stat().st_size if partial.exists() else 0
    if have > target.length:
        partial.unlink()
        digest, have = hashlib.sha256(), 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have < target.length:
        with open(partial, "ab", buffering=0) as file:
            for piece in _answer(site, address, headers, PARTIAL if have else OK):
                have += len(piece)
                if have > target.length:
                    break
                digest.update(piece)
                _write_all(file, piece)
    if have < target.length:
        raise _Broken(f"{have} of {target.length} bytes came")
    if have > target.length or digest.hexdigest() != target.sha256:
        partial.unlink(missing_ok=True)
        raise Refusal("UntrustedRelease", "the bytes that came are not those the signed metadata names")


def _answer(site: Site, address: str, headers: Dict[str, str], wanted: int) -> Iterator[bytes]:
    try:
        response = _pool(site).request(
            "GET", address, headers=headers, preload_content=False, retries=False, redirect=False, timeout=_timeout()
        )
        try:
            if response.status != wanted:
                raise _Broken(f"the server answered {response.status}")
            while True:
                piece = response.read(PIECE)
                if not piece:
                    return
                yield piece
        finally:
            response.release_conn()
            response.close()
    except urllib3.exceptions.HTTPError as problem:
        raise _Broken(str(problem)[:300]) from None


def _retried(work: Callable[[], Any], passing: Type[Exception]) -> Any:
    for attempt in range(TRIES):
        try:
            return work()
        except passing:
            if attempt == TRIES - 1:
                raise
            pause = FIRST_PAUSE_SECONDS * 2**attempt
            time.sleep(pause + random.uniform(0, pause))  # noqa: S311 - spreads hosts in time, hides nothing
    raise AssertionError


def _updater(site: Site) -> Any:
    from tuf.ngclient import Updater, UpdaterConfig

    folder = site.root / "trust" / "metadata"
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return Updater(
        metadata_dir=str(folder),
        metadata_base_url=f"{site.downloads}/metadata/",
        fetcher=_fetcher(site),
        config=UpdaterConfig(),
        bootstrap=site.trust_root,
    )


def _fetcher(site: Site) -> Any:
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
                    piece = response.read(PIECE)
                    if not piece:
                        return
                    yield piece
            except urllib3.exceptions.HTTPError as problem:
                raise DownloadError(str(problem)[:300]) from None
            finally:
                response.release_conn()

    return Fetcher()


_POOLS: Dict[Optional[Path], urllib3.PoolManager] = {}


def _pool(site: Site) -> urllib3.PoolManager:
    """One pool per authority: connections are kept within an order."""
    if site.ca_file not in _POOLS:
        proxy = os.environ.get("BACKFLEET_PROXY")
        trust = {"ca_certs": str(site.ca_file)} if site.ca_file else {}
        _POOLS[site.ca_file] = (
            urllib3.ProxyManager(proxy, **trust) if proxy else urllib3.PoolManager(**trust)  # type: ignore[arg-type]
        )
    return _POOLS[site.ca_file]


def _timeout() -> urllib3.Timeout:
    return urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)


def _write_all(file: Any, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]


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
