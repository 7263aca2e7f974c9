"""The pipeline of a request: each step refuses with its own code, in its order, and leaves nothing behind.

The numbers in the names are those of the steps in backfleet/endpoints/openapi/pipeline.py.
"""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY

from backfleet import identity
from backfleet.endpoints.openapi import bodies
from backfleet.operations import catalogue
from backfleet.operations.catalogue import find
from backfleet.storage import metadata
from backfleet.wire import signing
from backfleet.wire.credentials import Credentials
from endpoints.openapi.server import Server
from endpoints.openapi.signed_requests import FORM, TIME, V1, V3, Raw


def answered(server: Server, request: Raw | bytes) -> tuple[int, dict[str, Any]]:
    """Return status and JSON body; check the request id and that no cache may keep the answer."""
    status, headers, body = server.raw(bytes(request))
    assert headers["content-type"] == "application/json;charset=utf-8"
    assert headers["cache-control"] == "no-store"
    found = json.loads(body)
    assert found["RequestId"] == headers["x-acs-request-id"]
    assert found["RequestId"] == found["RequestId"].upper()
    return status, found


def refusal(server: Server, request: Raw | bytes) -> tuple[int, str]:
    status, found = answered(server, request)
    assert found["HostId"] == server.host or b"http://" in bytes(request)
    assert server.seen == [], "nothing was performed"
    return status, found["Code"]


def nonces(server: Server) -> int:
    with server.services.database.reading() as tx:
        return int(tx.scalar(sa.select(sa.func.count()).select_from(metadata.tables["nonces"])))


# --- What is accepted -----------------------------------------------------------------------------------------------


def test_query_and_form_are_read_alike(server: Server) -> None:
    """Of GET and POST, `+` and `%20` alike, with and without a charset."""
    assert answered(server, V1(server, method="GET", parameters={"Name": "a b"}).raw())[1]["Name"] == "a b"
    assert answered(server, V1(server, form={"Name": "a+b"}).raw())[1]["Name"] == "a+b"
    form = V3(server, body=b"Name=a%20b&Zone.1=+", content_type=FORM).raw()
    assert answered(server, form)[1]["Name"] == "a b"
    raw = V3(server, query={"Name": "a b'(!)"}).raw()
    assert answered(server, replace(raw, target="/?Name=a%20b'(!)"))[1]["Name"] == "a b'(!)"
    all_in_form = V1(server).raw()
    body = all_in_form.target[2:].encode()
    headers = (("Host", server.host), ("Content-Type", FORM), ("Content-Length", str(len(body))))
    assert answered(server, Raw("POST", "/", headers, body))[0] == 200


def test_a_body_that_is_not_a_form_has_no_parameters(server: Server) -> None:
    """V3's hash covers it all the same."""
    status, found = answered(server, V3(server, body=b'{"Name":"x"}', content_type="application/json").raw())
    assert (status, found.get("Name")) == (200, None)


def test_raw_utf8_in_a_form_is_read(server: Server) -> None:
    """Some clients do not escape names and values."""
    assert answered(server, V3(server, body="Name=é".encode(), content_type=FORM).raw())[1]["Name"] == "é"


def test_a_header_in_latin1_is_the_text_that_was_signed(server: Server) -> None:
    """Python's HTTP library sends in Latin-1 what a client signed as UTF-8."""
    request = bytes(V3(server, extra={"x-acs-note": "é"}).raw())
    assert answered(server, request.replace("é".encode(), b"\xe9"))[0] == 200


def test_v1_requests_may_ask_for_xml(server: Server) -> None:
    """With the root element and content type that clients look for, also in errors. V3 is always JSON."""
    status, headers, body = server.raw(bytes(V1(server, parameters={"Format": "xml", "Zone.1": "a"}).raw()))
    assert (status, headers["content-type"]) == (200, "text/xml;charset=utf-8")
    root = ElementTree.fromstring(body)
    assert (root.tag, root.findtext("Zones/Zone")) == ("EchoResponse", "a")
    assert root.findtext("RequestId") == headers["x-acs-request-id"]
    status, _headers, body = server.raw(bytes(V1(server, parameters={"Format": "XML", "Wrong": "1"}).raw()))
    error = ElementTree.fromstring(body)
    assert (status, error.tag, error.findtext("Code")) == (400, "Error", "InvalidParameter")
    assert answered(server, V3(server, query={"Format": "XML"}).raw())[0] == 200


