"""The HTTP client of simulated agents, at servers that answer as told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backfleet_sim import HttpClient, Server, http_client
from backfleet_sim.http_client import NoAnswer

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 2\r\n\r\nok"
Answers = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(answer: Answers) -> AsyncIterator[tuple[Server, list[tuple[int, bytes]]]]:
    """Give a server that does this with each request; and what it was asked, with the number of the connection."""
    asked: list[tuple[int, bytes]] = []
    connections = 0
    running: set[asyncio.Task[Any] | None] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        number, connections = connections, connections + 1
        running.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                asked.append((number, head + await reader.readexactly(length)))
                await answer(len(asked), writer)
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield Server("127.0.0.1", server.sockets[0].getsockname()[1]), asked
        await asyncio.gather(*filter(None, running))


def ask(client: HttpClient, server: Server, seconds: float = 20) -> Awaitable[tuple[int, bytes]]:
    return client.request(server, "POST", "/luban/x?a=1", {"X-A": "b"}, b"body", seconds)


async def ok(_number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with answering(ok) as (server, asked), HttpClient() as client:
        assert [await ask(client, server) for _ in range(3)] == [(200, b"ok")] * 3
    lines = f"POST /luban/x?a=1 HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nX-A: b\r\nContent-Length: 4\r\n\r\nbody"
    assert asked == [(0, lines.encode())] * 3


@pytest.mark.parametrize("said", [b"Connection: close", b"CONNECTION:\tKeep-Alive, Close"])
async def test_a_connection_that_is_to_be_closed_is_not_kept(said: bytes) -> None:
    async def closing(_number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(OK.replace(b"\r\n\r\n", b"\r\n" + said + b"\r\n\r\n"))

    async with answering(closing) as (server, asked), HttpClient() as client:
        assert [await ask(client, server) for _ in range(2)] == [(200, b"ok")] * 2
    assert [number for number, _ in asked] == [0, 1]


async def test_a_request_whose_connection_ends_has_no_answer() -> None:
    """It is not sent once more: what it is signed with was used."""

    async def ends_at_the_second(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 2:
            writer.transport.abort()
        else:
            await ok(number, writer)

    async with answering(ends_at_the_second) as (server, asked), HttpClient() as client:
        await ask(client, server)
        with pytest.raises(OSError):  # noqa: PT011 -- a reset or an end, as the kernel has it
            await ask(client, server)
        assert await ask(client, server) == (200, b"ok")
    assert [number for number, _ in asked] == [0, 0, 1]


async def test_a_connection_that_was_kept_for_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "KEPT_SECONDS", 0.05)
    async with answering(ok) as (server, asked), HttpClient() as client:
        await ask(client, server)
        await ask(client, server)
        await asyncio.sleep(0.1)
        await ask(client, server)
    assert [number for number, _ in asked] == [0, 0, 1]


async def test_a_client_that_keeps_nothing_opens_a_connection_for_each_request() -> None:
    async with answering(ok) as (server, asked), HttpClient(keeps=False) as client:
        await asyncio.gather(*(ask(client, server) for _ in range(3)))
    assert sorted(number for number, _ in asked) == [0, 1, 2]


async def test_what_nobody_asked_for_ends_a_connection() -> None:
    """It would be taken for the beginning of the next answer."""

    async def says_more_later(number: int, writer: asyncio.StreamWriter) -> None:
        await ok(number, writer)
        if number == 1:
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.write(b"HTTP/1.1 408 Request Timeout\r\n")

    async with answering(says_more_later) as (server, asked), HttpClient() as client:
        await ask(client, server)
        await asyncio.sleep(0.3)
        assert await ask(client, server) == (200, b"ok")
    assert [number for number, _ in asked] == [0, 1]


async def test_the_answer_of_a_request_that_was_given_up_is_not_that_of_the_next() -> None:
    async def late_at_first(number: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5 if number == 1 else 0)
        writer.write(OK.replace(b"ok", b"%02d" % number))

    async with answering(late_at_first) as (server, asked), HttpClient() as client:
        with pytest.raises(TimeoutError):
            await ask(client, server, seconds=0.05)
        assert await ask(client, server) == (200, b"02")
    assert [number for number, _ in asked] == [0, 1]


async def test_an_answer_in_small_pieces_is_put_together() -> None:
    async def in_pieces(_number: int, writer: asyncio.StreamWriter) -> None:
        for at in range(len(OK)):
            writer.write(OK[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0.001)

    async with answering(in_pieces) as (server, _), HttpClient() as client:
        assert await ask(client, server) == (200, b"ok")


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


@pytest.mark.parametrize("answer", [
    CHUNKED, CHUNKED.replace(b"OK\r\n", b"OK\r\nContent-Length: 2\r\n"), b"HTTP/1.1 204 No Content\r\n\r\n",
    OK.replace(b"1.1", b"1.0"), OK.replace(b"200", b"abc"), OK.replace(b"200", b"100"), b"x\r\n\r\n",
])  # fmt: skip
async def test_anything_else_is_no_answer(answer: bytes) -> None:
    async def other(_number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    async with answering(other) as (server, _), HttpClient() as client:
        with pytest.raises(NoAnswer, match="without a status or a length"):
            await ask(client, server)


async def test_a_connection_with_more_than_an_answer_is_not_kept() -> None:
    async def twice(_number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + OK)

    async with answering(twice) as (server, asked), HttpClient() as client:
        assert [await ask(client, server) for _ in range(2)] == [(200, b"ok")] * 2
    assert [number for number, _ in asked] == [0, 1]


async def test_no_more_requests_are_under_way_than_was_said() -> None:
    open_now, most = 0, 0

    async def slow(_number: int, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.05)
        open_now -= 1
        writer.write(OK)

    async with answering(slow) as (server, asked), HttpClient(most=2) as client:
        await asyncio.gather(*(ask(client, server) for _ in range(6)))
    assert most == 2
    assert {number for number, _ in asked} == {0, 1}
