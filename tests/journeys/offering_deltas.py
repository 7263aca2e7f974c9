"""Releases that have much in common, the deltas between them, and lines that count what passes."""

import contextlib
import gzip
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backfleet.cli._client import CallFailed
from backfleet_host.platforms import platform_here
from journeys.host_programs import PROGRAM, PYTHON
from journeys.installation import LONG, PACKAGE, Host, Installation, wait_for
from releases.artifacts import file, tar

NOISE = random.Random(11).randbytes(1 << 20)  # what all versions have, and nothing compresses
SCRIPT = '#!/bin/sh\necho "courier {0}"\n'
BACKFLEET = str(Path(sys.executable).with_name("backfleet"))


def offer(server: Installation, version: str, zeros: int = 0) -> int:
    """Offer a version of a client; return the bytes of its artifact.

    Args:
        zeros: bytes that it has besides, which its artifact hardly shows.
    """
    content = [file("bin/courier", SCRIPT.format(version).encode(), 0o755), file("share/noise", NOISE)]
    content += [file(f"share/zeros-{at}", bytes(1 << 20)) for at in range(zeros >> 20)]
    artifact = server.folder / f"{version}.tar.gz"
    artifact.write_bytes(gzip.compress(tar(*content), mtime=0))
    health = {"command": [PACKAGE], "expect": f"courier {version}", "seconds": 120}
    upload(server, artifact, PACKAGE, version, Manifest={"bin": ["bin/courier"], "health": health, "switch": "anytime"})
    return artifact.stat().st_size


def upload(server: Installation, artifact: Path, package: str, version: str, **more: Any) -> None:
    """Offer an artifact."""
    words = {"PackageName": package, "ReleaseVersion": version, "Platform": platform_here(), "FileName": artifact.name}

    def sent() -> bool:
        try:
            server.client().upload("AddRelease", artifact, lambda _sent: None, **words, **more)
        except CallFailed as problem:
            if not problem.is_busy:
                raise
            return False
        return True

    wait_for(sent, LONG)


def deltas(server: Installation, package: str, version: str) -> list[dict[str, Any]]:
    """Return what the server says of the deltas to a release."""
    names = {"PackageName": package, "ReleaseVersion": version, "Platform": platform_here()}
    found: list[dict[str, Any]] = server.call("GetRelease", "backfleet", **names)["Release"]["Deltas"]
    return found


def wait_for_delta(server: Installation, package: str, version: str, seconds: float = LONG) -> int:
    """Wait until the worker has made the only delta to a version; return its bytes."""

    def poll() -> list[dict[str, Any]]:
        time.sleep(1)  # each call is a new connection, on a machine that is busy making it
        return deltas(server, package, version)

    (found,) = wait_for(poll, seconds)
    assert found["Note"] == "", found
    return int(found["Size"])


class Line:
    """A line to an address, on a port of its own. It counts the bytes that come from there."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._to, self._opened = (host, int(port)), list[socket.socket]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.received = 0
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Cut it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._accepting.join()
        for each in (self._listener, *self._opened):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(self._to)
                self._opened += [ours, theirs]
                for source, sink in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                self.received += len(content) if source.getpeername() == self._to else 0
                sink.sendall(content)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


class AtALine(Installation):
    """An installation whose hosts reach their server by a line of their own."""

    def __init__(self, server: Installation, folder: Path) -> None:
        super().__init__(folder)
        self.data, self.ports, self.line = server.data, server.ports, Line(server.https)

    @property
    def https(self) -> str:
        """What these hosts know as the server's address."""
        return self.line.address

    def host(self, package: str, version: str) -> Host:
        """Enrol a host and install a version there."""
        self.enrol(1)
        assert self.upgraded(package, version, "InstallBackupClients") == ["", version]
        return self.hosts[-1]

    def upgraded(self, package: str, version: str, action: str = "UpgradeBackupClients") -> list[str]:
        """Order the version of the newest host; return the code and the version that it has then."""
        words: dict[str, Any] = {"InstanceIds": [self.hosts[-1].instance_id], "PackageName": package}
        task = self.finished(self.call(action, **words, ReleaseVersion=version)["TaskId"])
        (item,) = task["Result"]
        return [item["errorCode"], item["toVersion"] if not item["errorCode"] else item["currentVersion"]]

    def close(self) -> None:
        """End the hosts and the line; the server is another one's."""
        super().close()
        self.line.close()


@contextmanager
def relay(upstream: str, server: Installation, cache: Path) -> Iterator[str]:
    """Run `backfleet relay`; yield its address."""
    words = ["--upstream", f"https://{upstream}", "--cache", str(cache), "--ca", str(server.data / "tls" / "ca.pem")]
    process = subprocess.Popen(
        [BACKFLEET, "relay", *words, "--listen", "127.0.0.1:0", "--log-level", "ERROR"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        ready = re.search(r"at (http://\S+)", process.stdout.readline())
        assert ready is not None
        yield ready[1]
    finally:
        process.terminate()
        process.wait(LONG)
        process.stdout.close()


def figure(address: str, name: str, **labels: str) -> float:
    """Return a figure of a server or a relay; 0 if it has none of that name."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=LONG) as answer:  # noqa: S310 - plain http on loopback
        lines = answer.read().decode().splitlines()
    wanted = name + ("{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else "")
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{wanted} "))


def program_without_deltas(to: Path) -> Path:
    """Write the host program as it was before it knew deltas: it has no code that reads or applies one."""
    known = "from backfleet_host.deltas import BadDelta, apply_delta, in_base_order\n"
    changes = {
        "backfleet_host/upgrader/transaction/fetching.py": (known, "BadDelta = apply_delta = in_base_order = None\n"),
        "backfleet_host/upgrader/release/repository.py": (
            "[updater.get_targetinfo(name) for name in _names(server) if name.startswith(deltas_of(path))]",
            "[]",
        ),
    }
    with zipfile.ZipFile(PROGRAM) as old, zipfile.ZipFile(to, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename in changes:
                before, after = (text.encode() for text in changes[entry.filename])
                assert before in content
                content = content.replace(before, after)
            if entry.filename != "backfleet_host/deltas.py":
                new.writestr(entry, content)
    to.write_bytes(b"#!" + PYTHON.encode() + b"\n" + to.read_bytes())
    to.chmod(0o755)
    return to