def test_one_connection_carries_many_requests(server: Server) -> None:
    """Refusals do not end it."""
    requests = [V3(server).raw(), V3(server, date="yesterday").raw(), V1(server).raw()]
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        for request, expected in zip(requests, (b"200", b"400", b"200"), strict=True):
            connection.sendall(bytes(request))
            assert connection.recv(65536).split(b" ", 2)[1] == expected


# --- What is refused, step by step ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"])
def test_2_only_get_and_post(server: Server, method: str) -> None:
    """The protocol has no other methods."""
    status, headers, body = server.raw(bytes(V3(server, method=method).raw()))
    assert status == 403
    assert headers["x-acs-request-id"]
    assert method == "HEAD" or json.loads(body)["Code"] == "UnsupportedHTTPMethod"


def test_2_malformed_requests(server: Server) -> None:
    """Bytes that are not UTF-8, NUL, a name given twice in one place or two, too many names, a compressed body."""
    host = (("host", server.host), ("content-length", "0"))
    for query in ("Action=%ff", "Action=a%00b", "A=1&A=1", "&".join(f"N{n}=" for n in range(2001))):
        assert refusal(server, Raw("GET", f"/?{query}", host)) == (400, "InvalidParameter")
    both = V1(server, parameters={"Name": "a"}, form={"Eman": "b"}).raw()
    assert refusal(server, replace(both, body=both.body.replace(b"Eman", b"Name"))) == (400, "InvalidParameter")
    for body in (b"Name=%ff", b"Name=\xff"):
        assert refusal(server, V3(server, body=body, content_type=FORM).raw()) == (400, "InvalidParameter")
    packed = V3(server, body=b"xx", content_type=FORM).raw().with_header("Content-Encoding", "gzip")
    assert refusal(server, packed)[0] == 400


def test_2_a_wrong_md5(server: Server) -> None:
    """The legacy clients send one with their forms."""
    request = V1(server, form={"Name": "a"}).raw().with_header("Content-MD5", "AAAA")
    assert refusal(server, request) == (400, "ContentMD5NotMatched")


def test_3_an_unknown_version_or_action(server: Server) -> None:
    """Version before action; an action of another version is not found."""
    assert refusal(server, V3(server, version="2000-01-01").raw()) == (400, "InvalidVersion")
    assert refusal(server, V3(server, action="Nothing").raw()) == (404, "InvalidAction.NotFound")
    assert refusal(server, V3(server, version="2014-05-26").raw()) == (404, "InvalidAction.NotFound")
    assert refusal(server, V3(server, action="").raw()) == (400, "MissingAction")
    assert refusal(server, V1(server, parameters={"Action": None}).raw()) == (400, "MissingAction")
    assert refusal(server, V1(server, parameters={"Version": None}).raw()) == (400, "MissingVersion")
    assert refusal(server, V1(server, parameters={"Version": "x"}).raw()) == (400, "InvalidVersion")


def test_3_a_v3_request_without_its_authorization(server: Server) -> None:
    """A proxy that drops the header is the likely reason; the refusal says what is missing."""
    status, found = answered(server, V3(server).raw().changed_header("authorization", None))
    assert (status, found["Code"]) == (400, "IncompleteSignature")
    assert "Authorization" in found["Message"]


def test_4_plain_http_where_the_cloud_refuses_it(start_server: Callable[..., Server]) -> None:
    """A setting; without it everything is served."""
    server = start_server(require_tls=True)
    assert refusal(server, V3(server, action="Whisper", version="2015-04-01").raw()) == (400, "InvalidProtocol.NeedSsl")
    assert answered(server, V3(server).raw())[0] == 200


