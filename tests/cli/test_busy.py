"""A server that is busy, or a connection that is cut: what cannot happen twice is asked again, a few times."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

import backfleet.operations  # noqa: F401 - fills the catalogue
from backfleet.cli import _client
from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import Connection
from backfleet.cli._repeats import TAKE_TOKENS
from backfleet.clock import utc_now
from backfleet.operations.catalogue import every_operation
from backfleet.wire.credentials import Credentials

CUT = 0  # instead of a status: the connection ends without an answer
RETRY_AFTER = 7  # seconds that the server asks for
HEADERS = [("Retry-After", str(RETRY_AFTER)), ("x-acs-retry-after", str(RETRY_AFTER * 1000))]


class Busy(HTTPServer):
    """Answers 503 as often as it is told to, and keeps the nonces of the calls."""

    refusals, status = 0, 503
    header = HEADERS[0]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.nonces: list[str] = []
        self.tokens: list[str] = []


class _Answers(BaseHTTPRequestHandler):
    server: Busy

    def do_POST(self) -> None:
        self.server.nonces.append(self.headers["x-acs-signature-nonce"])
        self.server.tokens.append(parse_qs(urlsplit(self.path).query).get("ClientToken", [""])[0])
        is_refused = len(self.server.nonces) <= self.server.refusals
        if is_refused and self.server.status == CUT:
            self.close_connection = True
            return
        body = b'{"Code": "ServiceUnavailable", "Message": "busy"}' if is_refused else b"{}"
        self.send_response(self.server.status if is_refused else 200)
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


@pytest.mark.parametrize("how", [503, CUT])
def test_what_changes_something_is_not_repeated(busy: Busy, pauses: list[float], how: int) -> None:
    """Unless nothing can happen twice. It says that it may have happened, and how to look."""
    busy.refusals, busy.status = 1, how
    with pytest.raises(CallFailed) as found:
        client_of(busy).call("ram", "CreateUser", UserName="u")
    assert "may have been carried out: `backfleet audit --event CreateUser`" in found.value.message
    assert (len(busy.nonces), pauses) == (1, [])


def test_what_was_throttled_is_repeated_whatever_it_is(busy: Busy, pauses: list[float]) -> None:
    """Nothing was done."""
    busy.refusals, busy.status = 2, 429
    assert client_of(busy).call("ram", "CreateUser", UserName="u") == {}
    assert len(busy.nonces) == 3


@pytest.mark.parametrize("how", [503, CUT])
@pytest.mark.parametrize("action", ["CreateRollout", "RunCommand", "PutPin", "DescribeTask"])
def test_what_cannot_happen_twice_is_repeated(busy: Busy, pauses: list[float], action: str, how: int) -> None:
    """Also where the connection is cut after it was sent: with one ClientToken, and a nonce for each try."""
    busy.refusals, busy.status = 2, how
    assert client_of(busy).call("backfleet" if action != "RunCommand" else "ecs", action) == {}
    assert len(set(busy.nonces)) == 3
    assert len(set(busy.tokens)) == 1
    assert (busy.tokens[0] != "") == (action in TAKE_TOKENS)


def test_the_command_line_knows_which_operations_take_tokens() -> None:
    """All that the catalogue has."""
    takes = {each.name for each in every_operation() if "client_token" in each.request.__dataclass_fields__}
    assert takes == TAKE_TOKENS
