"""Go and Java clients in trouble: an unknown authority, lost answers, limits, a server that cannot do it now."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from backfleet.certificates import Certificates, prepare_certificates
from backfleet.operations.catalogue import HBR, Call, operation
from backfleet.wire.errors import ServiceUnavailable
from endpoints.openapi.client_programs import GO, JAVA, ClientProgram, needs_go, needs_java, running
from endpoints.openapi.server import Anything, Server
from endpoints.openapi.troubled_way import Trouble, way_to

CLIENTS = pytest.mark.parametrize(
    ("command", "name"),
    [
        pytest.param(GO, "generic v3", id="Go generic client", marks=needs_go),
        pytest.param(GO, "legacy", id="Go legacy client", marks=needs_go),
        pytest.param(JAVA, "generic v3", id="Java generic client", marks=needs_java),
        pytest.param(JAVA, "legacy v1", id="Java core, V1", marks=needs_java),
        pytest.param(JAVA, "legacy v3", id="Java core, V3", marks=needs_java),
    ],
)


def echo(program: ClientProgram, action: str = "Echo") -> dict[str, Any]:
    """Return the program's line for one call."""
    line = {"product": "hbr", "version": HBR.version, "action": action}
    return program.ask(line | {"parameters": {"Name": "é ~*"}, "flat": {"Name": "é ~*"}})


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> list[Certificates]:
    """The server's own, and another one: making them takes time."""
    folders = [tmp_path_factory.mktemp(name) for name in ("ours", "others")]
    return [prepare_certificates(folder, ["127.0.0.1"], now=datetime.now(UTC)) for folder in folders]


@CLIENTS
def test_only_our_own_authority_is_believed(
    start_server: Callable[..., Server], authorities: list[Certificates], command: list[str], name: str
) -> None:
    """HTTPS works with the server's authority, given as PEM text; with another one nothing arrives."""
    ours, others = authorities
    server = start_server(ours.context(), require_tls=True)
    with running(command, name, server, server.root, protocol="HTTPS", ca=ours.authority.read_text()) as program:
        found = echo(program)
    assert found["body"]["Name"] == "é ~*"
    assert len(server.seen) == 1
    with running(command, name, server, server.root, protocol="HTTPS", ca=others.authority.read_text()) as program:
        refused = echo(program)
    assert any(word in refused["text"] for word in ("certificate", "PKIX", "SSL")), refused
    assert len(server.seen) == 1


@CLIENTS
def test_a_lost_answer_is_reported(server: Server, command: list[str], name: str) -> None:
    """As no answer at all: no client takes it for a success, or calls again without being asked to."""
    with (
        way_to(server, [Trouble.ANSWER_LOST]) as way,
        running(command, name, server, server.root, endpoint=way.address) as program,
    ):
        found = echo(program)
    assert "code" in found
    assert found.get("status", 0) == 0
    assert len(server.seen) == 1


@CLIENTS
def test_a_call_over_the_limit_says_so(start_server: Callable[..., Server], command: list[str], name: str) -> None:
    """With our code, and nothing was done."""
    server = start_server(calls_per_second=0.001, calls_burst=1)
    with running(command, name, server, server.root) as program:
        assert "body" in echo(program)
        found = echo(program)
    assert found["code"] == "Throttling.User", found
    assert len(server.seen) == 1


@CLIENTS
def test_a_server_that_cannot_do_it_now_says_so(server: Server, command: list[str], name: str) -> None:
    """503 with our code, after one try."""
    tries = stumbling()
    with running(command, name, server, server.root) as program:
        found = echo(program, "Stumble")
        assert found["code"] == "ServiceUnavailable", found
        assert len(tries) == 1
        assert "body" in echo(program, "Stumble")


def stumbling() -> list[Call]:
    """Enter an operation that fails once with 503; return its calls."""
    tries: list[Call] = []

    @operation(HBR, "Stumble", action="hbr:Stumble")
    def stumble(call: Call, asked: Anything) -> dict[str, Any]:
        tries.append(call)
        if len(tries) == 1:
            raise ServiceUnavailable
        return {"Code": "200", "Success": True}

    return tries
