"""A call whose caller has gone, or whose time is over, is not carried out later: real locks, real connections."""

import http.client
import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from backfleet.endpoints.openapi.pipeline import OpenApiEndpoint
from backfleet.operations import perform
from backfleet.storage import CallLimit, Trouble
from endpoints.agents.hosts import eventually
from endpoints.openapi.server import Server
from endpoints.openapi.signed_requests import V3


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold SQLite's write lock as another process does."""
    with sqlite3.connect(file, isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    connection.close()


def create(server: Server, name: str) -> bytes:
    """Return a signed request that makes a user."""
    asked = {"UserName": name}
    return bytes(V3(server, action="CreateUser", version="2015-05-01", query=asked).raw())


def users(server: Server) -> list[str]:
    with server.services.database.reading() as tx:
        return [row.name for row in tx.rows(sa.text("SELECT name FROM users"))]


def audited(server: Server) -> list[tuple[str, str]]:
    with server.services.database.reading() as tx:
        return [tuple(row) for row in tx.rows(sa.text("SELECT action, error_code FROM audit_events"))]


def test_calls_whose_callers_have_gone_are_not_carried_out_later(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Three callers give up while the database is locked; when it is free again nothing of theirs happens."""
    with locked(tmp_path / "backfleet.db"):
        for number in range(3):
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(create(server, f"gone-{number}"))
                connection.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    connection.recv(1)
    assert server.raw(create(server, "here"))[0] == 200
    eventually(lambda: caplog.text.count(Trouble.CALLER_GONE.value) == 3)
    assert users(server) == ["here"]
    assert audited(server) == [("CreateUser", "")], "nor is anything said to have happened"


def test_a_caller_that_goes_between_permission_and_deed_is_in_the_audit_trail(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row that says that it was allowed also says that nothing came of it."""
    gone = [False]
    monkeypatch.setattr(OpenApiEndpoint, "_limit", lambda *_: CallLimit(float("inf"), lambda: gone[0]))
    monkeypatch.setattr(perform, "failpoint", lambda _name: gone.__setitem__(0, True))
    status, _, body = server.raw(create(server, "gone"))
    assert (status, json.loads(body)["Code"]) == (503, "ServiceUnavailable")
    assert users(server) == []
    assert audited(server) == [("CreateUser", "ServiceUnavailable")]


def test_a_call_whose_time_is_over_is_not_carried_out_later(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """It waited in a queue, or for a lock; the caller learns that nothing was done, and may try again."""
    server = start_server(call_seconds=1)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        with locked(tmp_path / "backfleet.db"):
            connection.sendall(create(server, "late"))
            time.sleep(1.2)  # the time of the call is what is tested
        answer = http.client.HTTPResponse(connection, method="POST")
        answer.begin()
        found = json.loads(answer.read())
    assert (answer.status, found["Code"]) == (503, "ServiceUnavailable")
    assert Trouble.TOO_LATE.value in found["Message"]
    assert users(server) == []
