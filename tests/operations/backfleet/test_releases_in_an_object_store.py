"""AddRelease where artifacts are in an object store: first the object, then the release."""

import hashlib
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backfleet import releases
from backfleet.releases import Stored
from object_stores import KEY, SECRET, ObjectStore
from releases.artifacts import file, program, tar

Api = Any  # the fixtures' class lives in conftest.py

NOISE = random.Random(7).randbytes(100_000)
CLIENT = tar(program("rclone", "1.75.2"), compression="gz")


@pytest.fixture
def shared(api: Api, object_store: ObjectStore, tmp_path: Path) -> Api:
    """The API of a server whose artifacts are in an object store."""
    bucket = object_store.bucket(call_seconds=2.0, retry_seconds=1.0)
    stored = Stored(bucket, tmp_path / "artifacts", most_bytes=1 << 30, most_of_one=1 << 30)
    api.services = replace(api.services, repository=releases.Repository.open(tmp_path, stored))
    return api


def test_a_release_is_in_the_store_before_it_is_offered(shared: Api, object_store: ObjectStore) -> None:
    assert shared.add()["Added"]
    sha256 = hashlib.sha256(CLIENT).hexdigest()
    assert object_store.read(sha256) == CLIENT
    object_store.delete(sha256)
    assert not shared.add()["Added"]  # adding the same file again brings the object back
    assert object_store.read(sha256) == CLIENT


def test_a_store_that_refuses_is_a_sentence_and_no_release(shared: Api, object_store: ObjectStore) -> None:
    object_store.faults.plan = lambda method, path: (403, "AccessDenied")
    answer = shared.add()
    text = answer["Message"]
    assert (answer["Status"], answer["Code"]) == (503, "ObjectStoreUnavailable")
    assert text.startswith(f"The artifact is not stored, and the release not added: {object_store.url} cannot be writt")
    assert "it needs to list the bucket, and to get and put objects there (AccessDenied)." in text
    assert KEY not in text
    assert SECRET not in text
    assert shared("ListReleases")["Releases"] == []
    object_store.faults.plan = lambda method, path: None
    assert shared.add()["Added"]


def finding(shared: Api) -> dict[str, Any]:
    (found,) = [each for each in shared("GetServerHealth")["Findings"] if each["Code"] == "ObjectStore"]
    return dict(found)


def test_doctor_writes_to_the_store_lists_it_and_reads(shared: Api, object_store: ObjectStore) -> None:
    """A store that refuses or is silent is an error with what to do; without a store there is no such finding."""
    assert finding(shared)["Severity"] == "Ok"
    object_store.faults.plan = lambda method, path: (403, "AccessDenied") if method == "PUT" else None
    refused = finding(shared)
    assert refused["Severity"] == "Error"
    assert "cannot be written" in refused["Found"]
    assert "artifacts_" in refused["Advice"]
    assert SECRET not in str(refused)
    shared.services = replace(shared.services, repository=releases.Repository.open(shared.services.settings.data))
    assert "ObjectStore" not in {each["Code"] for each in shared("GetServerHealth")["Findings"]}


def test_a_delta_is_made_of_what_only_the_store_has(shared: Api, object_store: ObjectStore, tmp_path: Path) -> None:
    """Where it cannot be had now, the delta is made later."""
    contents = {v: tar(program("rclone", v), file("noise", NOISE), compression="gz") for v in ("1.75.1", "1.75.2")}
    for version, content in contents.items():
        assert shared.add(content, ReleaseVersion=version)["Added"]
        (tmp_path / "artifacts" / hashlib.sha256(content).hexdigest()).unlink()
    services = shared.services

    def deltas() -> list[str]:
        while releases.make_deltas_once(services.database, services.repository, now=shared.now, megabytes=1024):
            pass
        shown = shared("GetRelease", PackageName="rclone", ReleaseVersion="1.75.2", Platform="linux-amd64")
        return [each["FromVersion"] for each in shown["Release"]["Deltas"]]

    object_store.faults.plan = lambda method, path: (403, "AccessDenied")
    assert deltas() == []
    object_store.faults.plan = lambda method, path: None
    assert deltas() == ["1.75.1"]
