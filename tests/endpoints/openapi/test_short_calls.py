"""Calls that are answered without the HTTP server get what that server would have answered."""

import functools
import json
import logging
import operator
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from backfleet.endpoints.openapi.contexts import new_request_id
from backfleet.endpoints.openapi.pipeline import OpenApiEndpoint
from backfleet.operations.perform import Performer
from endpoints.openapi.server import Server
from endpoints.openapi.signed_requests import FORM, V1, V3, Raw

LIMIT = 2000  # bytes of a body


def upload_to(server: Server) -> Raw:
    return V3(server, action="Keep", version="2026-11-01", body=b"file").raw()


CALLS: dict[str, Callable[[Server], Raw]] = {
    "V3": lambda server: V3(server, query={"Name": "a b"}).raw(),
    "V3 with a form": lambda server: V3(server, body=b"Name=a&Zone.1=b", content_type=FORM).raw(),
    "V3 by GET": lambda server: V3(server, method="GET", query={"Name": "\u00e9"}).raw(),
    "V1": lambda server: V1(server, parameters={"Format": "XML"}).raw(),
    "V1 with a form": lambda server: V1(server, form={"Name": "a+b"}).raw(),
    "an error of the operation": lambda server: V3(server, query={"Wrong": "true"}).raw(),
    "an operation that breaks": lambda server: V3(server, query={"Broken": "true"}).raw(),
    "another signature": lambda server: replace(V3(server).raw(), target="/?Name=other"),
    "no signature": lambda server: Raw("GET", "/", (("Host", server.host),)),
    "another action": lambda server: V3(server, action="Ech").raw(),
    "a header twice": lambda server: V3(server).raw().with_header("x-acs-action", "Echo"),
    "a body that is too large": lambda server: V3(server, body=b"Name=" + b"a" * LIMIT, content_type=FORM).raw(),
    "a body in a coding": lambda server: V3(server).raw().with_header("Content-Encoding", "strange"),
    "a file": upload_to,
    "another file": lambda server: replace(upload_to(server), body=b"fi1e"),
    "over plain HTTP": lambda server: V3(server, action="Whisper", version="2015-04-01").raw(),
}
VARYING = {"x-acs-request-id", "x-acs-trace-id", "date"}


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """By which way each call comes."""
    found: list[str] = []
    usual, short = OpenApiEndpoint.answer, OpenApiEndpoint.begin_short

    async def answer(self: OpenApiEndpoint, request: Any) -> Any:
        found.append("answer")
        return await usual(self, request)

    def begin_short(self: OpenApiEndpoint, request: Any, reply: Any) -> Any:
        found.append("begin_short")
        return short(self, request, reply)

    monkeypatch.setattr(OpenApiEndpoint, "answer", answer)
    monkeypatch.setattr(OpenApiEndpoint, "begin_short", begin_short)
    return found


def asked(server: Server, request: bytes, *, first: int = 0) -> tuple[int, dict[str, str], Any]:
    """Return status, headers and body, without what differs in each answer. The first bytes may come alone."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if first:
            connection.sendall(request[:first])
            time.sleep(0.1)
        connection.sendall(request[first:])
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65536)
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        while len(body) < int(headers["content-length"]):
            body += connection.recv(65536)
    request_id = headers["x-acs-request-id"]
    for name in VARYING:
        del headers[name]
    return int(lines[0].split()[1]), headers, body.decode().replace(request_id, "ID")


@pytest.mark.parametrize("made", CALLS.values(), ids=CALLS)
def test_a_call_gets_the_same_answer_both_ways(
    start_server: Callable[..., Server], ways: list[str], made: Callable[[Server], Raw]
) -> None:
    server = start_server(body_limit=LIMIT, require_tls=True)
    short, usual = asked(server, bytes(made(server))), asked(server, bytes(made(server)), first=1)
    if "SignatureDoesNotMatch" in short[2]:  # it says what was signed, with the nonce
        short, usual = ((each[0], {**each[1], "content-length": ""}, each[2][-40:]) for each in (short, usual))
    assert short == usual
    assert ways == ["begin_short", "answer"]


def test_its_caller_is_the_other_end_of_its_connection(ways: list[str], server: Server) -> None:
    """Whatever a header says."""
    forwarded = V3(server).raw().with_header("X-Forwarded-For", "10.1.2.3").with_header("X-Forwarded-Proto", "https")
    assert asked(server, bytes(forwarded))[0] == 200
    call = server.seen[0][0]
    assert (call.source_ip, call.secure, ways) == ("127.0.0.1", False, ["begin_short"])


def test_a_server_that_is_held_says_so(ways: list[str], server: Server) -> None:
    class Held:
        restore = type("Restore", (), {"is_held": True, "restored_at": None})()

        def is_held(self) -> bool:
            return False

        def covers(self, _moment: object) -> bool:
            return False

    object.__setattr__(server.services, "hold", Held())
    assert asked(server, bytes(V3(server).raw()))[1]["x-backfleet-held"] == "true"
    assert ways == ["begin_short"]


def test_a_nonce_is_used_once_whichever_way_it_comes(ways: list[str], server: Server) -> None:
    request = bytes(V3(server).raw())
    assert asked(server, request)[0] == 200
    status, _, body = asked(server, request, first=1)
    assert (status, json.loads(body)["Code"]) == (400, "SignatureNonceUsed")
    assert ways == ["begin_short", "answer"]


def test_a_call_that_breaks_off_leaves_nothing(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    whole = bytes(V3(server, body=b"Name=a", content_type=FORM).raw())
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(whole[:-4])
    assert asked(server, bytes(V3(server).raw()))[0] == 200
    assert [vars(record)["code"] for record in caplog.records if "code" in vars(record)] == ["OK"]


def test_a_request_id_is_a_random_uuid() -> None:
    ids = [uuid.UUID(new_request_id()) for _ in range(1000)]
    assert {(each.version, each.variant) for each in ids} == {(4, uuid.RFC_4122)}
    assert len(set(ids)) == len(ids)
    changing = functools.reduce(operator.or_, (each.int ^ ids[0].int for each in ids))
    assert changing == uuid.UUID("ffffffff-ffff-0fff-3fff-ffffffffffff").int


def test_a_call_that_no_thread_takes_is_answered_all_the_same(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the server ends."""

    def refuse(_self: Performer, _work: object) -> None:
        raise RuntimeError("no more is accepted")

    monkeypatch.setattr(Performer, "begin", refuse)
    status, _, body = asked(server, bytes(V3(server).raw()))
    assert (status, json.loads(body)["Code"]) == (500, "InternalError")


@pytest.mark.parametrize("made", [lambda server: V3(server).raw(), upload_to], ids=["a call", "a file"])
def test_a_call_whose_answer_cannot_be_made_is_answered_all_the_same(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, made: Callable[[Server], Raw]
) -> None:
    """As by the HTTP server. Its caller would wait for ever, and nobody would know why."""

    def fail(*_: object) -> None:
        raise LookupError("it cannot be rendered")

    request = bytes(made(server))
    monkeypatch.setattr(OpenApiEndpoint, "_ended", fail)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(request)
        assert connection.recv(100).startswith(b"HTTP/1.1 500 ")
    assert "an answer could not be made" in caplog.messages