@pytest.mark.parametrize(
    "name", ["AccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp"]
)
def test_5_a_missing_field_of_a_v1_request(server: Server, name: str) -> None:
    """Missing{Name}, absent or empty."""
    for value in (None, ""):
        assert refusal(server, V1(server, parameters={name: value}).raw()) == (400, f"Missing{name}")


def test_5_unsupported_signature_methods(server: Server) -> None:
    """Other methods, versions and types; and key pairs, because none can be registered yet."""
    for method in ("HMAC-SHA256", "SHA256withRSA", "ACS3-HMAC-SHA256"):
        assert refusal(server, V1(server, parameters={"SignatureMethod": method}).raw()) == (
            400,
            "InvalidSignatureMethod",
        )
    assert refusal(server, V1(server, parameters={"SignatureVersion": "2.0"}).raw()) == (400, "InvalidSignatureVersion")
    assert refusal(server, V1(server, parameters={"SignatureType": "WHAT"}).raw()) == (400, "InvalidParameter")
    for algorithm in ("ACS3-HMAC-MD5", "ACS3-RSA-SHA256"):
        header = f"{algorithm} Credential=a,SignedHeaders=host,Signature=00"
        request = V3(server).raw().changed_header("authorization", header)
        assert refusal(server, request) == (400, "InvalidSignatureMethod")


def test_5_bearer_tokens_are_refused(server: Server) -> None:
    """In the forms of both versions, and before a missing field is reported."""
    bearer = {"SignatureType": "BEARERTOKEN", "BearerToken": "t", "AccessKeyId": None, "Signature": None}
    assert refusal(server, V1(server, parameters=bearer).raw()) == (400, "IncompleteSignature")
    v3 = (("host", server.host), ("x-acs-action", "Echo"), ("x-acs-version", "2017-09-08"), ("x-acs-bearer-token", "t"))
    assert refusal(server, Raw("POST", "/?SignatureType=BEARERTOKEN", v3)) == (400, "IncompleteSignature")


def test_5_invalid_security_tokens(server: Server) -> None:
    """A token of another server, and a temporary key without its token."""
    token = {"SecurityToken": "t"}
    assert refusal(server, V1(server, parameters=token).raw()) == (400, "InvalidSecurityToken.Malformed")
    assert refusal(server, V3(server, extra={"x-acs-security-token": "t"}).raw()) == (
        400,
        "InvalidSecurityToken.Malformed",
    )
    temporary = Credentials("STS.x", "y")
    for request in (V1(server, key=temporary).raw(), V3(server, key=temporary).raw()):
        assert refusal(server, request) == (400, "MissingSecurityToken")


@pytest.mark.parametrize("name", sorted(signing.MUST_BE_SIGNED))
def test_5_v3_headers_that_must_be_signed(server: Server, name: str) -> None:
    """A header that the signature does not cover could be changed on the way."""
    request = V3(server).raw()
    headers = dict(request.headers)
    signed = signing.read_authorization(headers["authorization"]).signed_headers
    partial = headers["authorization"].replace(";".join(signed), ";".join(n for n in signed if n != name))
    assert refusal(server, request.changed_header("authorization", partial)) == (400, "IncompleteSignature")


def test_5_v3_headers_that_were_added_or_doubled(server: Server) -> None:
    """An unsigned x-acs header; a signed one that comes twice or not at all; two Authorization headers."""
    request = V3(server).raw()
    assert refusal(server, request.with_header("x-acs-extra", "1")) == (400, "IncompleteSignature")
    assert refusal(server, request.with_header("X-Acs-Version", "2017-09-08")) == (400, "IncompleteSignature")
    assert refusal(server, request.with_header("Authorization", "ACS3-")) == (400, "IncompleteSignature")
    header = dict(request.headers)["authorization"].replace("host;", "host;user-agent;")
    assert refusal(server, request.changed_header("authorization", header)) == (400, "IncompleteSignature")
    for name, code in (("x-acs-date", "MissingTimestamp"), ("x-acs-signature-nonce", "MissingSignatureNonce")):
        assert refusal(server, request.changed_header(name, None)) == (400, code)
    assert refusal(server, request.changed_header("authorization", "ACS3-HMAC-SHA256 x")) == (
        400,
        "IncompleteSignature",
    )


