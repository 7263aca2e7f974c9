"""The body of a request, in memory or streamed to disk, bounded in size and in time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientPayloadError, web

from backfleet.endpoints.uploads import InThread, stored
from backfleet.operations.catalogue import Upload
from backfleet.short_requests import AnyRequest, ShortRequest
from backfleet.wire.errors import BodyEncoded, BodyIncomplete, RequestTooLarge, RequestTooSlow

BODY_SECONDS = 20.0  # for the whole body of an ordinary request


async def read_body(request: AnyRequest, limit: int) -> bytes:
    """Read the whole body, at most `limit` bytes.

    Raises:
        ApiError: too large, too slow, cut short, or compressed.
    """
    if isinstance(request, ShortRequest):
        return body_of(request, limit)
    check_announced(request, limit)
    if not request.body_exists:
        return b""
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


def body_of(request: ShortRequest, limit: int) -> bytes:
    """Return the body of a request that was short. Raises ApiError: too large, or compressed."""
    check_announced(request, limit)
    return request.body


@asynccontextmanager
async def uploaded(request: AnyRequest, folder: Path, limit: int, in_thread: InThread) -> AsyncIterator[Upload]:
    """Stream the body to a file in `folder`. Delete it afterwards unless it was moved away.

    Raises:
        ApiError: too large, too slow, cut short, or compressed. No file is left.
    """
    check_announced(request, limit)
    async with stored(_pieces_of(request), folder, limit, in_thread) as upload:
        yield upload


def check_announced(request: AnyRequest, limit: int) -> None:
    """Check what the headers announce about the body. Raises RequestTooLarge or BodyEncoded."""
    length = len(request.body) if isinstance(request, ShortRequest) else request.content_length
    if (length or 0) > limit:
        raise RequestTooLarge(limit)
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise BodyEncoded(encoding)


def _pieces_of(request: AnyRequest) -> Callable[[], Awaitable[bytes]]:
    """Return what returns the next bytes of a body, none at the end."""
    if not isinstance(request, ShortRequest):
        return lambda: _next_piece(request)
    left = [request.body]

    async def next_piece() -> bytes:
        return left.pop() if left else b""

    return next_piece


async def _next_piece(request: web.Request) -> bytes:
    """Return the next bytes, none at the end. Raises BodyIncomplete if the caller closed the connection."""
    try:
        return await request.content.readany()
    except (ConnectionError, ClientPayloadError, web.RequestPayloadError):
        raise BodyIncomplete from None
