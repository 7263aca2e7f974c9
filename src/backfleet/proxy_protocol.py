"""PROXY protocol, versions 1 and 2: a balancer's first bytes on a connection, which say who is at its other end.

A listener requires them of every connection, or never reads them. They are read before TLS, exactly, so that not one
byte of what follows is lost. Source: HAProxy, "The PROXY protocol, versions 1 & 2".
"""

import asyncio
import ipaddress
import re
import socket
from typing import Final

from aiohttp.typedefs import Middleware

from backfleet.peers import Trust, finding_peers, read_trust
from backfleet.settings import Settings

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
SHORTEST = 15  # bytes of the shortest header: PROXY UNKNOWN and its line end
LONGEST_LINE = 107  # bytes of a header of version 1, its line end included
LONGEST_BLOCK = 4096  # bytes after the first 16 of version 2; balancers send some hundreds at most
SECONDS = 5.0  # that a balancer has for its header

_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: .*)?|(?P<family>TCP4|TCP6) (?P<source>\S{2,39}) (?P<target>\S{2,39})"
    rb" (?P<from>0|[1-9][0-9]{0,4}) (?P<to>0|[1-9][0-9]{0,4}))\r\n",
    re.DOTALL,
)


def trust_of(settings: Settings) -> tuple[Trust, frozenset[str]]:
    """Return which proxies are trusted, and the listeners that require the PROXY protocol.

    Raises:
        ValueError: a setting of these cannot be used; the text names it.
    """
    trust = read_trust(settings.trusted_proxies, settings.forwarded_header)
    names = frozenset(filter(None, (name.strip() for name in settings.proxy_protocol.split(","))))
    if names - {"http", "https"}:
        raise ValueError(f"proxy_protocol is {settings.proxy_protocol!r}; it names listeners: http, https or both")
    if names and not trust.networks:
        raise ValueError("proxy_protocol needs trusted_proxies: whoever sends its header is believed")
    return trust, names


def middlewares_of(settings: Settings) -> list[Middleware]:
    """Return the middlewares that find the peer of each request: none where no proxy is trusted.

    Then the peer is the other end of the connection, which `peer_of` finds for the few requests that are asked.
    """
    trust, _ = trust_of(settings)
    return [finding_peers(trust)] if trust.networks else []


class NotProxied(Exception):
    """A connection does not begin with a header of the PROXY protocol, or with one that is malformed."""


Source = tuple[str, int] | None
"""The address and port that a header names; None for one that keeps the connection's own."""


def read_line(line: bytes) -> Source:
    """Read a header of version 1. Pure. Raises NotProxied."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise NotProxied("the first line is not one of PROXY protocol version 1")
    if found["family"] is None:
        return None
    try:
        kind = ipaddress.IPv4Address if found["family"] == b"TCP4" else ipaddress.IPv6Address
        address, _ = kind(found["source"].decode("ascii")), kind(found["target"].decode("ascii"))
    except ValueError as problem:
        raise NotProxied(f"an address is malformed: {problem}") from None
    if "%" in f"{address}":
        raise NotProxied("an address has a zone, which means nothing here")
    if max(int(found["from"]), int(found["to"])) > 65535:
        raise NotProxied("a port is above 65535")
    return str(address), int(found["from"])


def read_block(start: bytes, block: bytes) -> Source:
    """Read a header of version 2: its first 16 bytes, and what follows by their length. Pure. Raises NotProxied."""
    command, family = start[12], start[13]
    if command == 0x20 or (command == 0x21 and family == 0x00):  # LOCAL; an unknown family
        return None
    sizes = {0x11: 4, 0x21: 16}  # TCP over IPv4 and IPv6
    if command != 0x21 or family not in sizes:
        raise NotProxied(f"command {command:#x} with family {family:#x} is not known here")
    size = sizes[family]
    if len(block) < 2 * size + 4:
        raise NotProxied("the addresses are cut short")
    return str(ipaddress.ip_address(block[:size])), int.from_bytes(block[2 * size : 2 * size + 2], "big")


async def read_header(connection: socket.socket) -> Source:
    """Read the header from a connection, and nothing after it. Raises NotProxied."""
    start = await _exactly(connection, SHORTEST)
    if start.startswith(SIGNATURE):
        start += await _exactly(connection, 1)
        length = int.from_bytes(start[14:16], "big")
        if length > LONGEST_BLOCK:
            raise NotProxied(f"a header of {length} bytes")
        return read_block(start, await _exactly(connection, length))
    if not start.startswith(b"PROXY "):
        raise NotProxied("the first bytes are not of the PROXY protocol")
    while not start.endswith(b"\r\n"):
        if len(start) >= LONGEST_LINE:
            raise NotProxied(f"a first line of more than {LONGEST_LINE} bytes")
        start += await _exactly(connection, 1)
    return read_line(start)


async def _exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = await asyncio.get_running_loop().sock_recv(connection, count - len(found))
        if not piece:
            raise NotProxied("the connection was closed within the header")
        found += piece
    return found
