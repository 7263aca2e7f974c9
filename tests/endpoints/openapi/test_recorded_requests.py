"""Recorded requests of official clients, byte for byte, against the real server with the clock set to their time."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from backfleet.operations import catalogue
from backfleet.operations.catalogue import PRODUCTS, Call, operation
from backfleet.storage import metadata
from endpoints.openapi.server import Anything, Server
from endpoints.openapi.signed_requests import Raw

VECTORS = Path(__file__).parents[2] / "wire" / "vectors"
Vector = dict[str, Any]


def recorded() -> list[Any]:
    found = [v for version in (1, 3) for v in json.loads((VECTORS / f"signature-v{version}.json").read_text())]
    return [pytest.param(vector, id=vector["id"]) for vector in found]


def has_token(vector: Vector) -> bool:
    """Whether it was signed with temporary credentials, which nobody gets yet."""
    return "x-acs-security-token" in vector["headers"] or "SecurityToken=" in vector["url"]


def believed() -> list[Any]:
    return [row for row in recorded() if row.values[0]["must_verify"] and not has_token(row.values[0])]


def common(vector: Vector, name: str) -> str:
    """Action or Version, wherever this client put it."""
    headers = {n.lower(): v for n, v in vector["headers"].items()}
    sent = parse_qs(urlsplit(vector["url"]).query) | parse_qs(vector["body"])
    return str(sent[name][0] if name in sent else headers[f"x-acs-{name.lower()}"])


def moment(vector: Vector) -> datetime:
    sent = parse_qs(urlsplit(vector["url"]).query) | parse_qs(vector["body"])
    text = sent["Timestamp"][0] if "Timestamp" in sent else vector["headers"]["x-acs-date"]
    return datetime.fromisoformat(text)


def raw(vector: Vector) -> Raw:
    target = "/" + vector["url"].split("/", 3)[3]
    headers = tuple((name, value) for name, value in vector["headers"].items() if name.lower() != "content-length")
    body = vector["body"].encode()
    return Raw(vector["method"], target, (*headers, ("Content-Length", str(len(body)))), body)


@pytest.fixture
def played(server: Server) -> Callable[[Vector], tuple[int, dict[str, Any]]]:
    """Plays a request against a server that knows its key and its operation, at its own time."""

    def play(vector: Vector) -> tuple[int, dict[str, Any]]:
        server.clock.stopped_at = moment(vector).astimezone(UTC)
        product, action = PRODUCTS[common(vector, "Version")], common(vector, "Action")
        catalogue._OPERATIONS.pop((product.version, action), None)

        @operation(product, action, action=None)
        def understood(call: Call, asked: Anything) -> dict[str, str]:
            return {"Understood": action}

        _keep_key(server, vector["access_key_id"], vector["access_key_secret"])
        status, headers, body = server.raw(bytes(raw(vector)))
        assert headers["content-type"].startswith("text/xml" if b"<?xml" in body else "application/json")
        return status, {} if b"<?xml" in body else json.loads(body)

    return play


def _keep_key(server: Server, key_id: str, secret: str) -> None:
    """A key that was given out elsewhere, long ago."""
    keys = metadata.tables["access_keys"]
    with server.services.database.transaction() as tx:
        tx.add_if_new(
            keys,
            {
                "id": key_id,
                "account_id": server.root_caller.account_id,
                "sealed_secret": server.services.vault.seal(secret),
                "active": True,
                "created_at": server.clock(),
            },
        )


@pytest.mark.parametrize("vector", recorded())
def test_a_recorded_request_is_accepted_once(vector: Vector, played: Callable[..., Any]) -> None:
    """With signature, clock and encoding as the client meant them; the second time its nonce is spent."""
    status, body = played(vector)
    if has_token(vector):
        assert (status, body["Code"]) == (400, "InvalidSecurityToken.Malformed")
    elif not vector["must_verify"]:
        assert (status, body["Code"]) == (400, "SignatureDoesNotMatch")
        assert body["Message"].split(":")[1] == vector["string_to_sign"]
    else:
        assert status == 200, body
        status, body = played(vector)
        assert status == 400
        assert body.get("Code", "SignatureNonceUsed") == "SignatureNonceUsed"


@pytest.mark.parametrize("vector", believed())
def test_a_recorded_request_with_one_byte_changed_is_refused(vector: Vector, played: Callable[..., Any]) -> None:
    """The last byte of the body, or one of the query; afterwards the true request is still accepted."""
    if vector["body"]:
        changed = vector | {"body": vector["body"][:-1] + "~"}
    else:
        joint = "&" if "?" in vector["url"] else "?"
        changed = vector | {"url": f"{vector['url']}{joint}More=1"}
    status, body = played(changed)
    assert status == 400
    # V1 sends an MD5 of its forms in some clients; the other forms and queries are in the signature.
    assert body.get("Code", "SignatureDoesNotMatch") in ("SignatureDoesNotMatch", "ContentMD5NotMatched")
    assert played(vector)[0] == 200, "the refused attempt spent nothing"
