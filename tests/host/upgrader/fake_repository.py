"""A release repository in memory whose documents and bytes a test can alter, behind a server that can misbehave."""

import io
import ssl
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from backfleet_host.platforms import platform_here

ROLES = ("root", "targets", "snapshot", "timestamp")
PACKAGE = "courier"
SCRIPT = '#!/bin/sh\n[ "$1" = version ] && echo "courier {0}" || echo "{0} $*"\n'


class FakeRepository:
    """Signed releases. `files` is what is served; `publish` signs it again after a change."""

    def __init__(self) -> None:
        self.keys = {role: [CryptoSigner.generate_ed25519()] for role in ROLES}
        self.life = timedelta(days=7)
        self.files: dict[str, bytes] = {}
        soon = datetime.now(UTC).replace(microsecond=0) + self.life
        self.root = Root(version=1, expires=soon + self.life, consistent_snapshot=True)
        for role in ROLES:
            self.root.add_key(self.keys[role][0].public_key, role)
        self.targets = Targets(version=1, expires=soon)
        self.snapshot = Snapshot(version=1, expires=soon)
        self.timestamp = Timestamp(version=1, expires=soon)
        self.publish_root(*self.keys["root"])
        self.trust_root = self.files["metadata/1.root.json"]

    def add(self, version: str, *, padding: int = 0, artifact: bytes | None = None, **manifest: Any) -> str:
        """Offer a release; return the path of its artifact."""
        content = packed(version, padding) if artifact is None else artifact
        raw = {
            "package": PACKAGE, "version": version, "platform": platform_here(), "format": "tar",
            "bin": ["bin/courier"], "switch": "anytime", "unpacked_bytes": 1000 + padding, "entries": 10,
            "health": {"command": [PACKAGE, "version"], "expect": f"courier {version}", "seconds": 5}, **manifest,
        }  # fmt: skip
        name, digest = f"{PACKAGE}/{version}/{platform_here()}", sha256(content).hexdigest()
        self.targets.targets[name] = TargetFile(
            len(content), {"sha256": digest}, name, unrecognized_fields={"custom": {"backfleet": raw}}
        )
        self.files[f"targets/{PACKAGE}/{version}/{digest}.{platform_here()}"] = content
        self.publish()
        return f"targets/{PACKAGE}/{version}/{digest}.{platform_here()}"

    def publish(self) -> None:
        """Sign everything again, with the next versions."""
        self.targets.version += 1
        self.publish_as("targets", f"{self.targets.version}.targets", self.targets)
        self.snapshot.version += 1
        self.snapshot.meta = {"targets.json": MetaFile(version=self.targets.version)}
        self.publish_as("snapshot", f"{self.snapshot.version}.snapshot", self.snapshot)
        self.publish_timestamp()

    def publish_timestamp(self) -> None:
        """Sign a timestamp that names the current snapshot."""
        self.timestamp.version += 1
        self.timestamp.snapshot_meta = MetaFile(version=self.snapshot.version)
        self.publish_as("timestamp", "timestamp", self.timestamp)

    def publish_as(self, role: str, name: str, signed: Any) -> None:
        """Sign one document with the keys of a role."""
        self.files[f"metadata/{name}.json"] = signed_by(signed, *self.keys[role])

    def publish_root(self, *signers: CryptoSigner) -> None:
        """Sign the root with these keys."""
        self.files[f"metadata/{self.root.version}.root.json"] = signed_by(self.root, *signers)


def signed_by(signed: Any, *signers: CryptoSigner) -> bytes:
    document: Metadata[Any] = Metadata(signed)
    for signer in signers:
        document.sign(signer, append=True)
    return document.to_bytes()


def packed(version: str, padding: int = 0) -> bytes:
    """Return a small client as a tar file."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, content in (("bin/courier", SCRIPT.format(version).encode()), ("share/padding", bytes(padding))):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            archive.addfile(info, io.BytesIO(content))
    return held.getvalue()


class Server:
    """Serves files by path. `misbehave` may answer a request itself, and returns whether it did."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.asked = files, list[tuple[str, str]]()
        self.misbehave: Callable[[BaseHTTPRequestHandler, str], bool] = lambda handler, path: False
        self.ranges = True
        self.address = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.lstrip("/").removeprefix("downloads/")
        self.asked.append((path, handler.headers.get("Range", "")))
        if self.misbehave(handler, path):
            return
        content = self.files.get(path)
        if content is None:
            handler.send_error(404)
            return
        asked = handler.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        if start and start >= len(content):
            handler.send_error(416)
            return
        begin_answer(handler, start, len(content))
        handler.wfile.write(content[start:])


def begin_answer(handler: BaseHTTPRequestHandler, start: int, size: int) -> None:
    """Send status and headers of an answer that begins at this byte of a file of this size."""
    handler.send_response(206 if start else 200)
    handler.send_header("Content-Length", str(size - start))
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
    handler.end_headers()


@contextmanager
def served(files: dict[str, bytes], tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a server."""
    server = Server(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.close_connection = True
            with suppress(BrokenPipeError, ConnectionResetError):  # who asked has heard enough
                server.answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        if tls is not None:
            http.socket = tls.wrap_socket(http.socket, server_side=True)
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        server.address = f"{'https' if tls else 'http'}://127.0.0.1:{http.server_address[1]}"
        yield server
        http.shutdown()
        thread.join()
