"""Artifacts in an object store: a host upgrades from a server that has none of them on its disk."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backfleet.cli._client import CallFailed
from journeys.installation import Installation
from object_stores import KEY, SECRET, ObjectStore


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Installation]:
    """An installation that was never started."""
    made = Installation(tmp_path)
    yield made
    made.close()


def test_hosts_upgrade_from_a_replica_without_artifacts(
    own: Installation, object_store: ObjectStore, tmp_path: Path
) -> None:
    """The server is killed between object and row, the file is added again, and the disk with artifacts is lost."""
    settings = object_store.settings(tmp_path)
    own.start(die_at="artifact stored", settings=settings)
    with pytest.raises(CallFailed):
        own.add_release("1.0")
    own.wait_for_death()
    own.start(settings=settings)
    assert own.call("ListReleases", "backfleet")["Releases"] == []
    own.add_release("1.0")
    (added,) = [one["Sha256"] for one in own.call("ListReleases", "backfleet")["Releases"]]
    own.stop()
    artifacts = own.data / "artifacts"
    shutil.rmtree(artifacts)
    own.start(settings=settings)
    own.enrol(1)
    started = own.call("InstallBackupClients", InstanceIds=[own.hosts[0].instance_id])
    assert own.finished(started["TaskId"])["Progress"] == 100
    assert [path.name for path in artifacts.iterdir()] == [added]
    log = (own.folder / "server.log").read_text()
    assert "an artifact came from the object store" in log
    assert SECRET not in log
    assert KEY not in log
    assert own.stop() == 0


def test_a_server_with_wrong_settings_says_so_and_ends(own: Installation, tmp_path: Path) -> None:
    words = [*own.program, "serve", "--data", str(own.data), "--http", "127.0.0.1:0"]
    environment = {"BACKFLEET_ARTIFACTS_URL": f"s3://{KEY}:{SECRET}@bucket", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=600)
    assert done.returncode != 0
    assert "artifacts_url must be s3://BUCKET or s3://BUCKET/PREFIX, without keys" in done.stderr + done.stdout
    assert SECRET not in done.stderr + done.stdout
