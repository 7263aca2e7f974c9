"""A way to a server on which requests or answers get into trouble, in an order that a test decides."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from socket import create_connection, create_server, socket
from typing import BinaryIO

from backfleet.wire.answers import failure
from backfleet.wire.errors import ApiError, ServiceUnavailable, ThrottlingUser
from endpoints.openapi.server import Server

SOCKET_SECONDS = 20  # of one read or write


MOST_LINES, LONGEST_LINE = 100, 200_000  # of a request's head


class Trouble(Enum):
    """What happens to one request."""

    THROTTLED = auto()  # refused with 429, and not passed on
    UNAVAILABLE = auto()  # refused with 503, and not passed on
    BALANCER_GAVE_UP = auto()  # passed on and done; a balancer's page with status 503 comes in the place of the answer
    ANSWER_LOST = auto()  # passed on and done; the connection ends before the answer
    ANSWER_CUT = auto()  # passed on and done; the connection ends in the middle of the answer


@dataclass
class Way:
    """The address of the way, the troubles that are still to come, and what has been asked on it."""

    address: str
    troubles: deque[Trouble] = field(default_factory=deque)
    asked: list[bytes] = field(default_factory=list)


@contextmanager
def way_to(server: Server, troubles: Sequence[Trouble] = ()) -> Iterator[Way]:
    """Listen on an address that leads to the server for the time of the context."""
    over = threading.Event()
    with create_server(("127.0.0.1", 0)) as listener:
        address: tuple[str, int] = listener.getsockname()
        way = Way(f"127.0.0.1:{address[1]}", deque(troubles))

        def carry() -> None:
            while not over.is_set():
                client, _ = listener.accept()
                client.settimeout(SOCKET_SECONDS)
                with client, client.makefile("rb") as sent:
                    request = _whole_request(sent)
                    if request:
                        way.asked.append(request)
                        _answer(client, server, request, way.troubles.popleft() if way.troubles else None)

        thread = threading.Thread(target=carry)
        thread.start()
        try:
            yield way
        finally:
            over.set()
            create_connection(address, timeout=SOCKET_SECONDS).close()
            thread.join(2 * SOCKET_SECONDS)


def _answer(client: socket, server: Server, request: bytes, trouble: Trouble | None) -> None:
    if trouble is Trouble.THROTTLED:
        client.sendall(_refusal(ThrottlingUser(timedelta(milliseconds=200))))
    elif trouble is Trouble.UNAVAILABLE:
        client.sendall(_refusal(ServiceUnavailable()))
    else:
        status, _headers, body = server.raw(request)
        if trouble is Trouble.BALANCER_GAVE_UP:
            client.sendall(_answered(503, b"<html><h1>503 Service Unavailable</h1></html>", "Content-Type: text/html"))
        elif trouble is Trouble.ANSWER_CUT:
            client.sendall(_answered(status, body, "Content-Type: application/json")[: -len(body) // 2])
        elif trouble is None:
            client.sendall(_answered(status, body, "Content-Type: application/json"))


def _refusal(error: ApiError) -> bytes:
    """Return what the server itself would answer."""
    rendered = failure(error, "7F1B7AC1-3C2D-5A5B-9F4E-0A1B2C3D4E5F", "127.0.0.1", xml=False)
    return _answered(rendered.status, rendered.body, *(f"{name}: {value}" for name, value in rendered.headers.items()))


def _answered(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} -", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _whole_request(sent: BinaryIO) -> bytes:
    """Read one request; nothing if the client went without one, or before its end."""
    lines: list[bytes] = []
    while len(lines) < MOST_LINES:
        line = sent.readline(LONGEST_LINE)
        if not line.endswith(b"\r\n"):
            return b""
        lines.append(line)
        if line == b"\r\n":
            break
    lengths = [int(line.partition(b":")[2]) for line in lines if line.lower().startswith(b"content-length:")]
    body = sent.read(sum(lengths))
    if any(line.lower().startswith(b"transfer-encoding:") for line in lines):
        body = sent.readline() + sent.readline()  # the only chunk, which is empty: parameters are in the URL
    return b"".join([*lines, body])
