"""Uploads: admitted before they are read, hashed while they are written, deleted unless the operation keeps them."""

import hashlib
import json
import os
import socket
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backfleet.endpoints import uploads
from backfleet.storage import metadata
from backfleet.wire import signing
from endpoints.openapi.server import Server
from endpoints.openapi.signed_requests import V1, V3


def keep(server: Server, body: bytes, **parts: Any) -> V3:
    return V3(server, action="Keep", version="2026-11-01", body=body, content_type="application/octet-stream", **parts)


def answered(server: Server, request: Any) -> tuple[int, dict[str, Any]]:
    status, _headers, body = server.raw(bytes(request))
    return status, json.loads(body)


def left(server: Server) -> list[str]:
    """What is in the folder of half-done uploads; it may not even have been made."""
    folder = server.services.settings.data / "incoming"
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def audited(server: Server) -> list[tuple[str, str]]:
    table = metadata.tables["audit_events"]
    with server.services.database.reading() as tx:
        return [(row.verdict, row.error_code) for row in tx.rows(sa.select(table))]


def becomes_audited(server: Server, expected: list[tuple[str, str]]) -> bool:
    """Return whether the audit trail has these events within 5 s. If the caller has gone, it is behind the answer."""
    deadline = time.monotonic() + 5
    while audited(server) != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    return audited(server) == expected


def test_an_uploaded_file_arrives(server: Server, tmp_path: Path) -> None:
    """With its size and hash, and the operation may keep it; parameters travel in the query."""
    body = os.urandom(3_000_000)
    status, found = answered(server, keep(server, body, query={"Name": "x"}).raw())
    assert (status, found["Size"], found["Sha256"]) == (200, len(body), hashlib.sha256(body).hexdigest())
    assert (tmp_path / "kept").read_bytes() == body
    assert server.seen[0][1].name == "x"
    assert left(server) == []
    assert audited(server) == [("allowed", "")]


def test_a_file_in_chunks_arrives(server: Server, tmp_path: Path) -> None:
    """Our own command line sends files so, without an announced length."""
    body = os.urandom(100_000)
    request = keep(server, body).raw().changed_header("content-length", None)
    chunked = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    request = replace(request.with_header("Transfer-Encoding", "chunked"), body=chunked)
    assert answered(server, request)[0] == 200
    assert (tmp_path / "kept").read_bytes() == body


def test_a_file_is_not_held_in_memory(server: Server) -> None:
    """32 MB pass through less than 4."""
    piece, pieces = os.urandom(1 << 20), 32
    digest = hashlib.sha256(piece * pieces).hexdigest()
    request = keep(server, b"", digest=digest).raw().changed_header("content-length", str(pieces << 20))
    tracemalloc.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(bytes(request))
            for _ in range(pieces):
                connection.sendall(piece)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_file_with_another_hash_than_was_signed_is_refused(server: Server) -> None:
    """Known only at its end: nothing is performed, no file is left, and it is audited."""
    body = os.urandom(200_000)
    request = keep(server, body).raw()
    status, found = answered(server, replace(request, body=body[:-1] + bytes([body[-1] ^ 1])))
    assert (status, found["Code"]) == (400, "SignatureDoesNotMatch")
    assert "not the hash of the request body" in found["Message"]
    assert (server.seen, left(server)) == ([], [])
    assert audited(server) == [("allowed", "SignatureDoesNotMatch")]


def test_permission_to_upload_is_checked_before_the_file_is_read(server: Server) -> None:
    """The refusal arrives before the body was sent."""
    wrong_secret = replace(server.root, access_key_secret="wrong")
    for key, code in ((server.user("ann"), "Forbidden.RAM"), (wrong_secret, "SignatureDoesNotMatch")):
        request = keep(server, b"", key=key, digest="0" * 64).raw().changed_header("content-length", "1000000")
        status, found = answered(server, request)
        assert (status in (400, 403), found["Code"]) == (True, code)
    assert (server.seen, left(server)) == ([], [])
    assert not (server.services.settings.data / "incoming").exists(), "nobody came as far as a file"


