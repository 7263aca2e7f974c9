"""Requests that are answered without the HTTP server, on real connections, and what is left to that server."""

import asyncio
import http.client
import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpProcessingError, HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st

from backfleet import short_requests
from backfleet.certificates import prepare_certificates
from backfleet.short_answers import Answer
from backfleet.short_requests import MOST_BYTES, Reader, ShortRequest, ShortRequests

NOW = 1_700_000_000
PATH = "/short"
SOON = 5.0
LINE = 4000  # bytes of a first line that are allowed
LARGE, MOST_HELD = 1 << 20, 40 << 20  # bytes: of an answer; between two ends, in their kernel's buffers and ours
SERVER: Any = {"max_line_size": 2**18, "max_field_size": 2**16}  # as the product has it


@dataclass
class Site:
    """A server: what it answers tells whether the HTTP server was asked."""

    port: int
    short: ShortRequests
    runner: web.AppRunner
    may_answer: asyncio.Event
    bodies: list[bytes] = field(default_factory=list)  # of requests that were answered
    dialled: list[asyncio.StreamWriter] = field(default_factory=list)
    opened: int = 0  # connections that the HTTP server was given

    async def dial(self, context: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        self.dialled.append(writer)
        return reader, writer


@asynccontextmanager
async def serving(
    *, keep_alive: float = 60.0, grace: float = SOON, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Site]:
    short = ShortRequests(keep_alive, grace, lambda: NOW, line_limit=LINE)
    site = Site(
        0,
        short,
        web.AppRunner(app := web.Application(), access_log=None, shutdown_timeout=grace, **SERVER),
        asyncio.Event(),
    )
    site.may_answer.set()

    async def brief(request: ShortRequest) -> Answer:
        await site.may_answer.wait()
        if "fail" in request.query:
            raise ValueError(request.query["fail"])
        if "refuse" in request.query:
            raise web.HTTPServiceUnavailable
        site.bodies.append(request.body)
        if "large" in request.query:
            return Answer(bytes(int(request.query["large"])))
        return Answer.of({"by": "short", "query": dict(request.query), "named": request.headers.get("X-Named")})

    async def usual(request: web.Request) -> web.Response:
        site.bodies.append(await request.read())
        return web.json_response({"by": "server", "query": dict(request.query)})

    short.add("POST", PATH, brief)
    short.add("GET", PATH, brief)
    app.router.add_route("*", "/{any:.*}", usual)
    await site.runner.setup()

    def http_server() -> asyncio.Protocol:
        site.opened += 1
        assert site.runner.server is not None
        return site.runner.server()

    listening = await asyncio.get_running_loop().create_server(
        lambda: short.reader(http_server), "127.0.0.1", 0, ssl=tls
    )
    site.port = listening.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        listening.close()
        site.may_answer.set()
        short.begin_closing()
        await short.closed()
        await site.runner.cleanup()
        for writer in site.dialled:
            writer.transport.abort()
        await asyncio.sleep(0.01)


def raw(body: bytes = b"", *headers: str, path: str = PATH, method: str = "POST", length: int | None = None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    async with asyncio.timeout(SOON):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        named = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        return int(head[0].split()[1]), named, await reader.readexactly(int(named["content-length"]))


async def answered(reader: asyncio.StreamReader) -> Any:
    status, _, body = await read_answer(reader)
    assert status == 200, body
    return json.loads(body)


async def test_a_request_is_answered_with_what_the_other_end_needs_to_read_it() -> None:
    async with serving() as site:
        reader, writer = await site.dial()
        writer.write(raw(b"{}", "x-named: caf\u00e9", path=f"{PATH}?a=1&b=&a=2&c=%C3%A9+x"))
        status, headers, body = await read_answer(reader)
        assert json.loads(body) == {"by": "short", "query": {"a": "1", "b": "", "c": "\u00e9 x"}, "named": "caf\u00e9"}
        assert (status, headers["content-type"]) == (200, "application/json; charset=utf-8")
        assert headers["date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
        assert headers["server"]
        assert "connection" not in headers


async def test_many_requests_come_on_one_connection() -> None:
    async with serving() as site:
        reader, writer = await site.dial()
        for number in range(100):
            writer.write(raw(b"%d" % number))
            assert (await answered(reader))["by"] == "short"
        assert site.bodies == [b"%d" % number for number in range(100)]
        assert site.opened == 0


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_a_request_in_pieces_is_answered_once(size: int) -> None:
    """Whichever of both reads it: a first piece that does not have the address is enough for the HTTP server."""
    async with serving() as site:
        reader, writer = await site.dial()
        whole = raw(b"x" * 200)
        for at in range(0, len(whole), size):
            writer.write(whole[at : at + size])
            await writer.drain()
            await asyncio.sleep(0.002)
        assert (await answered(reader))["by"] == ("short" if size == 100 else "server")
        assert site.bodies == [b"x" * 200]


async def test_head_and_body_may_come_apart() -> None:
    """As Python's own HTTP client sends them."""
    async with serving() as site:

        def ask() -> list[Any]:
            connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=SOON)
            found = []
            for body in (b"first", b"second"):
                connection.request("POST", PATH, body)
                found.append(json.loads(connection.getresponse().read())["by"])
            connection.close()
            return found

        assert await asyncio.to_thread(ask) == ["short", "short"]
        assert site.bodies == [b"first", b"second"]


UNUSUAL = {
    "another address": raw(path="/other"),
    "a longer address": raw(path=f"{PATH}er"),
    "another way to write the address": raw(path="/shor%74"),
    "a whole URL": raw(path=f"http://x{PATH}"),
    "another method": raw(method="PUT"),
    "a body in chunks": raw(b"", "Transfer-Encoding: chunked", length=0).replace(b"Content-Length: 0\r\n", b"")
    + b"2\r\n{}\r\n0\r\n\r\n",
    "a body that is packed": raw(b"", "Content-Encoding: gzip"),
    "an older version": raw(b"", "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "an upgrade": raw(b"", "Connection: Upgrade", "Upgrade: websocket"),
    "a line that is long": raw(b"", f"X-Long: {'x' * 10_000}"),
    "a body that is large": raw(b"x" * MOST_BYTES),
    "a line that is longer than allowed": raw(path=f"{PATH}?{'x' * LINE}"),
}


@pytest.mark.parametrize("asked", UNUSUAL.values(), ids=UNUSUAL)
async def test_what_is_unusual_is_answered_by_the_http_server(asked: bytes) -> None:
    """And so is all that comes on the same connection later: it never changes back."""
    async with serving() as site:
        reader, writer = await site.dial()
        writer.write(asked)
        assert (await answered(reader))["by"] == "server"
        writer.write(raw())
        assert (await answered(reader))["by"] == "server"
        assert site.opened == 1


async def test_a_connection_may_turn_unusual_later() -> None:
    async with serving() as site:
        reader, writer = await site.dial()
        for path, by in ((PATH, "short"), ("/other", "server"), (PATH, "server")):
            writer.write(raw(path=path))
            assert (await answered(reader))["by"] == by


async def test_a_body_that_is_announced_is_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """curl announces one of more than a mebibyte, and some libraries every one."""
    monkeypatch.setattr(short_requests, "REST_SECONDS", 60.0)
    async with serving() as site:
        reader, writer = await site.dial()
        writer.write(raw(b"", "Expect: 100-continue", length=2))
        async with asyncio.timeout(SOON):
            assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"{}")
        assert (await answered(reader))["by"] == "server"


async def test_a_large_body_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its head may be refused: the HTTP server says so before the body has come."""
    monkeypatch.setattr(short_requests, "REST_SECONDS", 60.0)
    async with serving() as site:
        _, writer = await site.dial()
        writer.write(raw(b"the first of it", length=MOST_BYTES + 1))
        await eventually(lambda: site.opened == 1)


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(raw(b"", "Content-Length: 5"), id="two lengths"),
        pytest.param(raw(b"", "Transfer-Encoding: chunked", length=0), id="a length and chunks"),
        pytest.param(raw().replace(b"Content-Length: 0", b"Content-Length: -1"), id="a length below nothing"),
        pytest.param(raw(b"", "Na me: x"), id="a name with a blank"),
        pytest.param(raw(b"", "Name: x\0y"), id="a value with a null"),
        pytest.param(raw(b"", " folded"), id="a line that goes on"),
        pytest.param(raw().replace(b"HTTP/1.1", b"HTTP/9"), id="a version that does not exist"),
    ],
)
async def test_what_is_malformed_is_refused_as_before(asked: bytes) -> None:
    async with serving() as site:
        reader, writer = await site.dial()
        writer.write(asked)
        assert (await read_answer(reader))[0] == 400
        assert site.bodies == []


async def test_several_requests_at_once_are_answered_in_their_order() -> None:
    async with serving() as site:
        reader, writer = await site.dial()
        writer.write(raw(b"1") + raw(b"2") + raw(b"3", path="/other"))
        for _ in range(3):
            await answered(reader)
        assert site.bodies == [b"1", b"2", b"3"]


@pytest.mark.parametrize("more", [1, 40, -1])
async def test_a_request_may_bring_the_beginning_of_the_next_one(more: int) -> None:
    async with serving() as site:
        reader, writer = await site.dial()
        second = raw(b"second")
        writer.write(raw(b"first") + second[:more])
        await answered(reader)
        writer.write(second[more:])
        await answered(reader)
        assert site.bodies == [b"first", b"second"]


async def test_requests_that_come_while_one_is_answered_wait() -> None:
    async with serving() as site:
        reader, writer = await site.dial()
        site.may_answer.clear()
        writer.write(raw(b"1"))
        await asyncio.sleep(0.05)
        writer.write(raw(b"2"))
        await asyncio.sleep(0.05)
        site.may_answer.set()
        assert [(await answered(reader))["by"] for _ in range(2)] == ["short", "short"]
        assert site.bodies == [b"1", b"2"]


async def test_the_connection_is_closed_where_the_caller_asks_for_that() -> None:
    """The official agent does, with each request."""
    async with serving() as site:
        reader, writer = await site.dial()
        writer.write(raw(b"{}", "Connection: close"))
        status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"], await reader.read()) == (200, "close", b"")
        assert site.opened == 0


async def test_nothing_is_begun_after_the_last_request_of_a_connection() -> None:
    """Its answer may take long to be taken; what came meanwhile is nobody's."""
    async with serving() as site:
        reader, writer = await site.dial()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        site.may_answer.clear()
        writer.write(raw(b"last", "Connection: close", path=f"{PATH}?large={MOST_HELD}"))
        await eventually(lambda: site.short.answering == 1)
        writer.write(raw(b"more"))
        await asyncio.sleep(0.1)
        site.may_answer.set()
        await eventually(lambda: site.bodies != [])
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        _, headers, body = await read_answer(reader)
        assert (headers["connection"], len(body)) == ("close", MOST_HELD)
        await asyncio.sleep(0.1)
        assert site.bodies == [b"last"]


async def test_the_rest_of_a_request_is_not_waited_for_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The HTTP server has its own limits for one that is slow."""
    monkeypatch.setattr(short_requests, "REST_SECONDS", 0.05)
    async with serving() as site:
        reader, writer = await site.dial()
        writer.write(raw(b"sl", length=4))
        await eventually(lambda: site.opened == 1)
        writer.write(b"ow")
        assert (await answered(reader))["by"] == "server"
        assert site.bodies == [b"slow"]


async def test_an_idle_connection_is_closed() -> None:
    async with serving(keep_alive=1.0) as site:
        reader, writer = await site.dial()
        writer.write(raw())
        await answered(reader)
        async with asyncio.timeout(SOON):
            assert await reader.read() == b""


async def test_a_request_that_is_arriving_keeps_its_connection() -> None:
    """It has its own time for what is missing, also where the connection has been idle for as long as it may."""
    async with serving(keep_alive=1.0) as site:
        reader, writer = await site.dial()
        await asyncio.sleep(0.8)
        writer.write(raw(b"late", length=8))
        await asyncio.sleep(0.5)
        writer.write(b"late")
        assert (await answered(reader))["by"] == "short"
        assert site.bodies == [b"latelate"]


@pytest.mark.parametrize(("query", "status"), [("fail=secret", 500), ("refuse=x", 503)])
async def test_a_handler_that_fails_is_answered_as_by_the_http_server(query: str, status: int) -> None:
    """Without its reason, and the connection goes on."""
    async with serving() as site:
        reader, writer = await site.dial()
        writer.write(raw(path=f"{PATH}?{query}"))
        found, _, body = await read_answer(reader)
        assert (found, b"secret" in body) == (status, False)
        writer.write(raw())
        assert (await answered(reader))["by"] == "short"


async def test_one_that_takes_no_answers_is_not_read_any_more() -> None:
    """A few answers wait for it, and the requests after them in its own kernel."""
    async with serving() as site:
        reader, writer = await site.dial()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(100):
            writer.write(raw(b"x", path=f"{PATH}?large={LARGE}"))
            await asyncio.sleep(0.005)
        answered_unread = len(site.bodies)
        assert answered_unread * LARGE < MOST_HELD
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(100):
            assert (await read_answer(reader))[0] == 200
        assert len(site.bodies) == 100


async def test_a_server_that_ends_answers_what_it_has_begun() -> None:
    """An idle connection is closed at once; one that is answered afterwards; a new request is not begun."""
    async with serving() as site:
        (idle, one), (reader, two) = await site.dial(), await site.dial()
        one.write(raw())
        await answered(idle)
        site.may_answer.clear()
        two.write(raw(b"begun"))
        await eventually(lambda: site.short.answering == 1)
        site.short.begin_closing()
        async with asyncio.timeout(SOON):
            assert await idle.read() == b""
        site.may_answer.set()
        _, headers, _ = await read_answer(reader)
        assert (headers["connection"], await reader.read()) == ("close", b"")
        await site.short.closed()
        assert site.bodies[-1] == b"begun"


async def ask_and_leave(site: Site) -> None:
    """Ask for something, and break the connection off before it is answered."""
    _, writer = await site.dial()
    site.may_answer.clear()
    writer.write(raw(b"left"))
    await eventually(lambda: site.short.answering == 1)
    writer.transport.abort()
    await asyncio.sleep(0.05)


async def test_a_server_that_ends_waits_for_what_a_caller_left_behind() -> None:
    """Its request is carried out: what it needs must still be there."""
    async with serving() as site:
        await ask_and_leave(site)
        site.short.begin_closing()
        closed = asyncio.create_task(site.short.closed())
        await asyncio.sleep(0.05)
        assert not closed.done()
        site.may_answer.set()
        await closed
        assert site.bodies == [b"left"]


async def test_a_server_that_ends_takes_no_connection_any_more() -> None:
    """One may have been accepted just before."""
    async with serving() as site:
        site.short.begin_closing()
        await site.short.closed()
        reader, writer = await site.dial()
        writer.write(raw())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await read_answer(reader)
        assert site.bodies == []


async def test_a_server_that_ends_does_not_wait_for_ever() -> None:
    async with serving(grace=0.1) as site:
        reader, writer = await site.dial()
        site.may_answer.clear()
        writer.write(raw())
        await eventually(lambda: site.short.answering == 1)
        site.short.begin_closing()
        async with asyncio.timeout(SOON):
            await site.short.closed()
            assert site.short.answering == 0
            assert await reader.read() == b""


async def test_a_caller_that_leaves_does_not_undo_its_request() -> None:
    async with serving() as site:
        await ask_and_leave(site)
        site.may_answer.set()
        await eventually(lambda: site.bodies == [b"left"])


async def test_it_is_the_same_over_tls(tmp_path: Path) -> None:
    certificates = prepare_certificates(tmp_path, ["127.0.0.1"], now=datetime.now(UTC))
    async with serving(tls=certificates.context()) as site:
        context = ssl.create_default_context(cafile=str(certificates.authority))
        reader, writer = await site.dial(context)
        for path, by in ((PATH, "short"), (PATH, "short"), ("/other", "server")):
            writer.write(raw(b"x" * 20_000, path=path))
            assert (await answered(reader))["by"] == by


async def eventually(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not become true")


class Wire(asyncio.Transport):
    """A transport that sends nothing."""

    def get_write_buffer_size(self) -> int:
        return 100_000

    def __init__(self) -> None:
        super().__init__()
        self.given: list[asyncio.BaseProtocol] = []
        self.is_over = False

    def is_closing(self) -> bool:
        return self.is_over

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.given.append(protocol)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send nothing."""

    def is_reading(self) -> bool:
        return True

    def close(self) -> None:
        """Hand on all the same what arrives."""
        self.is_over = True

    def pause_reading(self) -> None:
        """Read nothing as before."""


def reader_into(found: list[ShortRequest]) -> tuple[Reader, Wire]:
    """Return what reads a connection, and notes the requests that are answered without the HTTP server."""
    short = ShortRequests(60.0, SOON, lambda: NOW)

    async def note(request: ShortRequest) -> Answer:
        found.append(request)
        return Answer.of({})

    short.add("POST", PATH, note)
    short.add("GET", PATH, note)
    return Reader(short, asyncio.Protocol), Wire()


async def read_here(pieces: Sequence[bytes]) -> list[ShortRequest]:
    """Return the requests that are answered without the HTTP server."""
    found: list[ShortRequest] = []
    reader, wire = reader_into(found)
    reader.connection_made(wire)
    for piece in pieces:
        if not wire.given:
            reader.data_received(piece)
            if reader.answering is not None:
                await reader.answering
    reader.connection_lost(None)
    return found


async def test_nothing_is_answered_while_the_other_end_takes_nothing() -> None:
    """Over TLS what has arrived is still handed on when reading has been paused."""
    found: list[ShortRequest] = []
    reader, wire = reader_into(found)
    reader.connection_made(wire)
    reader.pause_writing()
    reader.data_received(raw(b"later"))
    assert reader.answering is None
    reader.resume_writing()
    assert reader.answering is not None
    await reader.answering
    assert [request.body for request in found] == [b"later"]
    reader.connection_lost(None)


async def test_a_connection_is_in_use_until_the_other_end_has_taken_its_answer() -> None:
    """One that is idle may be closed, and is aborted where there are too many: the rest of the answer would be lost."""
    short = ShortRequests(0.05, SOON, lambda: NOW)
    reader, wire = Reader(short, asyncio.Protocol), Wire()
    reader.connection_made(wire)
    reader.pause_writing()
    await asyncio.sleep(1.2)  # it looks once a second
    assert reader.is_answering
    assert not wire.is_over
    reader.resume_writing()
    assert not reader.is_answering
    await eventually(lambda: wire.is_over)
    reader.connection_lost(None)


async def test_nothing_is_begun_on_a_connection_that_is_being_closed() -> None:
    found: list[ShortRequest] = []
    reader, wire = reader_into(found)
    reader.connection_made(wire)
    reader.close()
    reader.data_received(raw(b"too late"))
    assert (reader.answering, found, wire.given) == (None, [], [])
    reader.connection_lost(None)


async def read_there(whole: bytes) -> list[tuple[str, str, dict[str, str], dict[str, str], bytes]]:
    """Return the requests as the HTTP server reads them. Raises HttpProcessingError."""
    loop = asyncio.get_running_loop()
    parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16, **SERVER)
    messages, _, _ = parser.feed_data(whole)
    return [
        (message.method, message.path, dict(message.url.query), firsts(message.headers), await body.read())
        for message, body in messages
    ]


def firsts(several: Any) -> dict[str, str]:
    return {name.lower(): several[name] for name in several}


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=8)
NAMES = st.sampled_from(
    ["X-Named", "x-named", "Content-Length", "Connection", "Host", "Transfer-Encoding", "Expect", ""]
)
VALUES = TEXTS | st.sampled_from(["close", "keep-alive", "chunked", "0", "3", "+3", "3, 3", " ", "\t3 ", "Upgrade"])
ENDS = st.sampled_from(["\r\n"] * 8 + ["\n", "\r", "\r\r\n"])
TARGETS = st.sampled_from(
    [PATH, f"{PATH}?", f"{PATH}?a=1&a=2", f"{PATH}?x=%zz&%C3=+;y", f"{PATH}?\u00e9", f"{PATH}?a#b"]
)


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """Draw what somebody may write who asks for an address that is answered here."""
    method = draw(st.sampled_from(["POST", "GET"]))
    version = draw(st.sampled_from(["HTTP/1.1"] * 8 + ["HTTP/1.0", "HTTP/2.0", "HTTP/1.1 "]))
    body = draw(st.binary(max_size=4))
    lines = [f"{method} {draw(TARGETS)}{draw(TEXTS)} {version}", f"Content-Length: {len(body)}"]
    lines += [f"{name}{draw(st.sampled_from([':', ': ', ' :', '']))}{value}" for name, value in draw(
        st.lists(st.tuples(NAMES, VALUES), max_size=3)
    )]  # fmt: skip
    return "".join(line + draw(ENDS) for line in [*lines, ""]).encode() + body


