"""The PROXY protocol: what a header says, what is no header, and that not one byte more is read."""

import asyncio
import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.proxy_protocol import SIGNATURE, NotProxied, Source, read_header, read_line

V4 = ipaddress.ip_address("203.0.113.7").packed + ipaddress.ip_address("10.0.0.1").packed + bytes([0x12, 0x34, 1, 187])
V6 = ipaddress.ip_address("2001:db8::7").packed * 2 + bytes([0x12, 0x34, 1, 187])


def block(command: int, family: int, content: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(content).to_bytes(2, "big") + content


def read(sent: bytes) -> tuple[Source, bytes]:
    """Return what a header says, and what is left on the connection."""

    async def reading() -> tuple[Source, bytes]:
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            there.sendall(sent)
            there.shutdown(socket.SHUT_WR)
            found = await read_header(here)
            here.setblocking(True)
            return found, here.recv(1 << 16)

    return asyncio.run(reading())


@pytest.mark.parametrize(
    ("header", "source"),
    [
        pytest.param(b"PROXY TCP4 203.0.113.7 10.0.0.1 4660 443\r\n", ("203.0.113.7", 4660), id="1, IPv4"),
        pytest.param(b"PROXY TCP6 2001:db8::7 2001:db8::1 4660 443\r\n", ("2001:db8::7", 4660), id="1, IPv6"),
        pytest.param(b"PROXY UNKNOWN\r\n", None, id="1, unknown"),
        pytest.param(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None, id="1, unknown with addresses"),
        pytest.param(block(0x21, 0x11, V4), ("203.0.113.7", 4660), id="2, IPv4"),
        pytest.param(block(0x21, 0x21, V6), ("2001:db8::7", 4660), id="2, IPv6"),
        pytest.param(block(0x21, 0x11, V4 + b"\x03\x00\x04abcd"), ("203.0.113.7", 4660), id="2, with more fields"),
        pytest.param(block(0x20, 0x00, b""), None, id="2, the balancer itself"),
        pytest.param(block(0x20, 0x11, V4), None, id="2, the balancer itself, with addresses"),
        pytest.param(block(0x21, 0x00, b"xx"), None, id="2, unknown"),
    ],
)
@pytest.mark.parametrize("after", [b"", b"\x16\x03\x01 hello", b"\r\nPROXY UNKNOWN\r\n"])
def test_a_header_is_read_exactly(header: bytes, source: Source, after: bytes) -> None:
    """What follows belongs to TLS or to HTTP."""
    assert read(header + after) == (source, after)


@pytest.mark.parametrize(
    "sent",
    [
        b"", b"PROXY", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01" + b"\0" * 100, b"PROXY TCP4 1.2.3.4\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 70000 1\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
        b"PROXY TCP4 ::1 ::1 1 1\r\n", b"PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n", b"PROXY TCP4 1.2.3.4  1.2.3.4 1 1\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n", b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n", b"proxy unknown\r\nxx",
        "PROXY TCP4 \uff11.2.3.4 1.2.3.4 1 1\r\n".encode(), b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n" + b"x" * 200,
        block(0x11, 0x11, V4), block(0x22, 0x11, V4), block(0x21, 0x12, V4), block(0x21, 0x31, b"x" * 216),
        block(0x21, 0x11, V4[:-1]), block(0x21, 0x11, V4)[:-1], block(0x21, 0x11, b"x" * 5000),
    ],
)  # fmt: skip
def test_anything_else_is_refused(sent: bytes) -> None:
    with pytest.raises(NotProxied):
        read(sent)


@given(st.binary(max_size=120))
def test_any_line_is_read_or_refused(line: bytes) -> None:
    """Nothing but our own refusal."""
    try:
        read_line(b"PROXY " + line)
    except NotProxied:
        return
