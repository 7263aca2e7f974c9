"""The bytes of a release: resumed where they broke off, rate-limited, and hashed while they come."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import Any, Iterator
from urllib.parse import quote

from backfleet_host.download_paths import TARGETS
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.release.retrieval import NO_SUCH_RANGE, OK, PARTIAL, DownloadInterrupted, request
from backfleet_host.upgrader.release.source import InterruptCheck, ReleaseServer, SignedFile

PIECE = 1 << 20  # bytes read at a time


class Download:
    """The download of one artifact or delta. `run_once` may be called again, and resumes where it broke off."""

    def __init__(
        self,
        server: ReleaseServer,
        target: SignedFile,
        folder: Path,
        bytes_per_second: int,
        check_interrupted: InterruptCheck,
    ) -> None:
        self._server, self._target = server, target
        self._bytes_per_second, self._check_interrupted = bytes_per_second, check_interrupted
        self.part = folder / f"{target.sha256}.part"
        path, _, name = target.path.rpartition("/")
        self._address = f"{server.address}{TARGETS}/{quote(path, safe='/+~')}/{target.sha256}.{name}"
        self._is_inherited = self.part.exists()  # left by another order: a power cut may have damaged it
        self._serves_ranges = True

    def run_once(self) -> None:
        """Download what is missing and verify all of it. A damaged part of another order is downloaded afresh, once.

        Raises:
            DownloadInterrupted: the network or the server failed; what came is kept.
            OrderFailed: UntrustedRelease, and nothing is kept; or the order was interrupted.
            OSError: the disk is full, or cannot be written.
        """
        try:
            self._complete()
        except _WrongBytes as problem:
            disk.remove_file(self.part)
            if not self._is_inherited:
                raise problem.failure from None
            self._is_inherited = False
            self.run_once()

    def _complete(self) -> None:
        """Download what is missing. What came before is hashed again: anybody may have changed a file on disk."""
        target, digest = self._target, hash_of(self.part)
        have = self.part.stat().st_size if self.part.exists() else 0
        if have < target.length:
            with disk.open_for_writing(self.part, "ab") as file:
                for piece in self._missing(have):
                    have += len(piece)
                    if have > target.length:
                        break
                    digest.update(piece)
                    disk.write_all(file, piece)
        if have < target.length:
            raise DownloadInterrupted(f"only {have} of {target.length} bytes came", "TooShort")
        if have > target.length:
            text = f"more than the {target.length} bytes came that the signed metadata names"
            raise _WrongBytes(OrderFailed("UntrustedRelease", text, "TooLong"))
        if digest.hexdigest() != target.sha256:
            text = "the downloaded bytes do not have the SHA-256 that the signed metadata names"
            raise _WrongBytes(OrderFailed("UntrustedRelease", text, "WrongBytes"))

    def _missing(self, have: int) -> Iterator[bytes]:
        """Yield what comes after the first `have` bytes."""
        headers = {"Range": f"bytes={have}-"} if have and self._serves_ranges else {}
        limit = BandwidthLimit(self._bytes_per_second, self._check_interrupted)
        accepted = (OK, PARTIAL, NO_SUCH_RANGE) if headers else (OK,)
        with request(self._server, self._address, self._check_interrupted, headers, accepted) as response:
            skip = self._bytes_to_skip(response, have)
            while piece := response.read1(limit.piece):  # read() would drop what came before a break
                if len(piece) > skip:
                    yield piece[skip:]
                skip = max(0, skip - len(piece))
                limit.wait_for(len(piece))

    def _bytes_to_skip(self, response: Any, have: int) -> int:
        """Return how many bytes of this answer we have already: a server without ranges sends all of them."""
        if response.status == NO_SUCH_RANGE:
            text = f"the server has only {have} of {self._target.length} bytes"
            raise DownloadInterrupted(text, "TooShort", passing=False)
        if response.status == OK:
            return have
        first = first_byte_of(response.headers.get("Content-Range", ""))
        if first != have:
            self._serves_ranges = False
            raise DownloadInterrupted(f"the server sent bytes from {first} on instead of {have}", "NotServed")
        return 0


class _WrongBytes(Exception):
    """The bytes are not those that the signed metadata names."""

    def __init__(self, failure: OrderFailed) -> None:
        super().__init__(failure.text)
        self.failure = failure


class BandwidthLimit:
    """A limit in bytes per second over the whole of one answer; 0 = no limit."""

    def __init__(self, bytes_per_second: int, check_interrupted: InterruptCheck) -> None:
        self._most, self._check_interrupted = bytes_per_second, check_interrupted
        self._began, self._bytes = time.monotonic(), 0
        self.piece = min(PIECE, max(1, bytes_per_second // 10)) if bytes_per_second else PIECE

    def wait_for(self, size: int) -> None:
        """Wait until `size` more bytes are within the limit. Raises OrderFailed if the order was interrupted."""
        self._check_interrupted()
        self._bytes += size
        if self._most:
            time.sleep(max(0.0, self._bytes / self._most - (time.monotonic() - self._began)))


def first_byte_of(content_range: str) -> int:
    """Return the position of the first byte in a partial answer; -1 if its header does not say."""
    found = re.match(r"bytes ([0-9]{1,18})-", content_range)
    return int(found[1]) if found else -1


def hash_of(path: Path) -> Any:
    """Return the SHA-256 object of a file's content so far, of nothing if there is no file."""
    digest = hashlib.sha256()
    if path.exists():
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(PIECE):
                digest.update(piece)
    return digest