def test_6_unknown_and_disabled_keys(server: Server) -> None:
    """Each has its code, whatever the signature; a key id that no database could hold is not found."""
    for key_id in ("LTAInobody", "x\x01", "é" * 300, "'; --"):
        unknown = Credentials(key_id, "x")
        assert refusal(server, V1(server, key=unknown).raw()) == (404, "InvalidAccessKeyId.NotFound")
    ann = server.user("ann", "AdministratorAccess")
    with server.services.database.transaction() as tx:
        account = server.root_caller.account_id
        identity.set_key(tx, account, "ann", ann.access_key_id, active=False)
    for request in (V1(server, key=ann).raw(), V3(server, key=ann).raw()):
        assert refusal(server, request) == (400, "InvalidAccessKeyId.Inactive")


def test_6_a_key_that_has_signed_counts_as_what_it_is_now(server: Server) -> None:
    """From the next request on, whatever the server remembers of it; nothing of a refused one is left behind."""
    ann, account = server.user("ann", "AdministratorAccess"), server.root_caller.account_id

    def change(verb: Callable[..., object], *words: str, **more: Any) -> None:
        with server.services.database.transaction() as tx:
            verb(tx, account, *words, **more)

    def names() -> list[str]:
        for request in (V3(server, key=ann).raw(), V1(server, key=ann).raw(), V3(server, key=ann).raw()):
            assert answered(server, request)[0] == 200
        callers = [call.caller.user_name for call, _ in server.seen]
        server.seen.clear()
        return callers

    assert names() == ["ann"] * 3
    again = V3(server, key=ann).raw()
    assert answered(server, again)[0] == 200
    server.seen.clear()
    assert refusal(server, again) == (400, "SignatureNonceUsed")
    change(identity.update_user, "ann", new_name="bea", now=server.clock())
    assert names() == ["bea"] * 3
    spent = nonces(server)
    change(identity.set_key, "bea", ann.access_key_id, active=False)
    assert refusal(server, V3(server, key=ann).raw()) == (400, "InvalidAccessKeyId.Inactive")
    assert refusal(server, V1(server, key=replace(ann, access_key_secret="x")).raw()) == (
        400,
        "InvalidAccessKeyId.Inactive",
    )
    change(identity.set_key, "bea", ann.access_key_id, active=True)
    assert nonces(server) == spent
    assert names() == ["bea"] * 3
    assert refusal(server, V3(server, key=replace(ann, access_key_secret="x")).raw())[1] == "SignatureDoesNotMatch"
    change(identity.delete_key, "bea", ann.access_key_id)
    assert refusal(server, V3(server, key=ann).raw()) == (404, "InvalidAccessKeyId.NotFound")


@pytest.mark.parametrize("seconds", [-901, 901])
def test_7_too_old_or_from_the_future(server: Server, seconds: int) -> None:
    """Fifteen minutes, either way."""
    server.clock.stopped_at = server.clock().replace(microsecond=0)
    then = (server.clock() + timedelta(seconds=seconds)).strftime(TIME)
    assert refusal(server, V3(server, date=then).raw()) == (400, "InvalidTimeStamp.Expired")
    assert refusal(server, V1(server, parameters={"Timestamp": then}).raw()) == (400, "InvalidTimeStamp.Expired")
    assert (
        f"signed at {then} and this server's clock shows" in answered(server, V3(server, date=then).raw())[1]["Message"]
    )
    just = (server.clock() + timedelta(seconds=900 if seconds > 0 else -900)).strftime(TIME)
    assert answered(server, V3(server, date=just).raw())[0] == 200


@pytest.mark.parametrize("text", ["now", "2026-01-02 03:04:05", "2026-01-02T03:04:05+00:00", "2026-13-02T03:04:05Z"])
def test_7_malformed_times(server: Server, text: str) -> None:
    """There is one format."""
    assert refusal(server, V3(server, date=text).raw()) == (400, "InvalidTimeStamp.Format")
    assert refusal(server, V1(server, parameters={"Timestamp": text}).raw()) == (400, "InvalidTimeStamp.Format")


