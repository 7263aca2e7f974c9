"""A copy of the downloads on a plain web server: asked first, believed in nothing, and the server where it fails."""

import contextlib
import functools
import hashlib
import http.server
import json
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from backfleet import host_program
from backfleet.carriers import Bootstrap
from backfleet.carriers.bootstrap import command_for
from journeys.installation import PACKAGE, Installation, free_ports
from journeys.test_other_agents import order, run

PREFIX = "/copies/prod"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    found = Installation(tmp_path_factory.mktemp("server"))
    found.start()
    found.add_release("1.0")
    yield found
    found.close()


@pytest.fixture(scope="module")
def copy(server: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of what is below the server's downloads, as an operator uploads it."""
    folder = tmp_path_factory.mktemp("copy")
    trust = ssl.create_default_context(cafile=str(server.data / "tls" / "ca.pem"))

    def fetch(path: str) -> bytes:
        with urllib.request.urlopen(f"https://{server.https}/downloads{path}", context=trust) as answer:
            content: bytes = answer.read()
        file = folder / PREFIX[1:] / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return content

    fetch("/backfleet-host.pyz")
    fetch("/metadata/1.root.json")
    number = json.loads(fetch("/metadata/timestamp.json"))["signed"]["meta"]["snapshot.json"]["version"]
    number = json.loads(fetch(f"/metadata/{number}.snapshot.json"))["signed"]["meta"]["targets.json"]["version"]
    for path, target in json.loads(fetch(f"/metadata/{number}.targets.json"))["signed"]["targets"].items():
        parent, _, name = path.rpartition("/")
        fetch(f"/targets/{parent}/{target['hashes']['sha256']}.{name}")
    return folder


@dataclass
class WebServer:
    """A plain web server, and which paths it was asked for."""

    address: str = ""
    asked: list[str] = field(default_factory=list)


Answering = Callable[[http.server.SimpleHTTPRequestHandler], bool]
"""Answers a request in another way; False = it is to be answered with the file."""


@contextmanager
def web_server(folder: Path, tls: Path, answer: Answering = lambda _handler: False) -> Iterator[WebServer]:
    """Serve a folder by https, with the certificate in a server's data folder."""
    found = WebServer()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            with contextlib.suppress(OSError):
                if not answer(self):
                    super().do_GET()

        def log_message(self, *_words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    shown.load_cert_chain(tls / "tls" / "server.pem", tls / "keys" / "server.key")
    server.socket = shown.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_words: None  # type: ignore[method-assign]
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    found.address = f"https://127.0.0.1:{server.server_port}"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def lies(handler: http.server.SimpleHTTPRequestHandler) -> bool:
    content = b'{"signed": {"_type": "root", "version": 1}}' if "json" in handler.path else b"#!/bin/sh\nrm -rf /\n"
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)
    return True


def is_slow(handler: http.server.SimpleHTTPRequestHandler) -> bool:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(600):
        handler.wfile.write(b" ")
        time.sleep(0.2)
    return True


def fails(handler: http.server.SimpleHTTPRequestHandler) -> bool:
    handler.send_error(503)
    return True


@pytest.fixture
def bootstrap(server: Installation, tmp_path: Path) -> Bootstrap:
    """The bootstrap that the server would write, for a root of the test's own, without a mirror."""
    program = host_program.find()
    assert program is not None, "build it: tools/build_host_program.py"
    authority = (server.data / "tls" / "ca.pem").read_text()
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    return Bootstrap(server.https, authority, digest, root=str(tmp_path / "root"), follows_agent=False)


def root_of(server: Installation) -> bytes:
    trust = ssl.create_default_context(cafile=str(server.data / "tls" / "ca.pem"))
    with urllib.request.urlopen(f"https://{server.https}/downloads/metadata/1.root.json", context=trust) as answer:
        content: bytes = answer.read()
    return content


@pytest.mark.parametrize("authority", ["named", "the system's"])
def test_a_host_that_cannot_reach_the_server_is_installed_from_a_copy(
    server: Installation, copy: Path, bootstrap: Bootstrap, tmp_path: Path, authority: str
) -> None:
    """The command holds the hash of the program and the release root: nothing has to be fetched from the server."""
    (port,) = free_ports(1)
    named = bootstrap.authority if authority == "named" else ""
    environment = {} if named else {"SSL_CERT_FILE": str(server.data / "tls" / "ca.pem")}
    with web_server(copy, server.data) as mirror:
        near = replace(
            bootstrap, address=f"127.0.0.1:{port}", mirror=mirror.address + PREFIX, mirror_authority=named,
            release_root=root_of(server),
        )  # fmt: skip
        code, report, output = run(tmp_path, command_for(order(1, "1.0", "install"), near), **environment)
    assert (code, report.outcome, report.current_version) == (0, "succeeded", "1.0"), output
    assert any(f"{PREFIX}/targets/{PACKAGE}/" in path for path in mirror.asked), mirror.asked
    assert "relays_failed" not in report.details


@pytest.mark.parametrize("answer", [lies, fails, is_slow], ids=["lies", "fails", "is slow"])
def test_a_copy_that_is_no_copy_is_left_for_the_server(
    server: Installation, copy: Path, bootstrap: Bootstrap, tmp_path: Path, answer: Answering
) -> None:
    """What it did stands in the report."""
    with web_server(copy, server.data, answer) as mirror:
        near = replace(
            bootstrap, mirror=mirror.address + PREFIX, mirror_authority=bootstrap.authority,
            release_root=root_of(server),
        )  # fmt: skip
        code, report, output = run(tmp_path, command_for(order(1, "1.0", "install", seconds=120), near))
    assert (code, report.outcome, report.current_version) == (0, "succeeded", "1.0"), output
    assert list(report.details["relays_failed"]) == [mirror.address + PREFIX]
    assert mirror.asked[0] == f"{PREFIX}/backfleet-host.pyz"


def test_a_copy_that_sends_hosts_elsewhere_is_not_followed(
    server: Installation, copy: Path, bootstrap: Bootstrap, tmp_path: Path
) -> None:
    """Whoever holds the bucket could have hosts of the network knock at any address else."""
    with web_server(copy, server.data) as elsewhere:

        def redirects(handler: http.server.SimpleHTTPRequestHandler) -> bool:
            handler.send_response(302)
            handler.send_header("Location", elsewhere.address + handler.path)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return True

        with web_server(copy, server.data, redirects) as mirror:
            near = replace(bootstrap, mirror=mirror.address + PREFIX, mirror_authority=bootstrap.authority)
            code, report, output = run(tmp_path, command_for(order(1, "1.0", "install"), near))
    assert (code, report.outcome, elsewhere.asked) == (0, "succeeded", []), output
    assert len(mirror.asked) >= 2


def test_a_copy_with_another_certificate_is_not_asked(
    server: Installation, copy: Path, bootstrap: Bootstrap, tmp_path: Path
) -> None:
    """The system does not know the authority of this one."""
    with web_server(copy, server.data) as mirror:
        near = replace(bootstrap, mirror=mirror.address + PREFIX, release_root=root_of(server))
        code, report, output = run(tmp_path, command_for(order(1, "1.0", "install"), near))
    assert (code, report.outcome, mirror.asked) == (0, "succeeded", []), output
    assert list(report.details["relays_failed"]) == [mirror.address + PREFIX]


def test_without_the_server_a_lie_installs_nothing(
    server: Installation, copy: Path, bootstrap: Bootstrap, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    with web_server(copy, server.data, lies) as mirror:
        near = replace(
            bootstrap, address=f"127.0.0.1:{port}", mirror=mirror.address + PREFIX,
            mirror_authority=bootstrap.authority, release_root=root_of(server),
        )  # fmt: skip
        code, report, output = run(tmp_path, command_for(order(1, "1.0", "install", seconds=12), near))
    assert (code, report.code) == (1, "DownloadFailed"), output
    assert not (tmp_path / "root" / PACKAGE / "current").exists()
