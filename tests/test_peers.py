"""Who is at the other end of a request: what trusted proxies say, and nothing that anybody else does."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from aiohttp.typedefs import Handler
from hypothesis import given
from hypothesis import strategies as st

from backfleet.peers import (
    FORWARDED,
    X_FORWARDED,
    Peer,
    find_peer,
    peer_of,
    read_address,
    read_hops,
    read_trust,
)
from backfleet.proxy_protocol import middlewares_of
from backfleet.settings import Settings

TRUST = read_trust("10.0.0.0/8, 2001:db8::/32", X_FORWARDED)
RFC = read_trust("10.0.0.0/8", "forwarded")
PLAIN, TLS = False, True


def peer(connection: str, *addresses: str, schemes: Sequence[str] = (), secure: bool = PLAIN) -> tuple[str, bool]:
    hops = read_hops(TRUST, {"x-forwarded-for": addresses, "x-forwarded-proto": schemes}, ())
    found = find_peer(TRUST, Peer(connection, secure), hops)
    return found.address, found.secure


@pytest.mark.parametrize(
    ("connection", "header", "address"),
    [
        pytest.param("10.0.0.1", ["203.0.113.7"], "203.0.113.7", id="one proxy"),
        pytest.param("10.0.0.1", ["203.0.113.7, 10.0.0.2"], "203.0.113.7", id="two proxies"),
        pytest.param("10.0.0.1", ["203.0.113.7", "10.0.0.2"], "203.0.113.7", id="in two lines"),
        pytest.param("10.0.0.1", ["1.2.3.4, 203.0.113.7, 10.0.0.2"], "203.0.113.7", id="what the caller wrote himself"),
        pytest.param("203.0.113.9", ["1.2.3.4"], "203.0.113.9", id="a caller who is no proxy"),
        pytest.param("10.0.0.1", [], "10.0.0.1", id="no header"),
        pytest.param("10.0.0.1", ["", " , "], "10.0.0.1", id="an empty one"),
        pytest.param("10.0.0.1", ["1.2.3.4, unknown"], "10.0.0.1", id="unknown"),
        pytest.param("10.0.0.1", ["1.2.3.4, nonsense, 10.0.0.2"], "10.0.0.2", id="nonsense behind a proxy"),
        pytest.param("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3", id="a proxy that asks itself"),
        pytest.param("10.0.0.1", ["203.0.113.7:4711"], "203.0.113.7", id="with a port"),
        pytest.param("2001:db8::1", ["[2001:db9::7]:4711"], "2001:db9::7", id="IPv6 with a port"),
        pytest.param("::ffff:10.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7", id="IPv4 in IPv6"),
        pytest.param("10.0.0.1", ["fe80::1%eth0"], "10.0.0.1", id="a zone"),
        pytest.param("10.0.0.1", ["1.2.3.4, "], "10.0.0.1", id="a proxy that writes nothing"),
        pytest.param("10.0.0.1", ["1.2.3.4", ""], "10.0.0.1", id="a proxy that writes an empty line"),
        pytest.param("10.0.0.1", [", 203.0.113.7"], "203.0.113.7", id="a caller who writes nothing"),
        pytest.param("10.0.0.1", ["1.2.3.4, unix:"], "10.0.0.1", id="a socket's name"),
        pytest.param("10.0.0.1", ["1.2.3.4, 203.0.113.7 10.0.0.2"], "10.0.0.1", id="two without a comma"),
        pytest.param(
            "10.0.0.1", ["1.2.3.4, 203.0.113.7, \uff11\uff10.0.0.2"], "10.0.0.1", id="digits of another script"
        ),
        pytest.param("10.0.0.1", ["1.2.3.4, 0x7f.1"], "10.0.0.1", id="a hexadecimal form"),
        pytest.param("10.0.0.1", ["1.2.3.4, 2130706433"], "10.0.0.1", id="one number"),
        pytest.param("10.0.0.1", ["203.0.113.07"], "10.0.0.1", id="not the form of an address"),
    ],
)
def test_the_header_is_read_from_the_right(connection: str, header: list[str], address: str) -> None:
    """Up to the first address that is no trusted proxy's."""
    assert peer(connection, *header)[0] == address


