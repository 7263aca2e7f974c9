"""The body of a request, in memory or streamed to disk, bounded in size and in time."""

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from aiohttp import ClientPayloadError, web

from backfleet.operations.catalogue import Upload
from backfleet.wire.errors import BodyEncoded, BodyIncomplete, RequestTooLarge, RequestTooSlow

BODY_SECONDS = 20.0  # for the whole body of an ordinary request
PIECE_SECONDS = 60.0  # between two pieces of an upload
LEFT_OVER_SECONDS = 3600.0  # an upload not written to for longer belongs to a process that was killed


class InThread(Protocol):
    """Runs blocking work in a thread."""

    def __call__(self, work: Callable[[], Any], /) -> Awaitable[Any]:
        """Return the result of `work`."""


async def read_body(request: web.Request, limit: int) -> bytes:
    """Read the whole body, at most `limit` bytes.

    Raises:
        ApiError: too large, too slow, cut short, or compressed.
    """
    check_announced(request, limit)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while piece := await _next_piece(request):
                body += piece
                if len(body) > limit:
                    raise RequestTooLarge(limit)
    except TimeoutError:
        raise RequestTooSlow from None
    return bytes(body)


@asynccontextmanager
async def uploaded(request: web.Request, folder: Path, limit: int, in_thread: InThread) -> AsyncIterator[Upload]:
    """Stream the body to a file in `folder`, with its size and SHA-256. Delete it afterwards unless it was moved away.

    Only one piece at a time is held in memory.

    Raises:
        ApiError: too large, too slow, cut short, or compressed. No file is left.
    """
    check_announced(request, limit)
    descriptor, name = await in_thread(lambda: _open(folder))
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            digest, size = await _store(request, file.write, limit, in_thread)
        yield Upload(path, digest, size)
    finally:
        await in_thread(lambda: path.unlink(missing_ok=True))


def check_announced(request: web.Request, limit: int) -> None:
    """Check what the headers announce about the body. Raises RequestTooLarge or BodyEncoded."""
    if (request.content_length or 0) > limit:
        raise RequestTooLarge(limit)
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise BodyEncoded(encoding)


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
    request: web.Request, write: Callable[[bytes], Any], limit: int, in_thread: InThread
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
                piece = await _next_piece(request)
        except TimeoutError:
            raise RequestTooSlow from None
        if not piece:
            return digest.hexdigest(), size
        size += len(piece)
        if size > limit:
            raise RequestTooLarge(limit)
        await in_thread(keep(piece))


async def _next_piece(request: web.Request) -> bytes:
    """Return the next bytes, none at the end. Raises BodyIncomplete if the caller closed the connection."""
    try:
        return await request.content.readany()
    except (ConnectionError, ClientPayloadError, web.RequestPayloadError):
        raise BodyIncomplete from None
