"""The same signed request, byte for byte, again: it is done and answered once, however it is repeated."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from endpoints.openapi.server import Server, listen
from endpoints.openapi.signed_requests import V1, V3

SIGNED = pytest.mark.parametrize("signed", [V1, V3], ids=["V1", "V3"])


def code(server: Server, sent: bytes) -> tuple[int, str]:
    status, _headers, body = server.raw(sent)
    return status, json.loads(body)["Code"]


@pytest.fixture
def replica(server: Server) -> Iterator[Server]:
    """Another process's endpoint, as far as what it remembers goes: only the database is shared."""
    host, stop = listen(server.services, server.clock)
    yield Server(server.services, server.clock, host, server.root, server.seen)
    stop()


@SIGNED
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_only_the_first_of_three_is_answered(server: Server, signed: Callable[..., Any], method: str) -> None:
    """On connections of their own, one after the other."""
    sent = bytes(signed(server, method=method).raw())
    assert [code(server, sent)[0] for _ in range(3)] == [200, 400, 400]
    assert code(server, sent) == (400, "SignatureNonceUsed")
    assert len(server.seen) == 1


@SIGNED
def test_only_one_of_many_at_once_is_answered(server: Server, replica: Server, signed: Callable[..., Any]) -> None:
    """By two replicas together."""
    for _ in range(5):
        sent, ready = bytes(signed(server).raw()), threading.Barrier(8)

        def send(number: int, sent: bytes = sent, ready: threading.Barrier = ready) -> tuple[int, str]:
            ready.wait(30)
            return code((server, replica)[number % 2], sent)

        with ThreadPoolExecutor(8) as threads:
            answers = Counter(threads.map(send, range(8)))
        assert answers == {(200, "200"): 1, (400, "SignatureNonceUsed"): 7}
    assert len(server.seen) == 5


@SIGNED
def test_a_request_whose_answer_was_lost_is_not_done_again(server: Server, signed: Callable[..., Any]) -> None:
    """Its bytes are used up. A client that retries signs anew, with the same ClientToken where there is one."""
    sent = bytes(signed(server).raw())
    with socket.create_connection(("127.0.0.1", server.port)) as lost:
        lost.sendall(sent)
        lost.recv(1)  # the answer is on its way: the request was done
    assert code(server, sent) == (400, "SignatureNonceUsed")
    assert len(server.seen) == 1


@SIGNED
def test_a_refused_one_is_used_up_too(server: Server, signed: Callable[..., Any]) -> None:
    """Whoever has no permission, or sends a wrong value, cannot have the same bytes judged again later."""
    nobody = server.user("nobody")
    sent = bytes(signed(server, key=nobody).raw())
    assert code(server, sent) == (403, "NoPermission")
    assert code(server, sent) == (400, "SignatureNonceUsed")
    assert server.seen == []
