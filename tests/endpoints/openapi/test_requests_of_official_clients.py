"""Requests as official clients make them that differ from what the protocol's pages say."""

import json

import pytest

from endpoints.openapi.server import Server
from endpoints.openapi.signed_requests import FORM, V1, V3, Raw

SOMEWHERE = "backup.example.com:8443"


def answer(server: Server, request: Raw) -> tuple[int, str]:
    status, _headers, body = server.raw(bytes(request))
    return status, json.loads(body).get("Code", "")


def test_a_v3_signature_without_the_host_is_taken(server: Server) -> None:
    """The Java core never signs it. Whatever it signs must be what arrived, and all else must be signed."""
    request = V3(server, unsigned=frozenset({"host"}), query={"Name": "a"}).raw()
    assert "SignedHeaders=host" not in str(request.headers)
    assert answer(server, request.changed_header("host", SOMEWHERE)) == (200, "200")
    assert answer(server, V3(server).raw().changed_header("host", SOMEWHERE)) == (400, "SignatureDoesNotMatch")
    for name in ("x-acs-action", "x-acs-date"):
        unsigned = V3(server, unsigned=frozenset({"host", name})).raw()
        assert answer(server, unsigned) == (400, "IncompleteSignature")


def test_a_request_without_a_signed_host_is_done_once(server: Server) -> None:
    """It could be sent to another host of the same keys; here its nonce is used up."""
    request = V3(server, unsigned=frozenset({"host"})).raw()
    assert answer(server, request) == (200, "200")
    assert answer(server, request) == (400, "SignatureNonceUsed")
    assert len(server.seen) == 1


@pytest.mark.parametrize("version", [1, 3])
def test_the_same_value_in_query_and_form_is_one(server: Server, version: int) -> None:
    """As the legacy Go client sends RegionId; another value is refused by its name."""
    for second, expected in (("a", (200, "200")), ("b", (400, "InvalidParameter"))):
        if version == 1:
            request = V1(server, parameters={"Name": "a"}, form={"Name": second}).raw()
        else:
            request = V3(server, query={"Name": "a"}, body=f"Name={second}".encode(), content_type=FORM).raw()
        assert answer(server, request) == expected
    assert [asked.name for _, asked in server.seen] == ["a"]
