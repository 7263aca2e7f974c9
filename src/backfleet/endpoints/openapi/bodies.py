"""The body of a request: in memory within its limit, or a file on its way to disk; bounded in size and in time."""

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
LEFT_OVER_SECONDS = 3600.0  # an upload that was not touched for longer is nobody's


class InThread(Protocol):
    """Runs work that waits for a disk in a thread."""

    def __call__(self, work: Callable[[], Any], /) -> Awaitable[Any]:
        """What the work gives."""


async def read_body(request: web.Request, limit: int) -> bytes:
    """The whole body, at most `limit` bytes.

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
    """The body as a file in `folder`, measured and hashed on its way; gone afterwards unless somebody moved it.

    Nothing of it is held in memory but the piece at hand.

    Raises:
        ApiError: too large, too slow, cut short, or compressed. Nothing is left of it.
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
    """What the headers say of the body. Raises RequestTooLarge or BodyEncoded."""
    if (request.content_length or 0) > limit:
        raise RequestTooLarge(limit)
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise BodyEncoded(encoding)


def drop_left_overs(folder: Path, now: float) -> None:
    """Remove what uploads left behind whose process was killed. `now` as of time.time()."""
    for path in folder.glob("upload-*"):
        try:
            if now - path.stat().st_mtime > LEFT_OVER_SECONDS:
                path.unlink()
        except FileNotFoundError:
            continue  # another replica was quicker


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
    """The next bytes that are there; none at the end. Raises BodyIncomplete when the caller went away."""
    try:
        return await request.content.readany()
    except (ConnectionError, ClientPayloadError, web.RequestPayloadError):
        raise BodyIncomplete from None
