"""A small real proxy: it tunnels and forwards, and opens to its own name and password only."""

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, urlsplit

USER = "courier"
PASSWORD = "p/a#s@s:%"  # all that misleads a parser of addresses


class Proxy:
    """What it was asked for, and by whom in vain."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[str] = []  # METHOD TARGET
        self.refused = 0

    @property
    def pasted(self) -> str:
        """Its address as people write it."""
        return f"http://{USER}:{PASSWORD}@127.0.0.1:{self.port}"

    @property
    def quoted(self) -> str:
        """Its address as it ought to be written."""
        return f"http://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}"


@contextmanager
def proxying() -> Iterator[Proxy]:
    """A running proxy."""
    proxy = Proxy()
    opened_by = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def may(self) -> bool:
            if self.headers.get("Proxy-Authorization") == opened_by:
                proxy.asked.append(f"{self.command} {self.path}")
                return True
            proxy.refused += 1
            self.send_error(407)
            return False

        def do_CONNECT(self) -> None:
            self.close_connection = True
            if not self.may():
                return
            host, _, port = self.path.rpartition(":")
            with suppress(OSError), socket.create_connection((host, int(port))) as onward:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=pump, args=(onward, self.connection))
                back.start()
                pump(self.connection, onward)
                back.join()

        def do_GET(self) -> None:
            self.close_connection = True
            if not self.may():
                return
            parts = urlsplit(self.path)
            onward = HTTPConnection(parts.hostname or "", parts.port or 80)
            headers = {name: value for name, value in self.headers.items() if not name.startswith("Proxy-")}
            onward.request("GET", parts.path, headers=headers)
            response = onward.getresponse()
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(response.read())
            onward.close()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        proxy.port = http.server_address[1]
        yield proxy
        http.shutdown()
        thread.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    """All bytes that come, until one side ends."""
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
