"""Signed metadata: refresh it, and make it durable before anything relies on it.

Source: TUF specification, section 5 (client workflow), by python-tuf. That library renames its files into place and
does not sync them: a power cut may leave them empty, and then the host has forgotten which versions it has seen. So
every query ends with all of them synced, and `seen.json` holds the newest root, timestamp and snapshot besides. Files
of the library that are older than those are damaged, and are restored before the next query.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, TypeVar

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

from backfleet_host.download_paths import METADATA
from backfleet_host.upgrader import disk, gate
from backfleet_host.upgrader.errors import OrderFailed, Reason
from backfleet_host.upgrader.release.retrieval import DownloadInterrupted, request
from backfleet_host.upgrader.release.source import InterruptCheck, ReleaseServer

PIECE = 1 << 16  # bytes read at a time
NO_SUCH_ROOT = (403, 404)  # the answer when a repository has no newer root

Found = TypeVar("Found")


def query(server: ReleaseServer, work: Callable[[Updater], Found], check_interrupted: InterruptCheck) -> Found:
    """Call `work` with a new updater, because one that has failed cannot be used again; return what it returns.

    Raises:
        OrderFailed: UntrustedRelease, or the order was interrupted.
        DownloadInterrupted: the network or the server failed.
        OSError: the metadata cannot be written.
    """
    folder = server.trust_folder / "metadata"
    disk.make_folder(folder)
    with _exclusive(folder.parent, check_interrupted):
        _remove_partial_files(folder)
        memory = _Memory(folder, server.trusted_root)
        fetcher = _Fetcher(server, check_interrupted)
        try:
            return work(_updater(server, folder, memory.root, fetcher))
        except (RepositoryError, DownloadLengthMismatchError) as problem:
            text = f"signed metadata is refused ({type(problem).__name__}): {problem}"
            raise OrderFailed("UntrustedRelease", text, reason_of(problem, fetcher.name, fetcher.content)) from None
        except DownloadError as problem:
            raise DownloadInterrupted(str(problem)[:300], "NotServed", passing=False) from None
        finally:
            memory.save()


def reason_of(problem: Exception, name: str, content: bytes) -> Reason:
    """Return the reason for the library's error. Another version than was requested is a mix, not a rollback.

    Args:
        name: the file name of the document.
        content: what the server sent for it.
    """
    for kind, reason in _REASONS.items():
        if isinstance(problem, kind):
            return reason
    requested = re.match(r"[0-9]+(?=\.)", name)
    is_requested_version = requested is None or int(requested[0]) == version_of(content)
    if isinstance(problem, BadVersionNumberError) and is_requested_version:
        return "RolledBackMetadata"
    return "MixedMetadata"


_REASONS: Dict[type, Reason] = {
    ExpiredMetadataError: "Expired",
    UnsignedMetadataError: "WrongSignature",
    DeserializationError: "UnreadableMetadata",
    DownloadLengthMismatchError: "TooLong",
}


def version_of(content: bytes) -> int:
    """Return the version of a document; 0 if it is empty, cut off or something else."""
    try:
        version = json.loads(content.decode())["signed"]["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
    return version if type(version) is int else 0


@contextlib.contextmanager
def _exclusive(folder: Path, check_interrupted: InterruptCheck) -> Iterator[None]:
    """Hold the lock of the metadata folder: orders for other packages use it too."""

    def wait(seconds: float) -> None:
        time.sleep(seconds)
        check_interrupted()

    with gate.held(folder / "lock", seconds=float("inf"), wait=wait):
        yield


def _remove_partial_files(folder: Path) -> None:
    """Remove what the library was writing when a process ended. The caller holds the lock."""
    for partial in folder.glob("tmp*"):
        disk.remove_file(partial)


def _updater(server: ReleaseServer, folder: Path, root: bytes, fetcher: FetcherInterface) -> Updater:
    return Updater(
        metadata_dir=str(folder),
        metadata_base_url=f"{server.address}{METADATA}/",
        fetcher=fetcher,
        config=UpdaterConfig(),
        bootstrap=root,
    )


class _Memory:
    """The newest documents seen, in one durable file. It counts only for the root that this host was enrolled with."""

    def __init__(self, folder: Path, enrolled: bytes) -> None:
        self._folder, self._file = folder, folder.parent / "seen.json"
        self._enrolled = hashlib.sha256(enrolled).hexdigest()
        self._saved = self._read()
        self.root = self._saved.get("root", enrolled)
        for role in ("timestamp", "snapshot"):
            saved = self._saved.get(role, b"")
            if version_of(self._found(role)) < version_of(saved):
                disk.write_file(self._folder / f"{role}.json", saved)

    def save(self) -> None:
        """Sync what the library has written, and remember it.

        The library writes only what it has verified. A lower version than before is correct if the root has changed
        keys: so a version that was signed with stolen keys is forgotten.
        """
        _sync_all(self._folder)
        newest, least = dict(self._saved), {"root": version_of(self.root)}
        for role in ("root", "timestamp", "snapshot"):
            found = self._found(role)
            if version_of(found) >= least.get(role, 1):
                newest[role] = found
        if newest != self._saved:
            texts = {role: content.decode() for role, content in newest.items()}
            disk.write_json(self._file, {"enrolled": self._enrolled, **texts})
            self._saved = newest

    def _read(self) -> Dict[str, bytes]:
        raw = disk.read_json(self._file) or {}
        if raw.pop("enrolled", "") != self._enrolled:
            return {}
        documents = {role: str(text).encode("utf-8", "replace") for role, text in raw.items()}
        return {role: content for role, content in documents.items() if version_of(content)}

    def _found(self, role: str) -> bytes:
        try:
            return (self._folder / f"{role}.json").read_bytes()
        except OSError:
            return b""


def _sync_all(folder: Path) -> None:
    """Sync the documents first, then their names. `root.json` is a link to the newest root."""
    for path in folder.glob("*.json"):
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            os.fsync(file.fileno())
    for names in (folder / "root_history", folder):
        with contextlib.suppress(FileNotFoundError):
            disk.sync_folder(names)


class _Fetcher(FetcherInterface):
    """Makes the library's requests with our proxy, trust and time limits. Remembers the last document."""

    def __init__(self, server: ReleaseServer, check_interrupted: InterruptCheck) -> None:
        self._server, self._check_interrupted = server, check_interrupted
        self.name, self.content = "", b""

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.name, self.content = url.rpartition("/")[2], b""
        try:
            with request(self._server, url, self._check_interrupted) as response:
                while piece := response.read1(PIECE):  # read() would wait for the whole piece
                    self._check_interrupted()
                    self.content += piece
                    yield piece
        except DownloadInterrupted as problem:
            if problem.status in NO_SUCH_ROOT:
                raise DownloadHTTPError(str(problem), problem.status) from None
            raise