@given(written(), st.integers(0, 200))
def test_no_request_has_two_meanings(whole: bytes, cut: int) -> None:
    """What is answered here is read as the HTTP server would read it, or else somebody between could be deceived."""

    async def read() -> None:
        for request in (here := await read_here([piece for piece in (whole[:cut], whole[cut:]) if piece])):
            assert len(here) == 1
            there = await read_there(whole)
            read = request.method, str(request.rel_url), dict(request.query), firsts(request.headers), request.body
            assert [(method, query, headers, body) for method, _, query, headers, body in there] == [
                (read[0], read[2], read[3], read[4])
            ]

    try:
        asyncio.run(read())
    except HttpProcessingError as problem:
        raise AssertionError(f"the HTTP server refuses what is answered here: {whole!r}") from problem


@pytest.mark.parametrize("last", [(), ("Connection: close",)], ids=["open", "last"])
async def test_who_takes_nothing_of_an_answer_loses_the_connection(last: tuple[str, ...]) -> None:
    """Nothing else would ever end it: it counts as in use."""
    async with serving(keep_alive=0.5) as site:
        _, writer = await site.dial()
        writer.transport.pause_reading()
        writer.write(raw(b"", *last, path=f"{PATH}?large={MOST_HELD}"))
        await eventually(lambda: bool(site.bodies))
        assert site.short._open
        await eventually(lambda: not site.short._open)


async def test_who_takes_an_answer_slowly_gets_all_of_it() -> None:
    async with serving(keep_alive=0.5) as site:
        reader, writer = await site.dial()
        writer.write(raw(path=f"{PATH}?large={MOST_HELD}"))
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.5)
            await reader.readexactly(MOST_HELD // 8)
        assert site.short._open