def test_8_wrong_signatures(server: Server) -> None:
    """Wrong secret, or another parameter, body, nonce, time or host than was signed: nothing is spent."""
    wrong = replace(server.root, access_key_secret="wrong")
    v1, v3 = V1(server, parameters={"Name": "a"}).raw(), V3(server, query={"Name": "a"}).raw()
    form = V3(server, body=b"Name=a", content_type=FORM).raw()
    later = (server.clock() + timedelta(seconds=2)).strftime(TIME)
    for request in (
        V1(server, key=wrong).raw(),
        V3(server, key=wrong).raw(),
        replace(v1, target=v1.target.replace("Name=a", "Name=b")),
        replace(v1, target=v1.target.replace("nonce-", "nonce-x")),
        replace(v1, method="GET"),
        V1(server, parameters={"Signature": "bm8="}).raw(),
        replace(v3, target="/?Name=b"),
        replace(v3, target="/?Name=a&More="),
        replace(v3, method="GET"),
        v3.changed_header("host", "other:1").changed_header("Host", None),
        v3.changed_header("x-acs-date", later),
        v3.changed_header("x-acs-signature-nonce", "mine"),
        replace(form, body=b"Name=b"),
        form.changed_header("content-type", "text/plain"),
        V3(server, body=b"Name=a", content_type=FORM, digest=signing.EMPTY_HASH).raw(),
    ):
        status, found = answered(server, request)
        assert (status, found["Code"]) == (400, "SignatureDoesNotMatch"), request
        assert "server string to sign is:" in found["Message"]
    assert server.seen == []
    assert nonces(server) == 0


def test_8_a_body_with_another_hash_is_explained(server: Server) -> None:
    """The most likely mistake has a sentence of its own."""
    request = replace(V3(server, body=b"Name=a", content_type=FORM).raw(), body=b"Name=b")
    assert "not the hash of the request body" in answered(server, request)[1]["Message"]


def test_8_the_canonical_request_is_shown_up_to_a_length(server: Server) -> None:
    """It helps to debug a signature; the answer stays small however long the request was."""
    wrong = replace(server.root, access_key_secret="wrong")
    message = answered(server, V3(server, key=wrong, query={"Name": "n" * 50_000}).raw())[1]["Message"]
    assert "x-acs-action:Echo" in answered(server, V3(server, key=wrong).raw())[1]["Message"]
    assert len(message) < 5_000


def test_10_a_nonce_is_accepted_once(server: Server) -> None:
    """The same bytes again; the same nonce in another request; but another key's nonces are its own."""
    for request in (V1(server).raw(), V3(server).raw()):
        assert answered(server, request)[0] == 200
        status, found = answered(server, request)
        assert (status, found["Code"]) == (400, "SignatureNonceUsed")
    once = V3(server, nonce="mine")
    assert answered(server, once.raw())[0] == 200
    assert answered(server, replace(once, query={"Name": "other"}).raw())[1]["Code"] == "SignatureNonceUsed"
    ann = server.user("ann", "AdministratorAccess")
    assert answered(server, replace(once, key=ann).raw())[0] == 200
    assert answered(server, V3(server, nonce="n" * 5000).raw())[0] == 200


def test_10_of_copies_sent_at_once_one_is_accepted(server: Server) -> None:
    """A replay that races with its original."""
    request = bytes(V3(server).raw())
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(status for status, _, _ in pool.map(server.raw, [request] * 8))
    assert statuses == [200] + [400] * 7
    assert len(server.seen) == 1


def test_10_a_nonce_is_remembered_longer_than_its_request_is_valid(server: Server) -> None:
    """After a purge at the last moment at which the request is in time, it is still refused."""
    server.clock.stopped_at = server.clock().replace(microsecond=0)
    ahead = (server.clock() + timedelta(seconds=900)).strftime(TIME)
    request = V3(server, date=ahead).raw()
    assert answered(server, request)[0] == 200
    server.clock.stopped_at += timedelta(seconds=1800)
    with server.services.database.transaction() as tx:
        identity.purge_nonces(tx, now=server.clock())
    assert answered(server, request)[1]["Code"] == "SignatureNonceUsed"


