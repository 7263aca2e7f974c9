"""Go and Java clients in trouble: an unknown authority, lost answers, limits, a server that cannot do it now."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from socket import create_connection, create_server
from typing import Any, BinaryIO

import pytest

from backfleet.certificates import prepare_certificates
from backfleet.operations.catalogue import HBR, Call, operation
from backfleet.wire.errors import ServiceUnavailable
from endpoints.openapi.client_programs import GO, JAVA, needs_go, needs_java, running
from endpoints.openapi.server import Anything, Server

CLIENTS = pytest.mark.parametrize(
    ("command", "name"),
    [
        pytest.param(GO, "generic v3", id="Go generic client", marks=needs_go),
        pytest.param(GO, "legacy", id="Go legacy client", marks=needs_go),
        pytest.param(JAVA, "generic v3", id="Java generic client", marks=needs_java),
        pytest.param(JAVA, "legacy v1", id="Java core, V1", marks=needs_java),
        pytest.param(JAVA, "legacy v3", id="Java core, V3", marks=needs_java),
    ],
)


def echo(server: Server, command: list[str], name: str, action: str = "Echo", **settings: Any) -> dict[str, Any]:
    """Return the program's line for one call."""
    with running(command, name, server, server.root, **settings) as program:
        line = {"product": "hbr", "version": HBR.version, "action": action}
        return program.ask(line | {"parameters": {"Name": "é ~*"}, "flat": {"Name": "é ~*"}})


@contextmanager
def losing_the_first_answer(server: Server) -> Iterator[str]:
    """An address on which the first request reaches the server, and its answer is lost with the connection."""
    listener = create_server(("127.0.0.1", 0))
    over = threading.Event()

    def carry() -> None:
        lost = False
        while not over.is_set():
            client, _ = listener.accept()
            with client, client.makefile("rb") as sent:
                asked = whole_request(sent)
                if not asked:
                    continue
                status, _headers, body = server.raw(asked)
                if lost:
                    head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                    client.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
                lost = True

    thread = threading.Thread(target=carry)
    thread.start()
    address: tuple[str, int] = listener.getsockname()
    try:
        yield f"127.0.0.1:{address[1]}"
    finally:
        over.set()
        create_connection(address, timeout=10).close()
        thread.join(10)
        listener.close()


def whole_request(sent: BinaryIO) -> bytes:
    """Read one request; nothing if the client went without one."""
    lines = list(iter(sent.readline, b"\r\n"))[:100] if sent.peek(1) else []  # type: ignore[attr-defined]
    lengths = [int(line.partition(b":")[2]) for line in lines if line.lower().startswith(b"content-length:")]
    body = sent.read(sum(lengths))
    if any(line.lower().startswith(b"transfer-encoding:") for line in lines):
        body = sent.readline() + sent.readline()  # the only chunk, which is empty: parameters are in the URL
    return b"".join([*lines, b"\r\n", body]) if lines else b""


@CLIENTS
def test_only_our_own_authority_is_believed(
    start_server: Callable[..., Server], tmp_path: Path, command: list[str], name: str
) -> None:
    """HTTPS works with the server's authority, given as PEM text; with another one nothing arrives."""
    for place in ("ours", "others"):
        (tmp_path / place).mkdir()
    ours, others = (
        prepare_certificates(tmp_path / place, ["127.0.0.1"], now=datetime.now(UTC)) for place in ("ours", "others")
    )
    server = start_server(ours.context(), require_tls=True)
    found = echo(server, command, name, protocol="HTTPS", ca=ours.authority.read_text())
    assert found["body"]["Name"] == "é ~*"
    assert len(server.seen) == 1
    refused = echo(server, command, name, protocol="HTTPS", ca=others.authority.read_text())
    assert any(word in refused["text"] for word in ("certificate", "PKIX", "SSL")), refused
    assert len(server.seen) == 1


@CLIENTS
def test_a_lost_answer_is_reported(server: Server, command: list[str], name: str) -> None:
    """As no answer at all: no client takes it for a success, or calls again without being asked to."""
    with losing_the_first_answer(server) as address:
        found = echo(server, command, name, endpoint=address)
    assert "code" in found
    assert found.get("status", 0) == 0
    assert len(server.seen) == 1


@CLIENTS
def test_a_call_over_the_limit_says_so(start_server: Callable[..., Server], command: list[str], name: str) -> None:
    """With our code, and nothing was done."""
    server = start_server(calls_per_second=0.001, calls_burst=1)
    assert "body" in echo(server, command, name)
    found = echo(server, command, name)
    assert found["code"] == "Throttling.User", found
    assert len(server.seen) == 1


@CLIENTS
def test_a_server_that_cannot_do_it_now_says_so(server: Server, command: list[str], name: str) -> None:
    """503 with our code, after one try."""
    tries = stumbling()
    found = echo(server, command, name, "Stumble")
    assert found["code"] == "ServiceUnavailable", found
    assert len(tries) == 1
    assert "body" in echo(server, command, name, "Stumble")


def stumbling() -> list[Call]:
    """Enter an operation that fails once with 503; return its calls."""
    tries: list[Call] = []

    @operation(HBR, "Stumble", action="hbr:Stumble")
    def stumble(call: Call, asked: Anything) -> dict[str, Any]:
        tries.append(call)
        if len(tries) == 1:
            raise ServiceUnavailable
        return {"Code": "200", "Success": True}

    return tries
