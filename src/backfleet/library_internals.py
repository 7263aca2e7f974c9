"""Every place where the control plane relies on internals of another library.

Each entry names the versions it was checked against. tests/test_library_internals.py fails when a library changes under
it: check the entry against the new version then, and add or raise the number here. The host program has its own file of
this name.
"""

import asyncio
import datetime
import functools
import time
import zlib
from asyncio import sslproto
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import IO, Any, Final, NoReturn

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from dateutil import rrule

from backfleet_host.texts import printable

PYTHON_VERSIONS: Final = ((3, 11), (3, 12), (3, 13))  # those that `limit_tls_buffers` was checked against
AIOHTTP_VERSION: Final = "3.14.5"  # the version that the functions and classes here were checked against
DARABONBA_VERSION: Final = "1.0.9"  # the version that `limit_answers` was checked against
DATEUTIL_VERSION: Final = "2.9.0.post0"  # the version that `end_recurrences` was checked against
SQLALCHEMY_VERSION: Final = "2.1.9"  # the version that `raise_as_sqlalchemy_does` was checked against


def limit_tls_buffers(size: int) -> None:
    """Make each TLS connection of this process read `size` bytes at a time.

    asyncio allocates a buffer of 256 KiB for each connection, ten times what else an agent's socket needs, and has no
    setting for it. Its size is the class attribute `SSLProtocol.max_size`.
    """
    sslproto.SSLProtocol.max_size = size


class DownloadResponse(web.FileResponse):
    """A file, sent over TLS in pieces of `chunk_size`, and without TLS by the kernel.

    aiohttp asks the event loop to send the file. Over TLS the loop reads and encrypts 16 KiB at a time, which costs
    seven times the CPU, measured with a file of 29 MB. This class takes aiohttp's own fallback there. And it reports a
    connection that the kernel gave up as one that was closed; aiohttp would log a traceback. If aiohttp renames the
    method, files are sent as by its own class: slower, but correctly.
    """

    async def _sendfile(self, request: BaseRequest, fobj: IO[Any], offset: int, count: int) -> AbstractStreamWriter:
        try:
            if not request.secure:
                return await super()._sendfile(request, fobj, offset, count)
            writer = await web.StreamResponse.prepare(self, request)
            assert writer is not None  # noqa: S101 - the library asserts the same at this point
            return await self._sendfile_fallback(writer, fobj, offset, count)
        except TimeoutError:
            raise ConnectionAbortedError from None


def is_answering(protocol: object) -> bool:
    """Return whether a connection is in the middle of a request whose headers have arrived, or is a WebSocket.

    aiohttp does not say. It has the request as `RequestHandler._current_request`. If it renames that, every connection
    counts as answering, and new ones are refused instead of idle ones closed.
    """
    return not isinstance(protocol, RequestHandler) or getattr(protocol, "_current_request", protocol) is not None


def request_parser(loop: asyncio.AbstractEventLoop) -> HttpRequestParser:
    """Return what reads one request as aiohttp's server would, so that no request has two meanings.

    aiohttp exports the class in `aiohttp.http`, and documents neither its arguments nor its results. Its `feed_data`
    takes bytes and returns the heads of requests with their bodies, whether an upgrade follows, and what was not read.
    """
    return HttpRequestParser(BaseProtocol(loop), loop, 2**16)


def take_connection(request: web.Request, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, bytes]:
    """Give the connection of a request to another protocol, as of this moment, and let aiohttp forget it.

    aiohttp keeps its own objects for as long as a connection is open: a WebSocket of it takes 20 KiB. The transport is
    `RequestHandler.transport`, what arrived after the request is its `_message_tail`, and it forgets a connection that
    it is told is lost. If aiohttp renames one of them, this raises AttributeError before anything has changed.

    Args:
        request: one that asks for another protocol. What its handler returns is not sent any more.
        protocol: gets what arrives from now on; `connection_made` is not called.

    Returns:
        The transport, which reads, and what has arrived after the request.

    Raises:
        ConnectionResetError: the other end has gone.
    """
    handler = request.protocol
    transport, arrived = handler.transport, handler._message_tail
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the connection has ended")
    transport.set_protocol(protocol)
    handler.transport = None  # or it would close it
    handler.connection_lost(None)
    if not transport.is_reading():
        transport.resume_reading()
    return transport, arrived


def limit_tls_buffer_of(transport: asyncio.Transport, size: int) -> None:
    """Make one TLS connection read `size` bytes at a time, as `limit_tls_buffers` does for those that come.

    Longer records are put together all the same. Without TLS, or if asyncio renames the attributes, nothing changes.
    """
    protocol: Any = getattr(transport, "_ssl_protocol", None)
    if isinstance(getattr(protocol, "_ssl_buffer", None), bytearray):
        buffer = bytearray(size)
        protocol.max_size, protocol._ssl_buffer_len = size, size
        protocol._ssl_buffer, protocol._ssl_buffer_view = buffer, memoryview(buffer)


