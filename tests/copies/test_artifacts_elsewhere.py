"""Backups of a server whose artifacts are in an object store: they hold what only that has, or say what they lack."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backfleet import copies, releases
from backfleet.copies import Written, write_copy
from backfleet.copying import artifacts_of
from backfleet.ids import draw
from backfleet.opening import open_services
from backfleet.operations.catalogue import Services
from backfleet.pubsub import open_pubsub
from backfleet.restoring import Restored, restore
from backfleet.settings import Settings
from object_stores import SECRET, ObjectStore
from releases.artifacts import program, tar

MADE, LATER = datetime(2026, 11, 1, 12, tzinfo=UTC), datetime(2026, 11, 2, 12, tzinfo=UTC)
CONTENT = {version: tar(program("rclone", version), compression="gz") for version in ("1.75.0", "1.75.1", "1.75.2")}
SHA256 = {version: hashlib.sha256(content).hexdigest() for version, content in CONTENT.items()}


def named(*versions: str) -> list[str]:
    return [f"rclone {version} (linux-amd64)" for version in versions]


@pytest.fixture
def services(object_store: ObjectStore, tmp_path: Path) -> Iterator[Services]:
    """A server whose three releases are in its object store alone."""
    words = {name[10:].lower(): value for name, value in object_store.settings(tmp_path).items()}
    settings = Settings(data=tmp_path / "data", **words)  # type: ignore[arg-type]
    found, _ = open_services(settings, open_pubsub(""), clock=lambda: MADE, draw=draw)
    with closing(found.database):
        for version in CONTENT:
            add(found, version, tmp_path / "upload")
            found.repository.path_of(SHA256[version]).unlink()
        object_store.faults.calls.clear()
        yield found


def add(services: Services, version: str, upload: Path) -> None:
    upload.write_bytes(CONTENT[version])
    prepared = releases.prepare(
        upload, SHA256[version], len(CONTENT[version]), package="rclone", version=version, platform="linux-amd64",
        form="tar", file_name="rclone.tar.gz", given=None,
    )  # fmt: skip
    releases.keep_artifact(services.repository, upload, SHA256[version])
    with services.database.transaction() as tx:
        releases.add(tx, services.repository, prepared, channel="stable", now=MADE)


def copied(services: Services, target: Path, changed: Settings | None = None) -> Written:
    artifacts = artifacts_of(changed or services.settings, services.database)
    found = write_copy(services.settings.data, services.database, target, None, artifacts, now=MADE, version="0.1.0")
    assert [path.name for path in target.parent.iterdir() if path.name.startswith(f".{target.name}")] == []
    return found


def restored(source: Path, data: Path) -> Restored:
    """Restore where there is no object store any more."""
    return restore(Settings(data=data), source, None, now=LATER)


def test_a_backup_holds_what_only_the_object_store_has(services: Services, tmp_path: Path) -> None:
    """The bucket may be gone when it is restored."""
    found = copied(services, tmp_path / "copy")
    assert (found.artifacts, found.fetched, found.missing, found.damaged) == (3, 3, {}, [])
    assert list((services.settings.data / "artifacts").glob("[0-9a-f]*")) == [], "the server's own folder is no spool"
    back = restored(tmp_path / "copy", tmp_path / "after")
    assert (back.artifacts, back.missing, back.damaged) == (3, (), ())
    there = tmp_path / "after" / "artifacts"
    assert {path.name: path.read_bytes() for path in there.iterdir()} == {SHA256[one]: CONTENT[one] for one in CONTENT}


def test_a_store_that_is_away_is_asked_once_and_keys_and_rows_are_copied(
    services: Services, object_store: ObjectStore, tmp_path: Path
) -> None:
    object_store.faults.plan = lambda method, path: (403, "AccessDenied")
    found = copied(services, tmp_path / "copy")
    assert list(found.missing) == sorted(found.missing, key=lambda what: SHA256[what.split()[1]])
    assert sorted(found.missing) == named(*CONTENT)
    assert all("the key may not do that" in why and SECRET not in why for why in found.missing.values())
    assert len(object_store.faults.calls) == 1
    back = restored(tmp_path / "copy", tmp_path / "after")
    assert (back.artifacts, list(back.missing)) == (0, named(*CONTENT))


@pytest.mark.parametrize("harm", ["deleted", "changed"])
def test_an_object_that_was_harmed_costs_no_other(
    services: Services, object_store: ObjectStore, tmp_path: Path, harm: str
) -> None:
    """One that was replaced by as many other bytes is noticed by its hash."""
    if harm == "deleted":
        object_store.delete(SHA256["1.75.1"])
    else:
        object_store.write(SHA256["1.75.1"], b"x" * len(CONTENT["1.75.1"]))
    found = copied(services, tmp_path / "copy")
    assert (found.artifacts, list(found.missing)) == (2, named("1.75.1"))
    assert restored(tmp_path / "copy", tmp_path / "after").missing == tuple(named("1.75.1"))


def test_a_damaged_file_is_copied_from_the_object_store(services: Services, tmp_path: Path) -> None:
    (services.settings.data / "artifacts" / SHA256["1.75.1"]).write_bytes(b"half of it")
    found = copied(services, tmp_path / "copy")
    assert (found.artifacts, found.missing, found.damaged) == (3, {}, [])
    back = restored(tmp_path / "copy", tmp_path / "after")
    assert (back.artifacts, back.damaged, back.missing) == (3, (), ())


def test_a_file_that_the_server_removes_meanwhile_is_fetched(services: Services, tmp_path: Path) -> None:
    """Its folder is a cache with a limit."""
    here = services.settings.data / "artifacts" / SHA256["1.75.1"]
    here.write_bytes(CONTENT["1.75.1"])
    artifacts = artifacts_of(services.settings, services.database)

    def wanted() -> Any:
        here.unlink()
        return artifacts.wanted()

    found = write_copy(
        services.settings.data, services.database, tmp_path / "copy", None,
        copies.Artifacts(wanted, artifacts.fetch), now=MADE, version="0.1.0",
    )  # fmt: skip
    assert (found.artifacts, found.fetched, found.missing) == (3, 3, {})


def test_a_release_that_was_withdrawn_may_be_missing(
    services: Services, object_store: ObjectStore, tmp_path: Path
) -> None:
    with services.database.transaction() as tx:
        releases.withdraw(tx, services.repository, "rclone", "1.75.0", "linux-amd64", now=MADE)
    object_store.delete(SHA256["1.75.0"])
    assert copied(services, tmp_path / "copy").missing == {}
    assert restored(tmp_path / "copy", tmp_path / "after").missing == ()


def test_settings_without_the_object_store_are_noticed(services: Services, tmp_path: Path) -> None:
    """As where the server has them from its unit, and whoever makes the backup has not."""
    found = copied(services, tmp_path / "copy", Settings(data=services.settings.data))
    assert sorted(found.missing) == named(*CONTENT)
    assert "no setting names an object store (artifacts_url)" in next(iter(found.missing.values()))


Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(services: Services, object_store: ObjectStore, tmp_path: Path) -> Command:
    """Run the command line; return its exit code and what it printed."""

    def run(*words: object) -> tuple[int, str]:
        program = [sys.executable, "-m", "backfleet.cli", *map(str, words)]
        environment = os.environ | object_store.settings(tmp_path)
        done = subprocess.run(program, capture_output=True, text=True, env=environment, check=False, timeout=600)
        return done.returncode, done.stdout + done.stderr

    return run


def last_copy(services: Services) -> int | None:
    with services.database.reading() as tx:
        found = copies.last_copy(tx)
    assert found is not None
    return found.lacking


def test_the_command_says_what_a_backup_has_and_lacks(
    services: Services, object_store: ObjectStore, command: Command, tmp_path: Path
) -> None:
    data = services.settings.data
    code, said = command("backup", tmp_path / "whole", "--data", data, "--plain")
    assert (code, last_copy(services)) == (0, 0), said
    assert "3 artifacts (3 from the object store), PLAIN" in said
    object_store.delete(SHA256["1.75.1"])
    code, said = command("backup", tmp_path / "lacks", "--data", data, "--plain", "--json")
    assert (code, last_copy(services)) == (1, 1), said
    assert json.loads(said[: said.index("}") + 1])["Missing"] == named("1.75.1")
    assert "has keys and database, and lacks the artifacts of rclone 1.75.1 (linux-amd64): " in said
    code, said = command("backup", tmp_path / "without", "--data", data, "--plain", "--without-artifacts")
    assert (code, last_copy(services)) == (0, None), said
    assert ", 0 artifacts, PLAIN" in said
    code, said = command("restore", tmp_path / "without", "--data", tmp_path / "after")
    assert code == 0, said
    assert f"the artifacts of {', '.join(named(*CONTENT))} are not here: set artifacts_url" in said


def test_an_artifact_is_never_in_memory_as_a_whole(
    services: Services, object_store: ObjectStore, tmp_path: Path
) -> None:
    """200 MB cost some pieces of 4 MiB. The store is asked without the proxy, which is a part of this process."""
    large = bytes(1 << 20) * 200
    sha256 = hashlib.sha256(large).hexdigest()
    object_store.write(sha256, large)
    program = (
        "import resource, sys; from pathlib import Path; from backfleet.object_store import Bucket, Place\n"
        "from backfleet.copies import Artifacts, write_copy; from backfleet.storage import open_database\n"
        "from datetime import UTC, datetime\n"
        "bucket = Bucket(Place(sys.argv[1], 'some/place', sys.argv[2], 'us-east-1', b'', ('k', 's', '')))\n"
        "bucket.check(); data = Path(sys.argv[3]); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "wanted = Artifacts(lambda: {sys.argv[4]: 'it'}, lambda name, to: bucket.fetch(name, to, 1 << 30))\n"
        "database = open_database(f'sqlite:///{data}/backfleet.db')\n"
        "found = write_copy(data, database, data.parent / 'copy', None, wanted,\n"
        "    now=datetime.now(UTC), version='0.1.0')\n"
        "print(found.fetched, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)"
    )
    words = [object_store.name, f"http://127.0.0.1:{object_store.server.port}", str(services.settings.data), sha256]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    fetched, mebibytes = map(int, done.stdout.split())
    assert fetched == 1
    assert mebibytes < 64
