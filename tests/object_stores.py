"""An object store on loopback: moto's server, and a proxy before it that does what networks and stores do.

moto answers as S3 does on the wire; it is no S3, and verifies no signature.
"""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

from backfleet.object_store import Bucket, Place

MOTO = Path(sys.prefix) / "moto" / "bin" / "moto_server"
KEY, SECRET = "AKIDTESTTESTTEST", "a-secret-that-nobody-may-see"
Fault = str | tuple[int, str] | float | None  # "cut", a status and a code, seconds of silence, or none
Plan = Callable[[str, str], Fault]
_numbers = count(1)


class S3Server:
    """A server that speaks S3, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        words = [MOTO, "-H", "127.0.0.1", "-p", str(self.port)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with (folder / "moto.log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
        _wait_for(self.port)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def make_bucket(self) -> str:
        """Make a bucket that no other test has."""
        name = f"bucket-{next(_numbers)}"
        self.call("PUT", f"/{name}")
        return name

    def call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Make a call as its administrator would: whoever asks moto may do everything."""
        headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        assert answer.status < 300, content
        return content


class Faults:
    """A proxy that passes calls on, unless `plan` says what happens to one instead. `calls` has all of them."""

    def __init__(self, upstream: int) -> None:
        self.plan: Plan = lambda method, path: None
        self.calls: list[tuple[str, str]] = []
        self.mends_parts = False  # whether a part that is sent with 200 gets the status of S3, 206
        faults = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                faults.calls.append((self.command, self.path))
                fault = faults.plan(self.command, self.path)
                if isinstance(fault, float):
                    time.sleep(fault)
                if isinstance(fault, tuple):
                    return self._refuse(*fault)
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", upstream, timeout=60)) as connection:
                    connection.request(self.command, self.path, body, dict(self.headers))
                    found = connection.getresponse()
                    content = found.read()
                part = found.getheader("Content-Range") is not None
                self.send_response(206 if part and faults.mends_parts else found.status)
                for name, value in found.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                        self.send_header(name, value)
                length = found.getheader("Content-Length") or "0"
                self.send_header("Content-Length", length if self.command == "HEAD" else str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
                if fault == "cut":
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)
                return None

            def _refuse(self, status: int, code: str) -> None:
                content = f"<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>".encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer  # noqa: N815 - the library's names

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda request, client: None  # type: ignore[method-assign] - clients go away
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class ObjectStore:
    """A bucket of its own for one test, with a proxy before it."""

    def __init__(self, server: S3Server) -> None:
        self.server, self.name, self.faults = server, server.make_bucket(), Faults(server.port)
        self.endpoint = f"http://127.0.0.1:{self.faults.port}"
        self.url = f"s3://{self.name}/some/place"

    def bucket(self, name: str = "", *, call_seconds: float = 10.0, retry_seconds: float = 10.0) -> Bucket:
        """Return the bucket as a server has it."""
        place = Place(name or self.name, "some/place", self.endpoint, "us-east-1", b"", (KEY, SECRET, ""))
        return Bucket(place, call_seconds=call_seconds, retry_seconds=retry_seconds)

    def write(self, sha256: str, content: bytes) -> None:
        """Write an object behind the server's back."""
        self.server.call("PUT", f"/{self.name}/some/place/{sha256}", content)

    def delete(self, sha256: str) -> None:
        self.server.call("DELETE", f"/{self.name}/some/place/{sha256}")

    def read(self, sha256: str) -> bytes:
        return self.server.call("GET", f"/{self.name}/some/place/{sha256}")

    def settings(self, folder: Path) -> dict[str, str]:
        """Return the settings of a server, for its environment; they name a file with the key."""
        file = folder / "object-store-key"
        file.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
        return {
            "BACKFLEET_ARTIFACTS_URL": self.url,
            "BACKFLEET_ARTIFACTS_ENDPOINT": self.endpoint,
            "BACKFLEET_ARTIFACTS_REGION": "us-east-1",
            "BACKFLEET_ARTIFACTS_CREDENTIALS_FILE": str(file),
        }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(1200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nothing listens on {port}")
