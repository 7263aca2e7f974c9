"""A proxy between a server and the cloud that it asks, which does what networks and busy clouds do."""

import http.client
import http.server
import json
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

LOST, THROTTLED, FAILED, CUT, SLOW, DOUBLED, HALF, OVERTAKEN = (
    "lost answer", "429", "503", "cut", "slow", "doubled", "half an answer", "overtaken"
)  # fmt: skip
FAULTS: Final = (
    LOST, "", "", "", THROTTLED, SLOW, "", "", FAILED, OVERTAKEN, "", "", CUT, "", "", "", DOUBLED, "", "", "", HALF,
    "", "", "",
)  # fmt: skip
"""In this order. What is asked of a cloud begins again after a failure, and takes three calls."""
SLOW_SECONDS: Final = 1.0
OVERTAKEN_SECONDS: Final = 2.0  # at most, until another request was faster
HOP: Final = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class Faults:
    """What requests meet once it is switched on: the faults in turn, and RunCommand by a count of its own."""

    def __init__(self) -> None:
        self.is_on = False
        self.met: Counter[tuple[str, str]] = Counter()
        self.tokens: list[str] = []  # the ClientToken of each RunCommand, as often as it was sent
        self.taken: set[str] = set()  # those that the cloud answered with an invocation
        self.unheard: set[str] = set()  # those that it was sent and broke off: it may have taken them
        self._calls: Counter[str] = Counter()
        self._passing = threading.Condition()
        self._passed = 0

    def all_met(self) -> bool:
        """Return whether each fault happened."""
        with self._passing:
            return set(FAULTS) == {fault for _, fault in self.met}

    def next(self, action: str, token: str) -> str:
        """Return the fault of the next call of an operation."""
        with self._passing:
            if action == "RunCommand":
                self.tokens.append(token)
            if not self.is_on:
                return ""
            kind = action if action == "RunCommand" else "other"
            fault = FAULTS[self._calls[kind] % len(FAULTS)]
            self._calls[kind] += 1
            self.met[action, fault] += 1
            return fault

    def note_answer(self, token: str, status: int) -> None:
        """Note what the cloud said to a RunCommand; status 0 = nothing, for it was killed."""
        with self._passing:
            if token and status == 200:
                self.taken.add(token)
            elif token and not status:
                self.unheard.add(token)

    def pass_by(self) -> None:
        """Note that a request went on."""
        with self._passing:
            self._passed += 1
            self._passing.notify_all()

    def wait_to_be_overtaken(self, seconds: float) -> None:
        """Wait until another request went on."""
        with self._passing:
            before = self._passed
            self._passing.wait_for(lambda: self._passed > before, seconds)


@contextmanager
def fault_proxy(place: str, data: Path) -> Iterator[tuple[str, Faults]]:
    """Stand in for a server; yield HOST:PORT and what is done there.

    Args:
        place: HOST:PORT of that server.
        data: the data folder of that server: the proxy shows its certificate.
    """
    faults = Faults()
    trust = ssl.create_default_context(cafile=str(data / "tls" / "ca.pem"))

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = parse_qs(urlsplit(self.path).query)
            action = self.headers.get("x-acs-action") or query.get("Action", ["?"])[0]
            token = query.get("ClientToken", [""])[0] if action == "RunCommand" else ""
            fault = faults.next(action, token)
            self.close_connection = True
            if fault == CUT:
                return
            if fault in (THROTTLED, FAILED):
                code = "Throttling.User" if fault == THROTTLED else "ServiceUnavailable"
                refusal = json.dumps({"Code": code, "Message": "later", "RequestId": "R"}).encode()
                self._answer(int(fault), {"Content-Type": "application/json"}, refusal)
                return
            if fault == OVERTAKEN:
                faults.wait_to_be_overtaken(OVERTAKEN_SECONDS)
            for _ in range(2 if fault == DOUBLED else 1):
                try:
                    status, headers, content = self._forward(body)
                except OSError:
                    faults.note_answer(token, 0)
                    return  # the cloud is away: so is its answer
                faults.note_answer(token, status)
            faults.pass_by()
            if fault == SLOW:
                threading.Event().wait(SLOW_SECONDS)
            if fault != LOST:
                self._answer(status, headers, content, half=fault == HALF)

        def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            upstream = http.client.HTTPSConnection(place, timeout=30, context=trust)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
                upstream.request("POST", self.path, body, headers)
                answer = upstream.getresponse()
                kept = {name: value for name, value in answer.getheaders() if name.lower() not in HOP}
                return answer.status, kept, answer.read()
            except http.client.HTTPException as problem:
                raise ConnectionError(problem) from None
            finally:
                upstream.close()

        def _answer(self, status: int, headers: dict[str, str], content: bytes, *, half: bool = False) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if half else content)

        def log_message(self, *_words: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_words: object) -> None:
            """Say nothing of a client that hung up."""

    server = Server(("127.0.0.1", 0), Handler)
    shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    shown.load_cert_chain(data / "tls" / "server.pem", data / "keys" / "server.key")
    server.socket = shown.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", faults
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
