"""One request to one address: no redirect is followed, and time and size are limited as a whole."""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import field
from typing import Final

from backfleet.outbound.destinations import Place
from backfleet.values import value_object

SECONDS: Final = 10.0  # for everything: connecting, TLS, and the answer's last byte
LARGEST: Final = 64 * 1024  # bytes of an answer


class NoAnswer(Exception):
    """There is no answer that could be read. The text says why."""


@value_object
class Reply:
    """What somebody answered."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def fetch(
    place: Place,
    method: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str],
    trust: ssl.SSLContext,
    seconds: float = SECONDS,
    largest: int = LARGEST,
) -> Reply:
    """Send a request and return the answer.

    Args:
        place: where to, checked before.
        method: GET or POST.
        body: what is posted.
        headers: beside Host, unless they have it.
        trust: whose certificates are believed.
        seconds: after which there is no answer, however much of it has come.
        largest: bytes of an answer.

    Raises:
        NoAnswer: the time was over, it was too large, or it was no HTTP.
    """
    try:
        with socket.create_connection((place.address, place.port), timeout=seconds) as plain:
            if place.scheme == "http":
                return _talk(plain, place, method, body, headers, seconds, largest)
            with trust.wrap_socket(plain, server_hostname=place.name, do_handshake_on_connect=False) as secure:
                return _talk(secure, place, method, body, headers, seconds, largest)
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise NoAnswer(str(problem)[:200] or type(problem).__name__) from None


def _talk(
    link: socket.socket,
    place: Place,
    method: str,
    body: bytes | None,
    headers: Mapping[str, str],
    seconds: float,
    largest: int,
) -> Reply:
    # A server that sends one byte at a time never runs into the time-out of a single read.
    is_over = threading.Event()
    ends = threading.Timer(seconds, _end, (link, is_over))
    ends.daemon = True
    ends.start()
    try:
        if isinstance(link, ssl.SSLSocket):
            link.do_handshake()
        connection = http.client.HTTPConnection(place.name, place.port)
        connection.sock = link
        connection.request(method, place.path, body, {"Connection": "close", **headers})
        with contextlib.closing(connection.getresponse()) as answer:  # it holds the connection, whatever comes of it
            found = answer.read(largest + 1)
            missing = answer.length  # of what was promised and did not come; None where nothing was promised
    except (OSError, http.client.HTTPException, ValueError):
        if is_over.is_set():
            raise NoAnswer(f"nothing whole came within {seconds:g} s") from None
        raise
    finally:
        ends.cancel()
    if is_over.is_set():
        raise NoAnswer(f"nothing whole came within {seconds:g} s")
    if len(found) > largest:
        raise NoAnswer(f"the answer is longer than {largest} bytes")
    if missing:
        raise NoAnswer("the answer breaks off")
    return Reply(answer.status, found, dict(answer.getheaders()))


def _end(link: socket.socket, is_over: threading.Event) -> None:
    is_over.set()
    with contextlib.suppress(OSError):  # it is over already
        socket.socket.shutdown(link, socket.SHUT_RDWR)
