"""The internals of other libraries that the control plane relies on, in the versions that are installed."""

import asyncio
import inspect
import ssl
import sys
from asyncio import sslproto
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from aiohttp import web
from dateutil import rrule

from backfleet import library_internals
from backfleet.certificates import prepare_certificates
from backfleet.library_internals import DownloadResponse, limit_tls_buffer_of, limit_tls_buffers
from backfleet.rollouts.policy.recurrences import LAST_YEAR


@pytest.fixture
def size() -> Iterator[int]:
    """A size of TLS buffers, in force for the time of the test."""
    before = sslproto.SSLProtocol.max_size
    limit_tls_buffers(16 * 1024)
    yield 16 * 1024
    sslproto.SSLProtocol.max_size = before


def test_python_is_a_version_that_was_checked() -> None:
    """A new version: read how asyncio.sslproto uses `max_size`, then add the number."""
    assert sys.version_info[:2] in library_internals.PYTHON_VERSIONS


def test_aiohttp_is_the_version_that_was_checked() -> None:
    """A new version: read how FileResponse sends files, then raise the number."""
    assert version("aiohttp") == library_internals.AIOHTTP_VERSION


def test_dateutil_is_the_version_that_was_checked() -> None:
    """A new version: read how rrule uses `datetime.MAXYEAR`, then raise the number."""
    assert version("python-dateutil") == library_internals.DATEUTIL_VERSION


def test_darabonba_is_the_version_that_was_checked() -> None:
    """A new version: read `DaraCore.do_action`, and whether it still sends by the adapter; then raise the number."""
    assert version("darabonba-core") == library_internals.DARABONBA_VERSION


def test_sqlalchemy_is_the_version_that_was_checked() -> None:
    """A new version: read `Connection._handle_dbapi_exception`, then raise the number."""
    assert version("sqlalchemy") == library_internals.SQLALCHEMY_VERSION


def test_a_recurrence_that_never_happens_ends_with_its_year() -> None:
    """Without the limit it is searched to the year 9999."""
    assert LAST_YEAR == rrule.datetime.MAXYEAR
    begin = datetime(2026, 1, 1)  # noqa: DTZ001 - wall-clock
    assert list(rrule.rrule(rrule.YEARLY, dtstart=begin))[-1].year == LAST_YEAR


async def test_the_buffer_of_one_tls_connection_can_be_smaller(tmp_path: Path) -> None:
    """On a real connection, in the middle of it: what is longer than its buffer arrives whole."""
    certificates = prepare_certificates(tmp_path, ["localhost"], now=datetime.now(UTC))
    found: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(5) == b"first"
        limit_tls_buffer_of(writer.transport, 64)
        found.put_nowait((0, b""))
        whole = await reader.readexactly(50_000)
        found.put_nowait((len(writer.transport._ssl_protocol._ssl_buffer), whole))  # type: ignore[attr-defined]
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certificates.context()) as server:
        port = server.sockets[0].getsockname()[1]
        context = ssl.create_default_context(cafile=str(certificates.authority))
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        writer.write(b"first")
        await found.get()
        sent = bytes(range(250)) * 200
        writer.write(sent)
        assert await found.get() == (64, sent)
        writer.close()
        await writer.wait_closed()


async def test_the_buffer_of_a_tls_connection_has_the_size(size: int, tmp_path: Path) -> None:
    """On a real connection: the attribute is what the library allocates its buffer by."""
    certificates = prepare_certificates(tmp_path, ["localhost"], now=datetime.now(UTC))
    found: asyncio.Queue[int] = asyncio.Queue()

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.put_nowait(len(writer.transport._ssl_protocol._ssl_buffer))  # type: ignore[attr-defined]
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certificates.context()) as server:
        port = server.sockets[0].getsockname()[1]
        context = ssl.create_default_context(cafile=str(certificates.authority))
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        assert await found.get() == size
        writer.close()
        await writer.wait_closed()


def test_a_file_response_still_sends_by_the_method_that_is_replaced() -> None:
    """With the same arguments, and with the fallback that is used instead."""
    theirs, ours = web.FileResponse._sendfile, DownloadResponse._sendfile
    assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters)
    assert list(inspect.signature(web.FileResponse._sendfile_fallback).parameters) == [
        "self", "writer", "fobj", "offset", "count"
    ]  # fmt: skip
