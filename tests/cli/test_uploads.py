"""Uploads over slow and broken connections, against a server that is a socket."""

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backfleet.cli import _client
from backfleet.cli._client import CallInterrupted, Client
from backfleet.cli._credentials import Connection
from backfleet.clock import utc_now
from backfleet.wire.credentials import Credentials

SIZE = 8 << 20  # bytes: more than the buffers of two sockets
ANSWER = json.dumps({"Added": True}).encode()
Behaviour = Callable[[socket.socket], None]


def read_upload(connection: socket.socket) -> bytes:
    """Return the body of a request, or as much of it as comes."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += (piece := connection.recv(1 << 16))
        if not piece:
            return b""
    body = received.partition(b"\r\n\r\n")[2]
    while len(body) < SIZE and (piece := connection.recv(1 << 20)):
        body += piece
    return body


TLS_HELLO = b"\x16"  # the first byte of a connection that asks whether TLS is spoken here


class Server:
    """Treats each upload as the next behaviour says, and keeps the hashes of complete ones and questions for TLS."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.hashes: list[str] = []
        self.asked_for_tls = 0
        self._thread: threading.Thread | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def behaves(self, *behaviours: Behaviour) -> None:
        def serve() -> None:
            for behaviour in behaviours:
                with self.next_upload() as connection:
                    behaviour(connection)

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()

    def next_upload(self) -> socket.socket:
        """Return the next connection that speaks HTTP. Those that ask for TLS are counted, and closed."""
        while True:
            connection, _ = self.listener.accept()
            if connection.recv(1, socket.MSG_PEEK) != TLS_HELLO:
                return connection
            self.asked_for_tls += 1
            connection.close()

    def takes(self, connection: socket.socket) -> None:
        self.hashes.append(hashlib.sha256(read_upload(connection)).hexdigest())
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))

    def stalls(self, connection: socket.socket) -> None:
        """Read nothing for longer than connecting may take; then take everything."""
        threading.Event().wait(4 * _client.CONNECT_SECONDS)
        self.takes(connection)

    @staticmethod
    def says_nothing(connection: socket.socket) -> None:
        """Take everything, and answer nothing until the caller has gone."""
        read_upload(connection)
        connection.recv(1)

    @staticmethod
    def breaks(connection: socket.socket) -> None:
        """Read a part, and close: the rest is answered with a reset."""
        connection.recv(1 << 16)

    def close(self) -> None:
        self.listener.close()
        if self._thread is not None:
            self._thread.join(10)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "client"
    path.write_bytes(bytes(range(256)) * (SIZE // 256))
    return path


def client_of(server: Server) -> Client:
    return Client(Connection(server.endpoint, None, Credentials("LTAItest", "secret")), utc_now)


def test_a_server_that_reads_slowly_gets_the_whole_upload(
    server: Server, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long a connection may take to be made says nothing about how long a write may take."""
    monkeypatch.setattr(_client, "CONNECT_SECONDS", 0.25)
    server.behaves(server.stalls)
    sent: list[int] = []
    assert client_of(server).upload("AddRelease", file, sent.append) == {"Added": True}
    assert server.hashes == [hashlib.sha256(file.read_bytes()).hexdigest()]
    assert sum(sent) == SIZE


def test_a_broken_upload_begins_anew(server: Server, file: Path) -> None:
    """The progress goes back to nothing and on to the end, and the reason is shown."""
    server.behaves(server.breaks, server.breaks, server.takes)
    sent, reasons = [0], list[str]()
    client_of(server).upload("AddRelease", file, sent.append, reasons.append)
    assert server.hashes == [hashlib.sha256(file.read_bytes()).hexdigest()]
    assert sum(sent) == SIZE
    assert len([step for step in sent if step < 0]) <= len(reasons) == 2
    assert all("does not answer" in reason for reason in reasons)
    assert server.asked_for_tls == 1, "whether the scheme is right is asked once, not in the way of each try"


def test_an_upload_that_always_breaks_fails(server: Server, file: Path) -> None:
    """After some tries, with the reason."""
    server.behaves(*[server.breaks] * _client.UPLOAD_TRIES)
    with pytest.raises(CallInterrupted, match="does not answer"):
        client_of(server).upload("AddRelease", file, lambda _: None, lambda _: None)


def test_an_upload_that_must_not_be_repeated_is_tried_once(server: Server, file: Path) -> None:
    """Signatures are published once: the second time they are refused as too old."""
    server.behaves(server.breaks)
    with pytest.raises(CallInterrupted):
        client_of(server).upload("PublishSignatures", file, lambda _: None)
    assert server.hashes == []


def test_a_server_that_is_silent_is_not_asked_for_another_scheme(
    server: Server, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be silent again."""
    monkeypatch.setattr(_client, "UPLOAD_SECONDS", 0.05)
    server.behaves(server.says_nothing)
    with pytest.raises(CallInterrupted, match="timed out"):
        client_of(server).upload("AddRelease", file, lambda _count: None)
    server.listener.settimeout(0.05)
    with pytest.raises(TimeoutError):
        server.listener.accept()
