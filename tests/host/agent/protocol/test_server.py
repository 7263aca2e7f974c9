"""Requests to the server: limited in time and size, through a proxy if there is one, only to the trusted authority."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from backfleet_host.agent.protocol.address import BadAddress, read_address
from backfleet_host.agent.protocol.channel import Channel
from backfleet_host.agent.protocol.server import Server, Unreachable, proxy_of, tls_towards
from backfleet_host.agent.setup.enrolment import CannotEnrol, EnrolmentOptions, enrol
from backfleet_host.layout import DEFAULT_ROOT, Places, policy_folder
from backfleet_host.upgrader import Installation
from host.agent.gateway import CODE, ROOT_METADATA, Gateway
from host.agent.quick_timings import QUICK
from host.proxying import Proxy, proxying


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(tmp_path / "gateway") as gateway:
        yield gateway


def to(gateway: Gateway, **changes: str) -> Server:
    return Server(read_address(gateway.address), tls_towards(gateway.ca), **changes)


class Listener:
    """Accepts one connection after another and does with each what it was given to do."""

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


def test_only_the_pinned_authority_is_trusted(gateway: Gateway, tmp_path: Path) -> None:
    """Authorities of the system do not count."""
    server = Server(read_address(gateway.address), ssl.create_default_context())
    with pytest.raises(Unreachable, match="does not have the certificate"):
        server.get("/downloads/metadata/1.root.json")
    server.close()


def test_an_answer_that_drips_ends_in_time(gateway: Gateway) -> None:
    """A byte now and then keeps each read alive; the whole answer has a limit of its own."""
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


def test_a_server_without_tls_is_named_in_one_line(gateway: Gateway) -> None:
    listener = Listener(lambda taken: taken.sendall(b"HTTP/1.1 200 OK\r\n\r\n"))
    server = Server(read_address(f"127.0.0.1:{listener.port}"), tls_towards(gateway.ca))
    with pytest.raises(Unreachable, match="does not speak TLS") as problem:
        server.get("/")
    assert "\n" not in str(problem.value)
    server.close()
    listener.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxying() as proxy:
        yield proxy


def root_with_policy(root: Path, text: str) -> Path:
    """Write this host policy into the root, and return the root."""
    (root / "etc" / "backfleet").mkdir(parents=True)
    (root / "etc" / "backfleet" / "host.toml").write_text(text)
    return root


@pytest.mark.parametrize("form", ["pasted", "quoted"])
def test_requests_and_socket_go_through_the_proxy(gateway: Gateway, proxy: Proxy, form: str) -> None:
    """With its name and password, to the server whose certificate is still checked."""
    server = to(gateway, proxy=proxy_of(environment={"BACKFLEET_PROXY": getattr(proxy, form)}))
    assert server.get("/downloads/metadata/1.root.json").body == ROOT_METADATA
    server.close()
    stopping, opened = threading.Event(), threading.Event()
    channel = Channel(server, QUICK, on_open=opened.set, on_kick=lambda kick: None)
    thread = threading.Thread(target=channel.run, args=(stopping,))
    thread.start()
    assert _until(lambda: len(proxy.asked) >= 2)
    stopping.set()
    thread.join()
    assert set(proxy.asked) == {f"CONNECT {gateway.address}"}
    assert proxy.refused == 0


def test_enrolment_goes_through_the_proxy_of_the_root(
    gateway: Gateway, proxy: Proxy, tmp_path: Path, now: datetime
) -> None:
    """host.toml counts from the first request on: the host may have no other way."""
    root = root_with_policy(tmp_path / "root", f'proxy = "{proxy.pasted}"\n')
    options = EnrolmentOptions(read_address(gateway.address), gateway.ca, "act-1", CODE)
    enrol(Places(root), options, mode="restricted", now=now, progress=lambda text: None)
    assert set(proxy.asked) == {f"CONNECT {gateway.address}"}
    assert len(gateway.registered) == 1


def test_enrolment_with_an_invalid_proxy_changes_nothing(gateway: Gateway, tmp_path: Path, now: datetime) -> None:
    """The message does not show the proxy."""
    root = root_with_policy(tmp_path / "root", 'proxy = "socks5://u:hunter2@h:1"\n')
    options = EnrolmentOptions(read_address(gateway.address), gateway.ca, "act-1", CODE)
    with pytest.raises(CannotEnrol, match=r"host\.toml: proxy must be http://") as problem:
        enrol(Places(root), options, mode="restricted", now=now, progress=lambda text: None)
    assert "hunter2" not in str(problem.value)
    assert not (root / "agent").exists()


def _until(what: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not what() and time.monotonic() < until:
        time.sleep(0.02)
    return what()


def test_a_proxy_that_cannot_be_reached_is_named_without_its_password(gateway: Gateway) -> None:
    server = to(gateway, proxy="http://user:secret@127.0.0.1:9")
    with pytest.raises(Unreachable, match=r"through the proxy 127\.0\.0\.1:9") as problem:
        server.get("/")
    assert "secret" not in str(problem.value)
    assert "secret" not in repr(server)
    server.close()


@pytest.mark.parametrize("password", ["hunter2", "hunter2#", "hun/ter2", "hunter2@x", "%zhunter2"])
def test_no_message_shows_the_password_of_the_proxy(gateway: Gateway, proxy: Proxy, password: str) -> None:
    """Whatever characters it has, and whether the proxy is away or refuses it."""
    for port in (9, proxy.port):
        way = proxy_of(environment={"BACKFLEET_PROXY": f"http://u:{password}@127.0.0.1:{port}"})
        server = to(gateway, proxy=way)
        with pytest.raises(Unreachable) as problem:
            server.get("/")
        assert "hun" not in f"{problem.value} {server!r}"
        server.close()
    assert proxy.refused == 1


NO_PROXIES = [
    "socks5://h:1", "http://h", "h:1", "http://user:se cret@h:1", "https://h:1", "http://h:0", "http://h:99999",
    "http://user:secret@h", "http://user:sec#ret@h/x", "http://h:1/x", "http://h:1#x", "http://@h:x",
]  # fmt: skip


@pytest.mark.parametrize("value", NO_PROXIES)
def test_an_invalid_proxy_is_refused_without_being_shown(tmp_path: Path, value: str) -> None:
    """It may hold a password."""
    for root, environment in (
        (tmp_path, {"BACKFLEET_PROXY": value}),
        (root_with_policy(tmp_path / "root", f'proxy = "{value}"\n'), {}),
    ):
        with pytest.raises(BadAddress) as problem:
            proxy_of(root, environment)
        assert value not in str(problem.value)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("http://h:1/", "http://h:1"),
        ("http://[::1]:3128", "http://[::1]:3128"),
        ("http://user@h:1", "http://user:@h:1"),
        ("http://user:p@ss@h:1", "http://user:p%40ss@h:1"),
        ("http://user:p%40ss@h:1", "http://user:p%40ss@h:1"),
        ("http://user:1/2#3:4@h:1", "http://user:1%2F2%233%3A4@h:1"),
    ],
)
def test_the_address_of_a_proxy_is_normalised(text: str, read: str) -> None:
    """Quoted, so that every parser finds the same host in it."""
    assert proxy_of(environment={"BACKFLEET_PROXY": text}) == read


def test_proxy_variables_of_other_programs_do_not_count(tmp_path: Path) -> None:
    """The agent's way must not change with somebody's shell."""
    assert proxy_of(tmp_path, {"HTTPS_PROXY": "http://h:1", "https_proxy": "http://h:1"}) == ""


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    """Each root has its own file; the environment of the program is the same for all."""
    root = root_with_policy(tmp_path, 'proxy = "http://file:1"\n')
    assert proxy_of(root, {}) == "http://file:1"
    assert proxy_of(root, {"BACKFLEET_PROXY": "http://environment:1"}) == "http://environment:1"
    assert proxy_of(tmp_path / "another", {}) == ""


@pytest.mark.parametrize("root", [DEFAULT_ROOT, Path("/srv/host-1")])
def test_agent_and_upgrader_read_the_same_proxy(root: Path) -> None:
    """There is one proxy of a root."""
    system = Path("/") if root == DEFAULT_ROOT else None
    assert policy_folder(root) == Installation(root, root, "", None, b"", system=system).etc
