"""Signed metadata: refreshed, and what it rests on made durable before anybody relies on it.

Source: TUF specification, section 5 (client workflow), by python-tuf. That library renames its files into place and
leaves it to the system when they reach the disk: a power cut may leave them empty, and with them goes the memory of
what was seen. So every try ends with all of it on disk for good, and `seen.json` holds the newest root, timestamp and
snapshot besides. Whatever is less in the library's folder is damage, and is put back before it looks.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, Iterator, TypeVar

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from backfleet_host.upgrader.host import disk, gate
from backfleet_host.upgrader.refusal import Reason, Refusal
from backfleet_host.upgrader.release.retrieval import Broken, answer
from backfleet_host.upgrader.release.source import GoOn

if TYPE_CHECKING:
    from backfleet_host.upgrader.host.installation import Site

PIECE = 1 << 16  # bytes read at a time
NO_SUCH_ROOT = (403, 404)  # how a repository says that a root is its newest

Found = TypeVar("Found")


def ask(site: Site, work: Callable[[Updater], Found], go_on: GoOn) -> Found:
    """What `work` learns from an updater of its own: one that has failed can be used no more.

    Raises:
        Refusal: UntrustedRelease, or there is no time for more.
        Broken: the network or the server failed.
        OSError: what was seen cannot be written.
    """
    folder = site.root / "trust" / "metadata"
    disk.make_folder(folder)
    with _alone(folder.parent, go_on):
        _remove_strays(folder)
        memory = _Memory(folder, site.trust_root)
        fetcher = _Fetcher(site, go_on)
        try:
            return work(_updater(site, folder, memory.root, fetcher))
        except (RepositoryError, DownloadLengthMismatchError) as problem:
            text = f"signed metadata is refused ({type(problem).__name__}): {problem}"
            raise Refusal("UntrustedRelease", text, reason_of(problem, fetcher.name, fetcher.content)) from None
        except DownloadError as problem:
            raise Broken(str(problem)[:300], "NotServed", passing=False) from None
        finally:
            memory.keep()


def reason_of(problem: Exception, name: str, content: bytes) -> Reason:
    """What the library's refusal of a document means. Another version than was asked for is a mix, no rollback."""
    for kind, reason in _REASONS.items():
        if isinstance(problem, kind):
            return reason
    asked = re.match(r"[0-9]+(?=\.)", name)
    is_what_was_asked = asked is None or int(asked[0]) == version_of(content)
    if isinstance(problem, BadVersionNumberError) and is_what_was_asked:
        return "RolledBackMetadata"
    return "MixedMetadata"


_REASONS: Dict[type, Reason] = {
    ExpiredMetadataError: "Expired",
    UnsignedMetadataError: "WrongSignature",
    DeserializationError: "UnreadableMetadata",
    DownloadLengthMismatchError: "TooLong",
}


def version_of(content: bytes) -> int:
    """The version of a document; 0 if it is none: empty, cut off, something else."""
    try:
        version = json.loads(content.decode())["signed"]["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
    return version if type(version) is int else 0


@contextlib.contextmanager
def _alone(folder: Path, go_on: GoOn) -> Iterator[None]:
    """Orders for other packages use the same folder."""

    def wait(seconds: float) -> None:
        time.sleep(seconds)
        go_on()

    with gate.held(folder / "lock", seconds=float("inf"), wait=wait):
        yield


def _remove_strays(folder: Path) -> None:
    """What the library was writing when the process ended. Nobody else writes now."""
    for stray in folder.glob("tmp*"):
        disk.unlink(stray)


def _updater(site: Site, folder: Path, root: bytes, fetcher: FetcherInterface) -> Updater:
    return Updater(
        metadata_dir=str(folder),
        metadata_base_url=f"{site.downloads}/metadata/",
        fetcher=fetcher,
        config=UpdaterConfig(),
        bootstrap=root,
    )


class _Memory:
    """The newest documents seen, in one durable file. It counts for the root this host was enrolled with alone."""

    def __init__(self, folder: Path, enrolled: bytes) -> None:
        self._folder, self._file = folder, folder.parent / "seen.json"
        self._enrolled = hashlib.sha256(enrolled).hexdigest()
        self._kept = self._read()
        self.root = self._kept.get("root", enrolled)
        for role in ("timestamp", "snapshot"):
            kept = self._kept.get(role, b"")
            if version_of(self._found(role)) < version_of(kept):
                disk.write_whole(self._folder / f"{role}.json", kept)

    def keep(self) -> None:
        """Make what the library has written durable, and remember it.

        It writes only what it has verified. A lower version than before is right where the root has changed keys: that
        is how a thief's highest version is forgotten.
        """
        _settle(self._folder)
        newest, least = dict(self._kept), {"root": version_of(self.root)}
        for role in ("root", "timestamp", "snapshot"):
            found = self._found(role)
            if version_of(found) >= least.get(role, 1):
                newest[role] = found
        if newest != self._kept:
            said = {role: content.decode() for role, content in newest.items()}
            disk.write_json(self._file, {"enrolled": self._enrolled, **said})
            self._kept = newest

    def _read(self) -> Dict[str, bytes]:
        said = disk.read_json(self._file) or {}
        if said.pop("enrolled", "") != self._enrolled:
            return {}
        documents = {role: str(text).encode("utf-8", "replace") for role, text in said.items()}
        return {role: content for role, content in documents.items() if version_of(content)}

    def _found(self, role: str) -> bytes:
        try:
            return (self._folder / f"{role}.json").read_bytes()
        except OSError:
            return b""


def _settle(folder: Path) -> None:
    """On disk for good: documents first, then their names. `root.json` is a link to the newest root."""
    for path in folder.glob("*.json"):
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            os.fsync(file.fileno())
    for names in (folder / "root_history", folder):
        with contextlib.suppress(FileNotFoundError):
            disk.sync(names)


class _Fetcher(FetcherInterface):
    """Our own way, trust and time limits for every request. Remembers what was asked for last, and what came."""

    def __init__(self, site: Site, go_on: GoOn) -> None:
        self._site, self._go_on = site, go_on
        self.name, self.content = "", b""

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.name, self.content = url.rpartition("/")[2], b""
        try:
            with answer(self._site, url, self._go_on) as response:
                while piece := response.read1(PIECE):  # what there is: read() would wait for the whole piece
                    self._go_on()
                    self.content += piece
                    yield piece
        except Broken as problem:
            if problem.status in NO_SUCH_ROOT:
                raise DownloadHTTPError(str(problem), problem.status) from None
            raise