def test_11_permission_comes_before_parameters(server: Server) -> None:
    """A caller without permission learns nothing about parameters."""
    ann = server.user("ann")
    status, found = answered(server, V3(server, key=ann, query={"Wrong": "perhaps"}).raw())
    assert (status, found["Code"]) == (403, "NoPermission")
    assert answered(server, V3(server, query={"Wrong": "perhaps"}).raw())[1]["Code"] == "InvalidParameter"


def test_11_conditions_see_the_connection_and_not_its_claims(server: Server) -> None:
    """Clients can send SourceIp and SecureTransport; these are ignored."""
    document = {
        "Version": "1",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "hbr:Echo",
                "Resource": "*",
                "Condition": {"IpAddress": {"acs:SourceIp": ["10.0.0.0/8"]}},
            }
        ],
    }
    ann = server.user("ann", document=json.dumps(document))
    lies = {"SourceIp": "10.1.2.3", "SecureTransport": "true"}
    assert answered(server, V1(server, key=ann, parameters=lies).raw())[1]["Code"] == "NoPermission"


# --- Limits ---------------------------------------------------------------------------------------------------------


def test_1_bodies_over_the_limit(server: Server) -> None:
    """By the announced length, before a byte is read; and by what arrives, if none was announced."""
    large = b"Name=" + b"x" * (1 << 20)
    announced = V3(server, body=large, content_type=FORM).raw()
    assert refusal(server, replace(announced, body=b"")) == (413, "RequestEntityTooLarge")
    unannounced = announced.changed_header("content-length", None).with_header("Transfer-Encoding", "chunked")
    chunks = b"".join(b"10000\r\n" + b"x" * 65536 + b"\r\n" for _ in range(17))
    assert refusal(server, replace(unannounced, body=chunks + b"0\r\n\r\n")) == (413, "RequestEntityTooLarge")
    just = V3(server, body=b"x" * (1 << 20), content_type="text/plain").raw()
    assert answered(server, just)[0] == 200


