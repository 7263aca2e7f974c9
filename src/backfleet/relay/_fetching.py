"""One artifact on its way from the server: written to disk once, and read by every host that asks meanwhile."""

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Final

from backfleet.relay._cache import Cache
from backfleet.relay._upstream import PIECE, Away, NotThere, Upstream

FIRST_PAUSE: Final = 0.5  # seconds before the first further try; it doubles
LONGEST_PAUSE: Final = 8.0
LONGEST_SILENCE: Final = 120.0  # seconds of tries without a byte

log = logging.getLogger(__name__)


class WrongBytes(Exception):
    """The bytes that came are not those whose hash the path names."""


class NotKept(Exception):
    """The disk does not take what comes. No OSError: those are of the way to the server, which is tried again."""


class Fetching:
    """A download that goes on whoever reads it. Readers never get its last byte before all of it was verified.

    Args:
        upstream: Where it comes from.
        cache: Where it goes. A part that an earlier process left is gone on with.
        path: Its path on the server.
        sha256: Its hash, hex.
        length: Its bytes.
        now: Seconds, monotonic.
    """

    def __init__(
        self, upstream: Upstream, cache: Cache, path: str, sha256: str, length: int, now: Callable[[], float]
    ) -> None:
        self._upstream, self._cache, self._path, self._now = upstream, cache, path, now
        self.sha256, self.length = sha256, length
        self.part: Path = cache.part(sha256)
        self._have, self._is_begun, self._is_verified = 0, False, False
        self._digest = hashlib.sha256()
        self._changed = asyncio.Event()
        self.task = asyncio.create_task(self._run())
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # also if nobody reads

    async def read(self, begin: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `begin` on, as they come.

        Raises:
            Away, NotThere, WrongBytes, NotKept, OSError: what ended the download.
        """
        while not self._is_begun and not self.task.done():
            await self._next_change()
        if self.task.done():
            self.task.result()
        with self._opened() as file:  # which stays open, also once it was renamed or removed
            file.seek(begin)
            while begin < self.length:
                was_verified = self._is_verified
                piece = file.read(min(PIECE, max(0, self._readable() - begin)))
                begin += len(piece)
                if piece:
                    yield piece
                elif was_verified:
                    raise WrongBytes(f"the file of {self.sha256} is shorter than {self.length} bytes")
                elif self.task.done():
                    self.task.result()
                else:
                    await self._next_change()

    def _opened(self) -> IO[bytes]:
        try:
            return open(self.part, "rb")
        except FileNotFoundError:  # it was verified meanwhile
            return open(self._cache.artifact(self.sha256) or self.part, "rb")

    def _readable(self) -> int:
        return self.length if self._is_verified else min(self._have, self.length - 1)

    async def _next_change(self) -> None:
        changed = self._changed
        waiting = asyncio.create_task(changed.wait())
        try:
            await asyncio.wait((waiting, self.task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    def _change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _run(self) -> None:
        await asyncio.to_thread(self._take_over_part)
        self._is_begun = True
        self._change()
        pause, since = FIRST_PAUSE, self._now()
        while self._have < self.length:
            before = self._have
            try:
                await self._fetch_rest()
            except Away as problem:
                if self._have > before:
                    pause, since = FIRST_PAUSE, self._now()
                if self._now() - since > LONGEST_SILENCE:
                    raise
                log.warning("%s: %d of %d bytes: %s; trying again", self._path, self._have, self.length, problem)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        await self._verify()

    def _take_over_part(self) -> None:
        """Hash what an earlier process left."""
        self.part.touch()
        with open(self.part, "rb+") as file:
            file.truncate(min(self.length, os.fstat(file.fileno()).st_size))
            while piece := file.read(1 << 20):
                self._digest.update(piece)
                self._have += len(piece)

    async def _fetch_rest(self) -> None:
        """Fetch what is missing. Raises Away, NotThere, NotKept, OSError."""
        async with self._upstream.opened(self._path, self._have) as answer:
            skip = 0 if answer.status == 206 else self._have  # a server without ranges sends it all again
            with self._appending() as file:
                async for piece in answer.content.iter_chunked(PIECE):
                    rest = piece[skip:][: self.length - self._have]
                    skip = max(0, skip - len(piece))
                    if rest:
                        await asyncio.to_thread(_write, file, rest)
                        self._digest.update(rest)
                        self._have += len(rest)
                        self._change()
        if self._have < self.length:
            raise Away(f"only {self._have} of {self.length} bytes came")

    def _appending(self) -> IO[bytes]:
        return open(self.part, "ab", buffering=0)  # else what a full disk refused is written again by its end

    async def _verify(self) -> None:
        if self._digest.hexdigest() != self.sha256:
            self.part.unlink(missing_ok=True)
            log.error("%s: the server's bytes do not have that SHA-256; nothing is kept", self._path)
            raise WrongBytes(f"the bytes of {self._path} do not have its SHA-256")
        await asyncio.to_thread(self._cache.keep_artifact, self.sha256)
        self._is_verified = True
        self._change()


def _write(file: IO[bytes], piece: bytes) -> None:
    """Write a piece. Raises NotKept."""
    left = memoryview(piece)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as problem:
        raise NotKept(
            f"the disk of the cache does not take it: {problem.strerror}; free some, or lower --size"
        ) from None


__all__ = ["Away", "Fetching", "NotKept", "NotThere", "WrongBytes"]
