"""Artifacts in an object store: every replica has some of them in its folder, and fetches the others when asked."""

import contextlib
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from backfleet.object_store import Bucket, Trouble
from backfleet_host.files import PARTIAL, move_file

HASH: Final = 64  # characters of a name
ABANDONED_SECONDS: Final = 86_400  # after which a part of a download is that of a process that was killed

log = logging.getLogger(__name__)


class Stored:
    """The artifacts of an object store, and those of them in a folder. Used from any thread; calls block.

    Args:
        bucket: The object store.
        artifacts: The folder. Other processes of this machine may have the same one.
        most_bytes: What artifacts may take in the folder.
        most_of_one: bytes of an artifact.
        seconds: The time, since the epoch.
    """

    def __init__(
        self,
        bucket: Bucket,
        artifacts: Path,
        *,
        most_bytes: int,
        most_of_one: int,
        seconds: Callable[[], float] = time.time,
    ) -> None:
        self.bucket, self._artifacts = bucket, artifacts
        self._most_bytes, self.most_of_one, self._seconds = most_bytes, most_of_one, seconds
        self._lock = threading.Lock()  # of the next
        self._fetching: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def put(self, file: Path, sha256: str) -> None:
        """Write an artifact. Raises Trouble."""
        self.bucket.put(file, sha256)

    def fetch(self, sha256: str) -> Path:
        """Return the file of an artifact, verified; fetch it if it is not here. Several at once fetch it once.

        Raises:
            Missing, WrongBytes, Trouble: it cannot be had.
            OSError: it cannot be written.
        """
        path = self._artifacts / sha256
        with self._lock:
            mine = self._fetching[sha256]
        try:
            with mine:
                if not path.is_file():
                    self._fetch(sha256, path)
        finally:
            with self._lock:
                self._fetching.pop(sha256, None)
        return path

    def note_use(self, path: Path) -> None:
        """Note that an artifact was asked for: those that were not for longest make space for others."""
        with contextlib.suppress(OSError):
            os.utime(path)

    def _fetch(self, sha256: str, path: Path) -> None:
        size = self.bucket.size(sha256) or 0
        self._make_space(size)
        partial = path.with_name(f".{sha256}.{os.urandom(4).hex()}{PARTIAL}")
        self.bucket.fetch(sha256, partial, self.most_of_one)
        move_file(partial, path, 0o644)
        log.info("an artifact came from the object store", extra={"sha256": sha256, "bytes": size})

    def _make_space(self, wanted: int) -> None:
        """Remove what was not asked for longest until `wanted` more bytes fit. What only this folder has, stays.

        Raises:
            Trouble: they do not fit.
        """
        here = {path: found for path in self._artifacts.iterdir() if (found := _stat(path)) is not None}
        for path, found in list(here.items()):
            if path.name.endswith(PARTIAL) and self._seconds() - found.st_mtime > ABANDONED_SECONDS:
                path.unlink(missing_ok=True)
                del here[path]
        left = self._most_bytes - wanted - sum(found.st_size for found in here.values())
        whole = [path for path in here if len(path.name) == HASH]
        for path in sorted(whole, key=lambda one: here[one].st_mtime):
            if left >= 0:
                return
            if self.bucket.size(path.name) == here[path].st_size:
                path.unlink(missing_ok=True)  # who reads it has it open
                left += here[path].st_size
        if left < 0:
            raise Trouble(
                f"an artifact of {wanted} bytes does not fit: raise artifacts_cache_bytes, which is {self._most_bytes}"
            )

    def __repr__(self) -> str:
        return f"Stored({self.bucket})"


def _stat(path: Path) -> os.stat_result | None:
    with contextlib.suppress(OSError):
        return path.stat()
    return None