def end_recurrences(year: int) -> None:
    """Make dateutil's recurrences of this process end with a year.

    A rule that never happens, such as every 30 February, is searched to the year 9999, day by day: seconds of CPU for
    each. The module compares with `datetime.MAXYEAR`, by its own name for the module `datetime`, which this
    function replaces. If dateutil no longer has that name, such a rule is slow, and nothing else is wrong.
    """
    names = ("MINYEAR", "date", "datetime", "time", "timedelta", "tzinfo")
    bounded = SimpleNamespace(MAXYEAR=year, **{name: getattr(datetime, name) for name in names})
    setattr(rrule, "datetime", bounded)  # noqa: B010 - no attribute that the module declares


def raise_as_sqlalchemy_does(connection: Any, problem: BaseException, statement: str, cursor: Any) -> NoReturn:
    """Raise what SQLAlchemy would have raised for a driver's error, and drop the connection where it would have.

    A prepared statement is given to the driver directly. SQLAlchemy has no public name for what it does with an error
    of its own executions: the method is `Connection._handle_dbapi_exception`. Called while the error is handled.

    Args:
        connection: SQLAlchemy's, on which it happened.
        problem: the driver's error.
        statement: the text that was executed. Its values are left out: some are secrets.
        cursor: the driver's; None if there was none yet.
    """
    connection._handle_dbapi_exception(problem, statement, None, cursor, None)
    raise problem  # never reached with the version above


def limit_answers(
    adapter: Any, most: int, seconds: float, on_answer: Callable[[Mapping[str, str]], object] = lambda _headers: None
) -> None:
    """Bound the answers that a cloud's SDK reads: their size, and the time until all of one is there.

    `darabonba` sends by `requests`, which reads the whole of any answer into memory for as long as bytes arrive, and
    lets nobody give it another way to send. Its own class of adapter is the one seam; this replaces the method `send`
    of that class. If the class is gone, the import fails and the cloud account says so.

    Args:
        adapter: the class `darabonba.core._TLSAdapter`; a second call does nothing.
        most: bytes of a body, as it arrives and unpacked. It is unpacked piece by piece, and no further than that.
        seconds: until it ends. One read more may take the SDK's own time limit.
        on_answer: called with the headers of each answer, which the SDK's own errors do not have.
    """
    theirs = adapter.send
    if hasattr(theirs, "__wrapped__"):
        return

    @functools.wraps(theirs)
    def send(self: Any, request: Any, *given: Any, **options: Any) -> Any:
        request.headers["Accept-Encoding"] = "gzip"  # the one that is unpacked here
        response = theirs(self, request, *given, **{**options, "stream": True})
        try:
            response._content = _bounded(response, most, time.monotonic() + seconds)
        except BaseException:
            response.close()
            raise
        response._content_consumed = True
        response.raw.release_conn()
        on_answer(response.headers)
        return response

    adapter.send = send


def _bounded(response: Any, most: int, until: float) -> bytes:
    encoding = str(response.headers.get("Content-Encoding") or "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise ConnectionError(f"the answer is packed as {printable(encoding)[:40]}, which was not asked for")
    unpack = _Gunzip(most).add if encoding != "identity" else bytes
    found, arrived = bytearray(), 0
    while True:
        try:
            piece = response.raw.read1(64 * 1024, decode_content=False)
        except OSError:
            raise
        except Exception as problem:  # noqa: BLE001 - urllib3 has its own kinds
            raise ConnectionError(f"the answer broke off: {type(problem).__name__}") from None
        if not piece:
            return bytes(found)
        arrived += len(piece)
        found += unpack(piece)
        if max(len(found), arrived) > most:
            raise ConnectionError(f"the answer has more than {most} bytes")
        if time.monotonic() > until:
            raise TimeoutError("the answer did not end in time")


class _Gunzip:
    """Unpacks a gzip stream, and at most so many bytes of it."""

    def __init__(self, most: int) -> None:
        self._left = most + 1  # the one too many says that there are more
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def add(self, piece: bytes) -> bytes:
        """Return what a piece unpacks to, cut at the bound. Raises ConnectionError where it is no gzip."""
        found = bytearray()
        while piece and len(found) < self._left:
            if self._stream.eof:  # a stream may have several members
                self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                found += self._stream.decompress(piece, self._left - len(found))
            except zlib.error:
                raise ConnectionError("the answer is packed as gzip, and is none") from None
            piece = self._stream.unused_data or self._stream.unconsumed_tail
        self._left -= len(found)
        return bytes(found)
