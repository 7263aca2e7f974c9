"""Floods of connections against a real server: silent ones, and downloads that nobody takes."""

import http.client
import io
import resource
import socket
import ssl
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from backfleet_host.platforms import platform_here
from journeys.installation import LONG, Installation, wait_for

BIG = 24 << 20  # bytes: more than the kernel takes for a connection that nobody reads from


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.close()


def is_healthy(server: Installation) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", server.ports[0], timeout=LONG)) as connection:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200


def metric(server: Installation, name: str) -> float:
    """Return the sum of a metric over its labels."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.ports[0], timeout=LONG)) as connection:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def test_silent_connections_silence_nobody(server: Installation) -> None:
    """Of a thousand with room for some hundred the oldest go; agents and callers are served; the log stays short."""
    server.start(settings={"BACKFLEET_MOST_CONNECTIONS": "100"})
    server.enrol(1)
    with ExitStack() as opened:
        for number in range(1000):
            port = server.ports[number % 2]
            opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=LONG))
            if number % 250 == 0:
                assert is_healthy(server)
        assert is_healthy(server)
        assert metric(server, "backfleet_connections") <= 100
        assert metric(server, "backfleet_connections_refused_total") >= 850
        server.add_release("1.0")
        started = server.call("InstallBackupClients", InstanceIds=[server.hosts[0].instance_id])
        assert server.finished(started["TaskId"])["Progress"] == 100
    assert server.log().count("connections were closed") <= 4
    assert "Traceback" not in server.log()


def test_a_low_limit_of_descriptors_is_raised(server: Installation) -> None:
    """A shell's 1,024, where more is allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = min(hard, 4096) // 4
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert metric(server, "process_max_fds") > soft


def big_release(server: Installation) -> str:
    """Offer a release of some megabytes; return the path of its artifact."""
    file = server.folder / "big.tar"
    with tarfile.open(file, "w") as archive:
        for name, content in (("bin/courier", b"#!/bin/sh\n"), ("share/rest", bytes(BIG))):
            info = tarfile.TarInfo(name)
            info.mode, info.size = 0o755, len(content)
            archive.addfile(info, io.BytesIO(content))
    added = server.client().upload(
        "AddRelease", file, lambda _sent: None, PackageName="courier", ReleaseVersion="1.0", FileName=file.name,
        Platform=platform_here(), Format="tar", Manifest={"switch": "anytime"},
    )  # fmt: skip
    return f"/downloads/artifacts/{added['Release']['Sha256']}"


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_download_that_nobody_takes_is_closed(server: Installation, encrypted: bool) -> None:
    """Its other end is there, and reads nothing: the memory and the file it holds are given back."""
    server.start(settings={"BACKFLEET_STALLED_SECONDS": "5"})
    path = big_release(server)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(LONG)
    raw.connect(("127.0.0.1", server.ports[encrypted]))
    context = ssl.create_default_context(cafile=str(server.data / "tls" / "ca.pem"))
    with closing(context.wrap_socket(raw, server_hostname="127.0.0.1") if encrypted else raw) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        wait_for(lambda: metric(server, "backfleet_connections") == 1, LONG)  # that of this question
    assert is_healthy(server)
    assert "Traceback" not in server.log()
