"""Who is at the other end of a request: the peer of the connection, or whom trusted proxies name.

One header is read, and it is believed only as far as the proxies that wrote it are trusted: from its right end, where
the nearest one wrote, to the first address that is none of them. Sources: RFC 7239; X-Forwarded-For and
X-Forwarded-Proto as nginx and HAProxy write them.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from backfleet.short_requests import AnyRequest, ShortRequest
from backfleet.values import value_object

X_FORWARDED, FORWARDED = "X-Forwarded-For", "Forwarded"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@value_object
class Peer:
    """Where a request came from, and whether it came encrypted all the way to the first trusted proxy."""

    address: str
    secure: bool


_PEER: Final = web.RequestKey("peer", Peer)  # where the middleware leaves what it found


@value_object
class Hop:
    """What one proxy wrote of the one before it. None where it wrote nothing that can be read."""

    address: Address | None
    secure: bool | None


@value_object
class Trust:
    """The networks of trusted proxies, and the header that they write."""

    networks: tuple[Network, ...] = ()
    header: str = X_FORWARDED

    def includes(self, address: Address | None) -> bool:
        """Return whether an address is a trusted proxy's."""
        return address is not None and any(address in network for network in self.networks)


def read_trust(proxies: str, header: str) -> Trust:
    """Return whom to trust.

    Args:
        proxies: Networks or addresses, with commas between them; "" for nobody.
        header: X-Forwarded-For or Forwarded.

    Raises:
        ValueError: neither of these headers, or a network that is none; the text names it.
    """
    names = {name.lower(): name for name in (X_FORWARDED, FORWARDED)}
    if header.lower() not in names:
        raise ValueError(f"forwarded_header is {header!r}; it is {X_FORWARDED} or {FORWARDED}")
    networks = []
    for each in filter(None, (part.strip() for part in proxies.split(","))):
        try:
            networks.append(ipaddress.ip_network(each))
        except ValueError as problem:
            raise ValueError(f"trusted_proxies has {each!r}: {problem}") from None
    return Trust(tuple(networks), names[header.lower()])


def find_peer(trust: Trust, connection: Peer, hops: Sequence[Hop]) -> Peer:
    """Return the peer of a request. Pure.

    Args:
        trust: The proxies that are believed.
        connection: The other end of the connection.
        hops: What the header says, in its order: the last one was written by the other end of the connection.
    """
    address, secure = read_address(connection.address), connection.secure
    for hop in reversed(hops):
        if not trust.includes(address):
            break
        secure = secure if hop.secure is None else hop.secure
        if hop.address is None:
            break
        address = hop.address
    return Peer(connection.address if address is None else str(address), secure)


def read_hops(trust: Trust, headers: Mapping[str, Sequence[str]], forwarded: Sequence[Mapping[str, str]]) -> list[Hop]:
    """Return what the configured header says, in its order.

    Args:
        trust: Which header it is.
        headers: The values of X-Forwarded-For and X-Forwarded-Proto, by lower-case name, in their order.
        forwarded: The elements of Forwarded.
    """
    if trust.header == FORWARDED:
        return [Hop(read_address(each.get("for", "")), _is_https(each.get("proto"))) for each in forwarded]
    addresses = [each.strip() for value in headers.get("x-forwarded-for", ()) for each in value.split(",")]
    schemes = _listed(headers.get("x-forwarded-proto", ()))
    if not any(addresses):
        return [Hop(None, _is_https(schemes[-1]))] if schemes else []
    # An empty address counts: dropped, it would leave what the caller wrote where the proxy's word belongs.
    # One scheme is the first proxy's, of all; several belong to the last addresses, one each.
    first = len(addresses) - len(schemes) if len(schemes) > 1 else 0
    of = {first + place: scheme for place, scheme in enumerate(schemes)} if len(schemes) > 1 else {}
    every = schemes[0] if len(schemes) == 1 else None
    return [Hop(read_address(each), _is_https(of.get(place, every))) for place, each in enumerate(addresses)]


def read_address(text: str) -> Address | None:
    """Return an address, with or without a port; None for anything else. An IPv4 address in IPv6 is IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        return None if found.scope_id else found.ipv4_mapped or found
    return found


def _listed(values: Sequence[str]) -> list[str]:
    return [each.strip() for value in values for each in value.split(",") if value.strip()]


def _is_https(scheme: str | None) -> bool | None:
    return None if scheme is None else scheme.strip().lower() in ("https", "wss")


def peer_of(request: AnyRequest) -> Peer:
    """Return the peer of a request: whom the middleware found, or else the other end of the connection."""
    found = None if isinstance(request, ShortRequest) else request.get(_PEER)
    return _connection(request) if found is None else found


def finding_peers(trust: Trust) -> Middleware:
    """Return the middleware that finds the peer of each request."""

    @web.middleware
    async def find(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = {name: request.headers.getall(name, []) for name in ("x-forwarded-for", "x-forwarded-proto")}
        hops = read_hops(trust, headers, request.forwarded if trust.header == FORWARDED else ())
        request[_PEER] = find_peer(trust, _connection(request), hops)
        return await handler(request)

    return find


def _connection(request: AnyRequest) -> Peer:
    return Peer(_printed(request.remote or ""), request.secure)


@lru_cache(maxsize=4096)  # of the other ends of connections only: what headers say may be long, and is anybody's
def _printed(remote: str) -> str:
    """Return the address of a connection's other end as it is shown everywhere."""
    return str(read_address(remote) or remote)
