"""A notify socket on the wire: who gets one, what it costs while silent, and what a bad neighbour does with it."""

import base64
import gc
import http.client
import os
import socket
import struct
import time
from collections.abc import Mapping

import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from endpoints.agents.hosts import AgentServer, Host, eventually

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
}
PING, PONG = 9, 10
MOST_HELD = 16 << 20  # bytes between two ends, in their kernel's buffers and ours


def dial(host: Host, *, after: bytes = b"") -> socket.socket:
    """Ask for a socket on a connection of our own, with bytes in the same packet."""
    connection = socket.create_connection(("127.0.0.1", host.server.port), timeout=5)
    lines = "".join(f"{name}: {value}\r\n" for name, value in (UPGRADE | host.signed()).items())
    connection.sendall(f"GET /luban/notify_server HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode() + after)
    return connection


def frame(code: int, content: bytes = b"") -> bytes:
    """Return a masked frame of an agent."""
    mask = os.urandom(4)
    return bytes([0x80 | code, 0x80 | len(content)]) + mask + bytes(b ^ mask[at % 4] for at, b in enumerate(content))


def read_until(connection: socket.socket, what: bytes) -> bytes:
    found = b""
    while what not in found:
        piece = connection.recv(4096)
        assert piece, f"the connection ended after {found!r}"
        found += piece
    return found


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"Upgrade": ""}, 426, "Upgrade"),
        ({"Connection": "keep-alive"}, 426, "Connection"),
        ({"Sec-WebSocket-Key": ""}, 400, "Sec-WebSocket-Key"),
        ({"Sec-WebSocket-Key": "short"}, 400, "Sec-WebSocket-Key"),
        ({"Sec-WebSocket-Version": "12"}, 400, "Sec-WebSocket-Version"),
    ],
)
def test_a_request_for_something_else_is_told_what_is_wrong(
    host: Host, change: Mapping[str, str], status: int, says: str
) -> None:
    """The connection may be used for the next request: a proxy that cannot upgrade is found by its words."""
    connection = http.client.HTTPConnection("127.0.0.1", host.server.port, timeout=5)
    headers = {name: value for name, value in (UPGRADE | dict(change)).items() if value}
    connection.request("GET", "/luban/notify_server", headers=headers | host.signed())
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == status, text
    assert says in text
    connection.request("GET", "/luban/api/connection_detect")
    assert connection.getresponse().read() == b"ok"
    connection.close()


def test_a_socket_may_be_asked_for_where_a_heartbeat_was_answered(host: Host) -> None:
    """Each is read by another part of the server; a balancer keeps its connections for whatever comes."""
    heartbeat = "".join(f"{name}: {value}\r\n" for name, value in host.signed().items())
    with socket.create_connection(("127.0.0.1", host.server.port), timeout=5) as connection:
        connection.sendall(f"GET /luban/api/heart-beat HTTP/1.1\r\nHost: x\r\n{heartbeat}\r\n".encode())
        read_until(connection, b"nextInterval")
        lines = "".join(f"{name}: {value}\r\n" for name, value in (UPGRADE | host.signed()).items())
        asked = f"GET /luban/notify_server HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()
        connection.sendall(asked + frame(PING, b"early"))
        assert b" 101 " in read_until(connection, b"early")


def test_what_comes_with_the_request_is_read(host: Host) -> None:
    """An agent need not wait for the answer before it says something."""
    with dial(host, after=frame(PING, b"early")) as connection:
        found = read_until(connection, b"early")
    assert found.startswith(b"HTTP/1.1 101 ")
    assert found.endswith(bytes([0x80 | PONG, 5]) + b"early")


def test_a_frame_may_come_byte_by_byte(host: Host) -> None:
    """Whatever lies between the two ends cuts it up."""
    with dial(host) as connection:
        read_until(connection, b"\r\n\r\n")
        for byte in frame(PING, b"slow"):
            connection.sendall(bytes([byte]))
            time.sleep(0.002)
        assert read_until(connection, b"slow").endswith(bytes([0x80 | PONG, 4]) + b"slow")


def test_a_silent_socket_keeps_nothing_of_its_request(server: AgentServer, host: Host) -> None:
    """Else each agent costs what a whole request does for as long as it is connected."""
    hosts = [host, *(server.enrol(number) for number in (1, 2))]
    channels = [each.connect() for each in hosts]
    for channel in channels:
        channel.ping("keepalive")
        assert channel.frame() == ("pong", b"keepalive")

    def kept() -> list[object]:
        gc.collect()
        return [
            each
            for each in gc.get_objects()
            if (isinstance(each, RequestHandler) and each.connected)
            or (isinstance(each, web.Request) and each.path.endswith("/notify_server"))
        ]

    eventually(lambda: not kept())
    for channel in channels:
        channel.drop()


def test_an_agent_that_reads_no_answers_is_not_read_either(server: AgentServer, host: Host) -> None:
    """Answers to its pings would fill the server's memory; other agents are served meanwhile."""
    other = server.enrol(1)
    channel = other.connect()
    ping = frame(PING, bytes(120)) * 500
    sent, until = 0, time.monotonic() + 20
    with dial(host) as connection:
        read_until(connection, b"\r\n\r\n")
        connection.settimeout(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with pytest.raises(TimeoutError):
            while sent < 2 * MOST_HELD and time.monotonic() < until:
                connection.sendall(ping)
                sent += len(ping)
        assert sent < MOST_HELD
        server.send(other, "r-1")
        assert channel.kicked()
    channel.drop()


@pytest.mark.parametrize(
    "wrong",
    [
        bytes([0x80 | PING, 4]) + b"bare",  # not masked
        bytes([0xC0 | PING, 0x80]) + bytes(4),  # a bit that no extension has given a meaning
        bytes([0x83, 0x80]) + bytes(4),  # a kind that does not exist
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 64,
    ],
    ids=["not masked", "reserved bit", "unknown kind", "another request", "noise"],
)
def test_nonsense_ends_a_socket_and_no_other(server: AgentServer, host: Host, wrong: bytes) -> None:
    """The agent dials again and is kicked as ever."""
    other = server.enrol(1)
    channel = other.connect()
    with dial(host) as connection:
        read_until(connection, b"\r\n\r\n")
        connection.sendall(wrong + frame(PING, b"x"))
        with connection.makefile("rb") as found:
            assert len(found.read(1000)) < 200, "a close frame, and the end"
    server.send(other, "r-1")
    assert channel.kicked()
    server.send(host, "r-2")
    again = host.connect()
    assert again.kicked()
    channel.drop()
