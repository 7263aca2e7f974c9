"""Hosts download artifacts that this server has only in an object store."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backfleet import releases
from backfleet.endpoints.downloads import _from_store
from backfleet.releases import Stored
from backfleet.storage import Database
from endpoints.downloads.conftest import DownloadServer, serving
from object_stores import ObjectStore


@pytest.fixture
def replica(
    object_store: ObjectStore, tmp_path: Path, _keys: Path, sqlite_database: Database, unsigned_server: DownloadServer
) -> Iterator[DownloadServer]:
    """An endpoint whose artifacts are in an object store, with a release that it has not there."""
    folder = tmp_path / "replica"
    folder.mkdir()
    (folder / "keys").symlink_to(_keys / "keys")
    bucket = object_store.bucket(call_seconds=2.0, retry_seconds=2.0)
    stored = Stored(bucket, folder / "artifacts", most_bytes=1 << 30, most_of_one=1 << 30)
    unsigned_server.repository = releases.Repository.open(folder, stored)
    unsigned_server.sign()
    with serving(unsigned_server, None):
        yield unsigned_server


def add(replica: DownloadServer, version: str = "1.75.2") -> releases.Release:
    """Add a release, and lose what this server has of it."""
    added = replica.add(version)
    replica.repository.path_of(added.sha256).unlink()
    return added


def test_an_artifact_comes_from_the_store_once(replica: DownloadServer, object_store: ObjectStore) -> None:
    added = add(replica)
    first = replica.get(f"/artifacts/{added.sha256}")
    assert first.status == 200
    assert hashlib.sha256(first.data).hexdigest() == added.sha256
    object_store.faults.calls.clear()
    part = replica.get(f"/targets/rclone/1.75.2/{added.sha256}.linux-amd64", Range="bytes=10-")
    assert (part.status, part.data) == (206, first.data[10:])
    assert object_store.faults.calls == []


def test_a_part_can_be_asked_for_first(replica: DownloadServer) -> None:
    """A host goes on with a download that began on another replica."""
    added = add(replica)
    part = replica.get(f"/artifacts/{added.sha256}", Range=f"bytes={added.size - 5}-")
    assert (part.status, len(part.data)) == (206, 5)
    assert replica.get(f"/artifacts/{added.sha256}", "HEAD").headers["Content-Length"] == str(added.size)


def test_no_host_gets_a_byte_of_a_tampered_object(
    replica: DownloadServer, object_store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    added = add(replica)
    object_store.write(added.sha256, b"x" * added.size)
    answer = replica.get(f"/artifacts/{added.sha256}")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert answer.data == b"the object store does not give the artifact; the server's log says why\n"
    assert "has other bytes than its name says" in caplog.text
    replica.add("1.75.2")  # the same file again puts it right
    replica.repository.path_of(added.sha256).unlink()
    assert replica.get(f"/artifacts/{added.sha256}").status == 200


def test_an_object_that_was_deleted_is_not_found(replica: DownloadServer, object_store: ObjectStore) -> None:
    added = add(replica)
    object_store.delete(added.sha256)
    assert replica.get(f"/artifacts/{added.sha256}").status == 404


def test_a_store_that_is_away_is_asked_again(replica: DownloadServer, object_store: ObjectStore) -> None:
    added = add(replica)
    object_store.faults.plan = lambda method, path: (503, "SlowDown")
    assert replica.get(f"/artifacts/{added.sha256}").status == 503
    object_store.faults.plan = lambda method, path: None
    assert replica.get(f"/artifacts/{added.sha256}").status == 200


def test_a_slow_store_keeps_no_host_waiting(
    replica: DownloadServer, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_from_store, "WAIT_SECONDS", 0.2)
    added = add(replica)
    object_store.faults.plan = lambda method, path: 1.0
    answer = replica.get(f"/artifacts/{added.sha256}")
    assert (answer.status, answer.data) == (503, b"the artifact is still on its way from the object store\n")
    until = time.monotonic() + 60
    while replica.get(f"/artifacts/{added.sha256}").status != 200:
        assert time.monotonic() < until
    assert [method for method, _ in object_store.faults.calls].count("GET") == 1


@pytest.mark.parametrize("name", ["ab" * 32, "x", ".backfleet-check"])
def test_names_that_are_no_release_s_are_not_asked_for(
    replica: DownloadServer, object_store: ObjectStore, name: str
) -> None:
    add(replica)
    object_store.write("ab" * 32, b"of another program")
    object_store.faults.calls.clear()
    assert replica.get(f"/artifacts/{name}").status == 404
    assert object_store.faults.calls == []
