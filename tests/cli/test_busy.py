"""A server that is busy: what changes nothing is asked again, a few times; anything else is an error at once."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from backfleet.cli import _client
from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import Connection
from backfleet.clock import utc_now
from backfleet.wire.credentials import Credentials

RETRY_AFTER = 7  # seconds that the server asks for
HEADERS = [("Retry-After", str(RETRY_AFTER)), ("x-acs-retry-after", str(RETRY_AFTER * 1000))]


class Busy(HTTPServer):
    """Answers 503 as often as it is told to, and keeps the nonces of the calls."""

    refusals = 0
    header = HEADERS[0]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.nonces: list[str] = []


class _Answers(BaseHTTPRequestHandler):
    server: Busy

    def do_POST(self) -> None:
        self.server.nonces.append(self.headers["x-acs-signature-nonce"])
        is_refused = len(self.server.nonces) <= self.server.refusals
        body = b'{"Code": "ServiceUnavailable", "Message": "busy"}' if is_refused else b"{}"
        self.send_response(503 if is_refused else 200)
        if is_refused:
            self.send_header(*self.server.header)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def busy() -> Iterator[Busy]:
    with Busy() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(_client.time, "sleep", found.append)
    return found


def client_of(server: Busy) -> Client:
    endpoint = f"http://127.0.0.1:{server.server_port}"
    return Client(Connection(endpoint, None, Credentials("key", "secret")), utc_now)


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: str(header[0]))
def test_a_question_is_asked_again_as_late_as_the_server_wants(
    busy: Busy, pauses: list[float], header: tuple[str, str]
) -> None:
    """Signed anew: a nonce counts once. A throttled call says it in a header of its own."""
    busy.refusals, busy.header = 2, header
    assert client_of(busy).call("hbr", "DescribeTask", TaskId="t-1") == {}
    assert (len(set(busy.nonces)), pauses) == (3, [RETRY_AFTER, RETRY_AFTER])


def test_a_server_that_stays_busy_is_an_error(busy: Busy, pauses: list[float]) -> None:
    busy.refusals = 100
    with pytest.raises(CallFailed, match="busy"):
        client_of(busy).call("hbr", "DescribeTask", TaskId="t-1")
    assert (len(busy.nonces), len(pauses)) == (_client.BUSY_TRIES, _client.BUSY_TRIES - 1)


def test_what_changes_something_is_not_repeated(busy: Busy, pauses: list[float]) -> None:
    """Unless its caller knows that it may be: it has a ClientToken."""
    busy.refusals = 1
    with pytest.raises(CallFailed, match="busy"):
        client_of(busy).call("backfleet", "CreateRollout", Name="r")
    assert (len(busy.nonces), pauses) == (1, [])