@pytest.mark.parametrize(
    ("connection", "addresses", "schemes", "secure", "expected"),
    [
        pytest.param("10.0.0.1", "203.0.113.7", ["https"], PLAIN, TLS, id="TLS ends at the proxy"),
        pytest.param("10.0.0.1", "203.0.113.7", ["http"], TLS, PLAIN, id="none before the proxy"),
        pytest.param("10.0.0.1", "203.0.113.7", [], TLS, TLS, id="the proxy says nothing"),
        pytest.param("203.0.113.9", "1.2.3.4", ["https"], PLAIN, PLAIN, id="a caller says so"),
        pytest.param("10.0.0.1", "203.0.113.7, 10.0.0.2", ["https, http"], PLAIN, TLS, id="one for each proxy"),
        pytest.param("10.0.0.1", "1.2.3.4, 203.0.113.7", ["https, http"], PLAIN, PLAIN, id="the caller wrote both"),
        pytest.param("10.0.0.1", "203.0.113.7", ["https, http"], PLAIN, PLAIN, id="the caller wrote one more"),
        pytest.param("10.0.0.1", "", ["https"], PLAIN, TLS, id="a scheme alone"),
        pytest.param("10.0.0.1", "203.0.113.7", ["nonsense"], TLS, PLAIN, id="nonsense"),
    ],
)
def test_whether_a_caller_came_by_tls(
    connection: str, addresses: str, schemes: list[str], secure: bool, expected: bool
) -> None:
    """What the trusted proxy that he reached says of it."""
    assert peer(connection, addresses, schemes=schemes, secure=secure)[1] is expected


def test_forwarded_has_both_in_one() -> None:
    """The header that is not configured is not read."""
    elements = [
        {"for": "1.2.3.4", "proto": "http"},
        {"for": "[2001:db9::7]:4711", "proto": "https"},
        {"for": "10.0.0.2"},
    ]
    other = {"x-forwarded-for": ["9.9.9.9"], "x-forwarded-proto": ["http"]}
    assert find_peer(RFC, Peer("10.0.0.1", PLAIN), read_hops(RFC, other, elements)) == Peer("2001:db9::7", TLS)
    assert find_peer(TRUST, Peer("10.0.0.1", PLAIN), read_hops(TRUST, other, elements)).address == "9.9.9.9"
    hidden = [{"for": "1.2.3.4"}, {"for": "_secret", "proto": "https"}]
    assert find_peer(RFC, Peer("10.0.0.1", PLAIN), read_hops(RFC, {}, hidden)) == Peer("10.0.0.1", TLS)


@given(st.lists(st.text(max_size=12), max_size=5), st.lists(st.text(max_size=6), max_size=3))
def test_nobody_is_believed_without_the_setting(addresses: list[str], schemes: list[str]) -> None:
    """Whatever the headers say."""
    nobody = read_trust("", X_FORWARDED)
    hops = read_hops(nobody, {"x-forwarded-for": addresses, "x-forwarded-proto": schemes}, ())
    assert find_peer(nobody, Peer("10.0.0.1", PLAIN), hops) == Peer("10.0.0.1", PLAIN)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_none(text: str) -> None:
    """And what is one reads as itself."""
    found = read_address(text)
    assert found is None or read_address(str(found)) == found


@pytest.mark.parametrize(
    ("proxies", "header", "words"),
    [
        ("10.0.0.0/33", X_FORWARDED, "10.0.0.0/33"),
        ("10.0.0.1/8", FORWARDED, "host bits"),
        ("", "X-Real-IP", "X-Real-IP"),
    ],
)
def test_settings_that_cannot_be_used_are_named(proxies: str, header: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_trust(proxies, header)


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8"])
@pytest.mark.parametrize(
    ("remote", "shown"),
    [("203.0.113.9", "203.0.113.9"), ("::ffff:203.0.113.9", "203.0.113.9"), ("2001:DB8::0:1", "2001:db8::1"), ("", "")],
)
async def test_a_caller_who_is_no_proxy_has_one_address(trusted: str, remote: str, shown: str, tmp_path: Path) -> None:
    """Whether or not there are trusted proxies: the two ways to find it print it alike, and believe no header."""
    transport = Mock()
    transport.get_extra_info = lambda name, default=None: (remote, 1) if name == "peername" else default
    request = make_mocked_request("GET", "/", {X_FORWARDED: "1.2.3.4"}, transport=transport)

    async def answering(request: web.Request) -> web.StreamResponse:
        return web.Response(text=peer_of(request).address)

    handler: Handler = answering
    settings = Settings(data=tmp_path, trusted_proxies=trusted)
    for middleware in middlewares_of(settings):
        handler = partial(middleware, handler=handler)
    answer = await handler(request)
    assert isinstance(answer, web.Response)
    assert answer.text == shown
