"""Adding a release over the wire: a signed request whose body is the file."""

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from backfleet import identity, releases
from backfleet.ids import draw as really_draw
from backfleet.operations.catalogue import Services
from backfleet.settings import Settings
from backfleet.storage import Database
from backfleet.wire.credentials import Credentials
from endpoints.openapi.server import Server, SettableClock, listen
from endpoints.openapi.signed_requests import V3
from releases.artifacts import file, program, tar

NAMES = {"PackageName": "rclone", "ReleaseVersion": "1.75.2", "Platform": "linux-amd64", "Format": "tar"}


@pytest.fixture
def server(sqlite_database: Database, tmp_path: Path) -> Iterator[Server]:
    """A server with the first signed metadata."""
    clock = SettableClock()
    repository = releases.Repository.open(tmp_path)
    services = Services(
        sqlite_database, Settings(data=tmp_path), identity.Vault.open(tmp_path), repository, really_draw
    )
    with sqlite_database.transaction() as tx:
        releases.refresh(tx, repository, now=clock())
        key = identity.first_account(tx, services.vault, now=clock(), draw=services.draw)
    assert key is not None
    host, stop = listen(services, clock)
    yield Server(services, clock, host, Credentials(key.access_key_id, key.access_key_secret), [])
    stop()


def add(server: Server, body: bytes, **changes: str) -> tuple[int, dict[str, object]]:
    request = V3(
        server,
        action="AddRelease",
        version="2026-11-01",
        body=body,
        content_type="application/octet-stream",
        query={**NAMES, **changes},
    )
    status, _headers, answer = server.raw(bytes(request.raw()))
    return status, json.loads(answer)


def left(server: Server) -> list[str]:
    """Return the files in the folder of uploads and among the artifacts."""
    data = server.services.settings.data
    folders = [folder for folder in (data / "incoming", data / "artifacts") if folder.exists()]
    return sorted(path.name for folder in folders for path in folder.iterdir())


def test_a_file_becomes_a_release(server: Server, now: datetime) -> None:
    """Three incompressible megabytes, streamed; sent again, they change nothing and leave nothing over."""
    body = tar(program("rclone", "1.75.2"), file("data", os.urandom(3_000_000)), compression="gz")
    digest = hashlib.sha256(body).hexdigest()
    for is_new in (True, False):
        status, answer = add(server, body)
        assert (status, answer["Added"]) == (200, is_new)
        assert left(server) == [digest]
    with server.services.database.reading() as tx:
        found = releases.find(tx, "rclone", "1.75.2", "linux-amd64")
    assert found is not None
    assert (found.sha256, found.size) == (digest, len(body))


def test_a_refused_file_is_deleted(server: Server) -> None:
    """The error is that of the operation; no part of the file stays."""
    status, answer = add(server, tar(file("README")))
    assert (status, answer["Code"]) == (400, "InvalidParameter.Release")
    status, answer = add(server, b"")
    assert (status, answer["Code"]) == (400, "MissingParameter")
    assert left(server) == []
    assert add(server, tar(program("rclone")))[0] == 200
    assert add(server, tar(program("rclone", "other")))[0] == 409
