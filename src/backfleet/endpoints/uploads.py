"""Files that callers send: streamed to disk, bounded in size and in time. The API and the console take them."""

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from backfleet.operations.catalogue import Upload
from backfleet.wire.errors import RequestTooLarge, RequestTooSlow

PIECE_SECONDS = 60.0  # between two pieces of an upload
LEFT_OVER_SECONDS = 3600.0  # an upload not written to for longer belongs to a process that was killed

NextPiece = Callable[[], Awaitable[bytes]]
"""Returns the next bytes, none at the end. Raises BodyIncomplete if the caller closed the connection."""


class InThread(Protocol):
    """Runs blocking work in a thread."""

    def __call__(self, work: Callable[[], Any], /) -> Awaitable[Any]:
        """Return the result of `work`."""


@asynccontextmanager
async def stored(next_piece: NextPiece, folder: Path, limit: int, in_thread: InThread) -> AsyncIterator[Upload]:
    """Stream to a file in `folder`, with its size and SHA-256. Delete it afterwards unless it was moved away.

    Only one piece at a time is held in memory.

    Raises:
        ApiError: too large, too slow, or cut short. No file is left.
    """
    descriptor, name = await in_thread(lambda: _open(folder))
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            digest, size = await _store(next_piece, file.write, limit, in_thread)
        yield Upload(path, digest, size)
    finally:
        await in_thread(lambda: path.unlink(missing_ok=True))


def drop_left_overs(folder: Path, now: float) -> None:
    """Remove the files of uploads whose process was killed. `now` is Unix time in seconds."""
    for path in folder.glob("upload-*"):
        try:
            if now - path.stat().st_mtime > LEFT_OVER_SECONDS:
                path.unlink()
        except FileNotFoundError:
            continue  # another replica removed it


def _open(folder: Path) -> tuple[int, str]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    drop_left_overs(folder, time.time())
    return tempfile.mkstemp(dir=folder, prefix="upload-")


async def _store(
    next_piece: NextPiece, write: Callable[[bytes], Any], limit: int, in_thread: InThread
) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0

    def keep(piece: bytes) -> Callable[[], None]:
        def work() -> None:
            digest.update(piece)
            write(piece)

        return work

    while True:
        try:
            async with asyncio.timeout(PIECE_SECONDS):
                piece = await next_piece()
        except TimeoutError:
            raise RequestTooSlow from None
        if not piece:
            return digest.hexdigest(), size
        size += len(piece)
        if size > limit:
            raise RequestTooLarge(limit)
        await in_thread(keep(piece))