def test_1_a_body_that_does_not_arrive(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server waits for it, but not for ever."""
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)
    request = replace(V3(server, body=b"Name=a", content_type=FORM).raw(), body=b"Na")
    assert refusal(server, request) == (408, "RequestTimeout")


def test_1_a_request_line_of_100_kilobytes_and_an_endless_one(server: Server) -> None:
    """The former carries files and scripts; the HTTP server refuses the latter, and does not log it."""
    assert answered(server, V3(server, query={"Name": "+" * 70_000}).raw())[0] == 200
    status, _headers, _body = server.raw(b"GET /?SecurityToken=" + b"x" * 300_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 400


def test_a_closed_connection_is_not_an_error(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """No traceback, no answer, and the server goes on."""
    caplog.set_level(logging.INFO)
    request = replace(V3(server, body=b"Name=a", content_type=FORM).raw(), body=b"Na")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(bytes(request)[:1])  # which alone says that the HTTP server reads it
        time.sleep(0.1)
        connection.sendall(bytes(request)[1:])
    assert answered(server, V3(server).raw())[0] == 200
    deadline = time.monotonic() + 5
    while len(codes := [vars(r)["code"] for r in caplog.records if "code" in vars(r)]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert sorted(codes) == ["ContentLengthDoesNotMatch", "OK"]
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


def test_other_paths_are_not_found(server: Server) -> None:
    """Agents, downloads and health checks have their own."""
    request = V3(server).raw()
    for path in ("/luban/api", "/downloads/x", "/healthz", "/api"):
        assert server.raw(bytes(replace(request, target=path)))[0] == 404


# --- Answers, logs and metrics --------------------------------------------------------------------------------------


def test_logs_have_names_and_no_secrets(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Request id, product, action and code as fields; no parameter, signature, nonce or token anywhere."""
    caplog.set_level(logging.DEBUG)
    secret = {"Name": "hush-hush", "SecurityToken": "hush-token"}
    request = V1(server, parameters=secret).raw()
    answered(server, request)
    server.raw(b"GET /?SecurityToken=hush-token&x=\xff HTTP/1.1\r\nHost: x\r\n\r\n")
    found = answered(server, V1(server, parameters={"Name": "hush-hush", "SignatureNonce": "hush-nonce"}).raw())[1]
    answered(server, V1(server, parameters={"Name": "hush-hush", "Broken": "1"}).raw())
    texts = [logging.Formatter().format(record) + str(vars(record)) for record in caplog.records]
    assert not [text for text in texts if "hush" in text]
    assert not [text for text in texts if server.root.access_key_secret in text]
    done = next(r for r in caplog.records if getattr(r, "request_id", "") == found["RequestId"])
    fields = vars(done)
    assert (fields["product"], fields["action"], fields["code"], fields["status"]) == ("hbr", "Echo", "OK", 200)
    malformed = [r for r in caplog.records if r.name == "backfleet.http"]
    assert [(r.levelname, r.exc_info) for r in malformed] == [("INFO", None)]


def count(product: str, action: str, code: str) -> float:
    labels = {"product": product, "action": action, "code": code}
    return REGISTRY.get_sample_value("backfleet_api_requests_total", labels) or 0.0


def test_metrics_count_known_names_only(server: Server) -> None:
    """By product, action and code; unknown actions make no new series."""
    before = count("hbr", "Echo", "OK"), count("", "", "InvalidAction.NotFound")
    answered(server, V3(server).raw())
    answered(server, V3(server, action="MadeUp").raw())
    assert (count("hbr", "Echo", "OK"), count("", "", "InvalidAction.NotFound")) == (before[0] + 1, before[1] + 1)
    samples = [sample for metric in REGISTRY.collect() for sample in metric.samples]
    assert not [sample for sample in samples if "MadeUp" in sample.labels.values()]


def test_many_callers_at_once(server: Server) -> None:
    """More than there are threads; each gets its own answer."""
    requests = [(str(n), bytes(V3(server, query={"Name": str(n)}).raw())) for n in range(60)]
    with ThreadPoolExecutor(30) as pool:
        bodies_found = list(pool.map(lambda pair: (pair[0], json.loads(server.raw(pair[1])[2])), requests))
    assert all(found["Name"] == name for name, found in bodies_found)
    assert len({found["RequestId"] for _, found in bodies_found}) == 60
    assert threading.active_count() < 60


def test_an_odd_host_is_echoed_harmlessly(server: Server) -> None:
    """HostId is the Host header, cut to a limited length, whatever bytes it had."""
    target = f"/?{urlencode({'Action': 'Echo'})}"
    request = f"GET {target} HTTP/1.1\r\nHost: ".encode() + b"\xff<&" + b"x" * 1000 + b"\r\n\r\n"
    status, _headers, body = server.raw(request)
    assert status == 400
    assert len(json.loads(body)["HostId"]) == 255


@pytest.mark.parametrize("at", ["proving", "performing"])
def test_an_unavailable_database_is_a_temporary_failure(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, at: str
) -> None:
    """Clients try again after it; nothing of the database's error is shown."""

    def away(*_what: Any, **_more: Any) -> Any:
        raise sa.exc.OperationalError("SELECT hush", {}, Exception("connection refused by db.internal"))

    def away_later(call: Any, _asked: Any) -> Any:
        with call.services.database.reading():
            away()

    if at == "proving":
        monkeypatch.setattr(identity, "find_key", away)
    else:
        broken = replace(find("2017-09-08", "Echo"), run=away_later)
        monkeypatch.setitem(catalogue._OPERATIONS, ("2017-09-08", "Echo"), broken)
    status, found = answered(server, V3(server).raw())
    assert (status, found["Code"]) == (503, "ServiceUnavailable")
    assert "hush" not in json.dumps(found) + caplog.text
    assert "db.internal" not in json.dumps(found)
