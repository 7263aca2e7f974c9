"""The way to the server: bounded in time and size, through a proxy if told so, and never to a stranger."""

import base64
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backfleet_host.agent.channel import Channel
from backfleet_host.agent.server import (
    BadAddress,
    Server,
    Unreachable,
    proxy_of,
    read_address,
    tls_towards,
)
from host.agent.gateway import ROOT_METADATA, Gateway
from host.agent.quick import QUICK


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(tmp_path / "gateway") as gateway:
        yield gateway


def to(gateway: Gateway, **changes: str) -> Server:
    return Server(read_address(gateway.address), tls_towards(gateway.ca), **changes)


class Listener:
    """Something that takes one connection after the other and does with it what it is told."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.taken = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                taken, _ = self._socket.accept()
            except OSError:
                return
            self.taken += 1
            with taken:
                try:
                    self._serve(taken)
                except OSError:
                    continue

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


def test_a_stranger_is_sent_nothing(gateway: Gateway, tmp_path: Path) -> None:
    """The authority is pinned: those of the system do not count."""
    server = Server(read_address(gateway.address), ssl.create_default_context())
    with pytest.raises(Unreachable, match="is not who it must be"):
        server.get("/downloads/metadata/1.root.json")
    server.close()


def test_an_answer_that_drips_ends_in_time(gateway: Gateway) -> None:
    """A byte now and then keeps every single read alive; the whole has its limit all the same."""
    context = gateway._tls

    def drip(taken: socket.socket) -> None:
        with context.wrap_socket(taken, server_side=True) as spoken:
            spoken.recv(4096)
            spoken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(100):
                spoken.sendall(b"x")
                time.sleep(0.05)

    listener = Listener(drip)
    server = Server(read_address(f"127.0.0.1:{listener.port}"), tls_towards(gateway.ca))
    began = time.monotonic()
    with pytest.raises(Unreachable, match="did not end in time"):
        server.get("/", seconds=0.5)
    assert time.monotonic() - began < 3
    server.close()
    listener.close()


def test_something_that_speaks_no_tls(gateway: Gateway) -> None:
    """Said in one line."""
    listener = Listener(lambda taken: taken.sendall(b"HTTP/1.1 200 OK\r\n\r\n"))
    server = Server(read_address(f"127.0.0.1:{listener.port}"), tls_towards(gateway.ca))
    with pytest.raises(Unreachable, match="does not speak TLS") as problem:
        server.get("/")
    assert "\n" not in str(problem.value)
    server.close()
    listener.close()


def test_through_a_proxy(gateway: Gateway) -> None:
    """Requests and the socket go through it, with its name and password, to the server whose authority is checked."""
    asked: list[bytes] = []

    def tunnel(taken: socket.socket) -> None:
        asked.append(taken.recv(4096))
        taken.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", gateway.port)) as onward:
            back = threading.Thread(target=_pump, args=(onward, taken))
            back.start()
            _pump(taken, onward)
            back.join()

    listener = Listener(tunnel)
    proxy = f"http://user:p%40ss@127.0.0.1:{listener.port}"
    server = to(gateway, proxy=proxy)
    assert server.get("/downloads/metadata/1.root.json").body == ROOT_METADATA
    server.close()
    said = asked[0].decode()
    assert said.startswith(f"CONNECT {gateway.address} ")
    assert base64.b64encode(b"user:p@ss").decode() in said
    stopping, opened = threading.Event(), threading.Event()
    channel = Channel(server, QUICK, on_open=opened.set, on_kick=lambda kick: None)
    thread = threading.Thread(target=channel.run, args=(stopping,))
    thread.start()
    assert _until(lambda: len(asked) >= 2)
    assert asked[1].decode().startswith(f"CONNECT {gateway.address} ")
    stopping.set()
    thread.join()
    listener.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def _until(what: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not what() and time.monotonic() < until:
        time.sleep(0.02)
    return what()


def test_a_proxy_that_is_not_there(gateway: Gateway) -> None:
    """The proxy is named as the way, its password is not."""
    server = to(gateway, proxy="http://user:secret@127.0.0.1:9")
    with pytest.raises(Unreachable, match="through BACKFLEET_PROXY") as problem:
        server.get("/")
    assert "secret" not in str(problem.value)
    assert "secret" not in repr(server)
    server.close()


@pytest.mark.parametrize("value", ["socks5://h:1", "http://h", "h:1", "http://user:se cret@h:1", "https://h:1"])
def test_what_is_no_proxy(value: str) -> None:
    """Refused without being shown: it may hold a password."""
    with pytest.raises(BadAddress) as problem:
        proxy_of({"BACKFLEET_PROXY": value})
    assert value not in str(problem.value)


def test_other_proxy_variables_do_not_count() -> None:
    """Only our own: the agent's way must not change with somebody's shell."""
    assert proxy_of({"HTTPS_PROXY": "http://h:1", "https_proxy": "http://h:1"}) == ""
    assert proxy_of({"BACKFLEET_PROXY": "http://h:1"}) == "http://h:1"