def test_an_upload_is_signed_with_v3_and_sha256(server: Server) -> None:
    """V1 does not cover a body; with SM3 the signed hash is not the artifact's name."""
    status, found = answered(server, V1(server, parameters={"Action": "Keep", "Version": "2026-11-01"}).raw())
    assert (status, found["Code"]) == (400, "IncompleteSignature")
    assert "V3" in found["Message"]
    status, found = answered(server, keep(server, b"x", algorithm="ACS3-HMAC-SM3").raw())
    assert (status, found["Code"]) == (400, "InvalidSignatureMethod")


def test_a_file_over_the_limit_is_refused(start_server: Callable[..., Server]) -> None:
    """By the announced length, before anything else; or as soon as too much has arrived."""
    server = start_server(upload_limit=100_000)
    assert answered(server, keep(server, b"x" * 100_000).raw())[0] == 200
    announced = keep(server, b"x" * 100_001).raw()
    assert answered(server, replace(announced, body=b""))[1]["Code"] == "RequestEntityTooLarge"
    chunks = b"".join(b"10000\r\n" + b"x" * 65536 + b"\r\n" for _ in range(2)) + b"0\r\n\r\n"
    unannounced = announced.changed_header("content-length", None).with_header("Transfer-Encoding", "chunked")
    assert answered(server, replace(unannounced, body=chunks))[1]["Code"] == "RequestEntityTooLarge"
    assert left(server) == []


def test_a_compressed_file_is_refused(server: Server) -> None:
    """The hash is over the bytes as they travel."""
    request = keep(server, b"x").raw().with_header("Content-Encoding", "gzip")
    assert answered(server, request)[1]["Code"] == "InvalidParameter.ContentEncoding"


def test_a_closed_connection_leaves_no_file(server: Server) -> None:
    """After half an upload."""
    request = keep(server, b"", digest="0" * 64).raw().changed_header("content-length", "1000000")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(bytes(request) + b"x" * 300_000)
        deadline = time.monotonic() + 5
        while not left(server):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert becomes_audited(server, [("allowed", "ContentLengthDoesNotMatch")])
    assert (server.seen, left(server)) == ([], [])


def test_an_upload_that_stops_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a time limit between two pieces."""
    monkeypatch.setattr(uploads, "PIECE_SECONDS", 0.2)
    request = keep(server, b"", digest="0" * 64).raw().changed_header("content-length", "1000000")
    status, found = answered(server, replace(request, body=b"x" * 1000))
    assert (status, found["Code"]) == (408, "RequestTimeout")
    assert left(server) == []


def test_a_failed_operation_leaves_no_file(server: Server, tmp_path: Path) -> None:
    """Whatever failed."""
    status, found = answered(server, keep(server, b"x" * 100, query={"Broken": "1"}).raw())
    assert (status, found["Code"]) == (500, "InternalError")
    assert left(server) == []
    assert not (tmp_path / "kept").exists()
    assert audited(server) == [("allowed", "InternalError")]


def test_the_next_upload_removes_files_of_a_killed_server(server: Server) -> None:
    """If they are old enough; a file that is still being written stays."""
    folder = server.services.settings.data / "incoming"
    folder.mkdir()
    old, fresh = folder / "upload-old", folder / "upload-fresh"
    for path in (old, fresh):
        path.write_bytes(b"x")
    long_ago = time.time() - uploads.LEFT_OVER_SECONDS - 1
    os.utime(old, (long_ago, long_ago))
    assert answered(server, keep(server, b"x").raw())[0] == 200
    assert left(server) == ["upload-fresh"]


def test_an_empty_file_is_accepted(server: Server) -> None:
    """The operation decides whether it is of use."""
    assert answered(server, keep(server, b"").raw())[1]["Sha256"] == signing.EMPTY_HASH
