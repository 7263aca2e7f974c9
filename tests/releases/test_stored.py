"""Artifacts in an object store: what a folder has of them, and what makes space there."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from backfleet import releases
from backfleet.object_store import Trouble, WrongBytes
from backfleet.releases import Stored
from backfleet.storage import Database
from object_stores import ObjectStore

DAY = 86_400.0


def content(number: int, size: int = 1000) -> tuple[str, bytes]:
    made = str(number).encode() * size
    return hashlib.sha256(made).hexdigest(), made


def stored(store: ObjectStore, folder: Path, most_bytes: int = 1 << 30, seconds: float = 0.0) -> Stored:
    """Return the artifacts of a replica with a folder of its own."""
    folder.mkdir(exist_ok=True)
    bucket = store.bucket(call_seconds=5.0, retry_seconds=5.0)
    return Stored(bucket, folder, most_bytes=most_bytes, most_of_one=1 << 20, seconds=lambda: seconds)


def test_two_replicas_have_the_same_artifacts_and_no_common_folder(object_store: ObjectStore, tmp_path: Path) -> None:
    sha256, made = content(1)
    (tmp_path / "upload").write_bytes(made)
    stored(object_store, tmp_path / "first").put(tmp_path / "upload", sha256)
    second = stored(object_store, tmp_path / "second")
    assert second.fetch(sha256).read_bytes() == made
    object_store.faults.plan = lambda method, path: (500, "InternalError")
    assert second.fetch(sha256) == tmp_path / "second" / sha256  # from the folder: nobody is asked


def test_many_at_once_fetch_an_artifact_once(object_store: ObjectStore, tmp_path: Path) -> None:
    sha256, made = content(1)
    object_store.write(sha256, made)
    object_store.faults.plan = lambda method, path: 0.3
    replica = stored(object_store, tmp_path / "folder")
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(replica.fetch, [sha256] * 8))) == 1
    assert [method for method, _ in object_store.faults.calls].count("GET") == 1


def test_what_was_not_asked_for_longest_makes_space(object_store: ObjectStore, tmp_path: Path) -> None:
    replica, names = stored(object_store, tmp_path / "folder", most_bytes=2500), []
    for number in range(3):
        sha256, made = content(number)
        object_store.write(sha256, made)
        names.append(sha256)
    for age, name in ((300, names[0]), (200, names[1])):
        path = replica.fetch(name)
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    replica.note_use(tmp_path / "folder" / names[0])
    replica.fetch(names[2])
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {names[0], names[2]}


def test_what_only_this_folder_has_stays(object_store: ObjectStore, tmp_path: Path) -> None:
    replica = stored(object_store, tmp_path / "folder", most_bytes=1500)
    here, made = content(1)
    (tmp_path / "folder" / here).write_bytes(made)
    there, other = content(2)
    object_store.write(there, other)
    with pytest.raises(Trouble, match=r"does not fit: raise artifacts_cache_bytes, which is 1500"):
        replica.fetch(there)
    object_store.write(here, made)
    replica.fetch(there)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == [there]


def test_a_tampered_object_leaves_no_file(object_store: ObjectStore, tmp_path: Path) -> None:
    sha256, made = content(1)
    object_store.write(sha256, made[::-1] + b"x")
    with pytest.raises(WrongBytes):
        stored(object_store, tmp_path / "folder").fetch(sha256)
    assert list((tmp_path / "folder").iterdir()) == []


def test_parts_of_killed_processes_are_removed_after_a_day(object_store: ObjectStore, tmp_path: Path) -> None:
    sha256, made = content(1)
    object_store.write(sha256, made)
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, seconds in ((".old.partial", 0.0), (".new.partial", DAY)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (seconds, seconds))
    stored(object_store, folder, seconds=DAY + 1).fetch(sha256)
    assert {path.name for path in folder.iterdir()} == {".new.partial", sha256}


def test_the_store_gets_what_it_lacks_and_the_folder_has(
    object_store: ObjectStore,
    tmp_path: Path,
    shop: Database,
    prepare: Callable[..., releases.Prepared],
    repository: releases.Repository,
    now: datetime,
) -> None:
    """As after a restore, after the setting was made, and after somebody deleted or cut an object."""
    added = [prepare(version) for version in ("1.75.2", "1.75.3")]
    with shop.transaction() as tx:
        for one in added:
            releases.add(tx, repository, one, channel="stable", now=now)
    artifacts = repository.path_of(added[0].sha256).parent
    shared = releases.Repository(artifacts, {}, stored(object_store, artifacts))
    object_store.write(added[1].sha256, b"cut")
    assert not releases.upload_missing(shop, shared)
    for one in added:
        assert object_store.read(one.sha256) == repository.path_of(one.sha256).read_bytes()
    object_store.faults.calls.clear()
    releases.upload_missing(shop, shared)
    assert [method for method, _ in object_store.faults.calls] == ["GET"]  # the list alone


def test_a_store_that_is_away_stops_no_worker(
    object_store: ObjectStore, tmp_path: Path, shop: Database, caplog: pytest.LogCaptureFixture
) -> None:
    object_store.faults.plan = lambda method, path: (403, "AccessDenied")
    replica = stored(object_store, tmp_path / "folder")
    assert not releases.upload_missing(shop, releases.Repository(tmp_path / "folder", {}, replica))
    assert "artifacts are not compared with the object store: s3://" in caplog.text
    assert not releases.upload_missing(shop, releases.Repository(tmp_path / "folder", {}))
