"""A bucket on a second real server that speaks S3, `rclone serve s3`: it verifies signatures, clocks and TLS.

Its buckets are folders, so that what a disk does to an object can be done to it. It sends parts of an object with the
status 200, where S3 says 206: reads go through a proxy that says 206.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backfleet.certificates import Certificates, prepare_certificates
from backfleet.object_store import Bucket, Missing, Place, Trouble, WrongBytes
from journeys.host_faults import Clocks
from journeys.installation import Installation, wait_for
from journeys.rclone_backups import program
from object_stores import KEY, SECRET, Fault, Faults

VERSION = "1.75.2"
CONTENT = bytes(range(256)) * 40_000  # 10 MB: three pieces, and an upload in parts
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MOST = 1 << 30


class Rclone:
    """The server, over a folder whose folders are its buckets."""

    def __init__(self, folder: Path, binary: Path, certificates: Certificates | None = None) -> None:
        self.disk, self._folder, self._binary, self._certificates = folder / "disk", folder, binary, certificates
        self.authority = certificates.authority.read_bytes() if certificates else b""
        (self.disk / "bucket").mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.endpoint = f"{'https' if certificates else 'http'}://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        words = [self._binary, "serve", "s3", self.disk, "--addr", f"127.0.0.1:{self.port}",
                 "--auth-key", f"{KEY},{SECRET}", "--config", os.devnull, "--dir-cache-time", "0s"]  # fmt: skip
        if self._certificates:
            words += ["--cert", self._certificates.server, "--key", self._certificates.server_key]
        with (self._folder / "rclone.log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        wait_for(self._listens, 60)

    def _listens(self) -> bool:
        assert self.process.poll() is None, (self._folder / "rclone.log").read_text()
        with socket.socket() as found:
            return found.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def object(self, sha256: str = SHA256) -> Path:
        return self.disk / "bucket" / "some" / "place" / sha256

    def through(self, faults: Faults, seconds: float = 60.0) -> Bucket:
        """Return the bucket behind a proxy; one call may take so many seconds."""
        return self.bucket(endpoint=f"http://127.0.0.1:{faults.port}", seconds=seconds, again=60.0)

    def bucket(
        self,
        name: str = "bucket",
        keys: tuple[str, str] = (KEY, SECRET),
        endpoint: str = "",
        seconds: float = 10.0,
        again: float = 10.0,
    ) -> Bucket:
        place = Place(name, "some/place", endpoint or self.endpoint, "us-east-1", self.authority, (*keys, ""))
        return Bucket(place, call_seconds=seconds, retry_seconds=again)


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program(VERSION, tmp_path_factory.mktemp("rclone"))


@pytest.fixture
def rclone(tmp_path: Path, binary: Path) -> Iterator[Rclone]:
    made = Rclone(tmp_path, binary)
    yield made
    made.kill()


@pytest.fixture
def faults(rclone: Rclone) -> Iterator[Faults]:
    made = Faults(rclone.port)
    made.mends_parts = True
    yield made
    made.close()


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    (tmp_path / "upload").write_bytes(CONTENT)
    return tmp_path / "upload"


def fetched(bucket: Bucket, folder: Path) -> bytes:
    file = folder / "fetched"
    file.unlink(missing_ok=True)
    bucket.fetch(SHA256, file, MOST)
    return file.read_bytes()


def test_a_file_is_written_listed_and_read(rclone: Rclone, faults: Faults, upload: Path, tmp_path: Path) -> None:
    """In parts, and again over itself."""
    bucket = rclone.through(faults)
    for _ in range(2):
        bucket.put(upload, SHA256)
    assert rclone.object().read_bytes() == CONTENT == fetched(bucket, tmp_path)
    assert bucket.sizes() == {SHA256: len(CONTENT)}


def test_a_store_that_sends_parts_otherwise_than_s3_is_named(rclone: Rclone, upload: Path, tmp_path: Path) -> None:
    """As this one does by itself."""
    rclone.bucket().put(upload, SHA256)
    with pytest.raises(Trouble, match=r"sends a part of an object as if it were all of it \(200, where S3 says 206\)"):
        fetched(rclone.bucket(), tmp_path)


def test_a_file_is_written_and_listed_over_tls(tmp_path: Path, binary: Path, upload: Path) -> None:
    """With a private authority, without which nothing is sent."""
    certificates = prepare_certificates(tmp_path / "data", ["127.0.0.1"], now=datetime.now(UTC))
    rclone = Rclone(tmp_path, binary, certificates)
    try:
        bucket = rclone.bucket()
        assert bucket.size(SHA256) is None
        bucket.put(upload, SHA256)
        assert (bucket.size(SHA256), bucket.sizes()) == (len(CONTENT), {SHA256: len(CONTENT)})
        assert rclone.object().read_bytes() == CONTENT
        bucket.check()
        rclone.authority = b""
        with pytest.raises(Trouble, match="its certificate is not believed"):
            rclone.bucket(seconds=1.0, again=1.0).check()
    finally:
        rclone.kill()


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ((KEY, "another-secret"), "the secret is not the one of the access key"),
        (("AKIDUNKNOWNKEY", SECRET), "it does not know the access key"),
    ],
    ids=["wrong secret", "unknown key"],
)
def test_a_wrong_key_is_a_sentence(rclone: Rclone, upload: Path, keys: tuple[str, str], sentence: str) -> None:
    rclone.bucket().put(upload, SHA256)
    bucket = rclone.bucket(keys=keys)
    for call in (lambda: bucket.put(upload, SHA256), bucket.sizes, bucket.check):
        with pytest.raises(Trouble) as caught:
            call()
        assert sentence in str(caught.value)
        assert not any(word in str(caught.value) for word in (*keys, SECRET))
    with pytest.raises(Trouble) as caught:
        bucket.size(SHA256)
    assert not isinstance(caught.value, Missing)


@pytest.mark.parametrize("seconds", [-7200, 7200], ids=["behind", "ahead"])
def test_a_clock_that_is_off_is_a_sentence(rclone: Rclone, tmp_path: Path, seconds: int) -> None:
    """In a process of its own, whose clock shows something else."""
    clocks = Clocks(tmp_path)
    clocks.share(tmp_path / "off")
    clocks.jump(tmp_path / "off", seconds)
    ask = (
        "import sys; from backfleet.object_store import Bucket, Place, Trouble\n"
        "place = Place('bucket', 'some/place', sys.argv[1], 'us-east-1', b'', (sys.argv[2], sys.argv[3], ''))\n"
        "try: Bucket(place, call_seconds=10.0, retry_seconds=10.0).check()\n"
        "except Trouble as problem: print(problem)\n"
    )
    words = [sys.executable, "-c", ask, rclone.endpoint, KEY, SECRET]
    environment = {**os.environ, **clocks.environment(tmp_path / "off")}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert "this machine's clock is off; set it" in done.stdout, done.stdout


def test_a_bucket_that_is_missing_is_named(rclone: Rclone, upload: Path) -> None:
    bucket = rclone.bucket("not-there")
    for call in (lambda: bucket.put(upload, SHA256), bucket.sizes, bucket.check):
        with pytest.raises(Trouble, match="there is no such bucket; make it, or correct artifacts_url"):
            call()


def test_an_object_that_its_disk_has_changed_is_no_file(
    rclone: Rclone, faults: Faults, upload: Path, tmp_path: Path
) -> None:
    """Cut, changed, empty or gone: nothing is written here, and adding the file again mends it."""
    bucket = rclone.through(faults)
    for damaged in (CONTENT[:-1], b"x" + CONTENT[1:], b""):
        bucket.put(upload, SHA256)
        rclone.object().write_bytes(damaged)
        with pytest.raises(WrongBytes, match="has other bytes than its name says"):
            fetched(bucket, tmp_path)
        assert not (tmp_path / "fetched").exists()
    rclone.object().unlink()
    with pytest.raises(Missing):
        fetched(bucket, tmp_path)
    bucket.put(upload, SHA256)
    assert fetched(bucket, tmp_path) == CONTENT


@pytest.mark.parametrize("fault", ["cut", 9.0, (503, "SlowDown")], ids=str)
def test_a_line_that_is_slow_or_cut_is_tried_again(
    rclone: Rclone, faults: Faults, upload: Path, tmp_path: Path, fault: Fault
) -> None:
    """Each call once: its signature is made anew."""
    failed: set[str] = set()

    def once(method: str, path: str) -> Fault:
        is_first = f"{method} {path}" not in failed
        failed.add(f"{method} {path}")
        return fault if is_first and method in ("GET", "PUT") else None

    faults.plan = once
    bucket = rclone.through(faults, seconds=6.0)
    bucket.put(upload, SHA256)
    assert fetched(bucket, tmp_path) == CONTENT


def test_a_server_that_is_killed_in_the_middle_is_waited_for(
    rclone: Rclone, faults: Faults, upload: Path, tmp_path: Path
) -> None:
    rclone.bucket().put(upload, SHA256)
    reads = []

    def kill_at_the_second(method: str, path: str) -> Fault:
        if method == "GET":
            reads.append(path)
            if len(reads) == 2:
                rclone.kill()
                threading.Timer(1.0, rclone.start).start()
                return 503, "ServiceUnavailable"
            while rclone.process.poll() is not None:
                time.sleep(0.05)
        return None

    faults.plan = kill_at_the_second
    assert fetched(rclone.through(faults), tmp_path) == CONTENT


def test_a_host_upgrades_from_a_server_that_has_nothing_but_the_bucket(tmp_path: Path, binary: Path) -> None:
    """`release add` writes the object, the disk is lost, and a host gets the bytes through the server."""
    rclone = Rclone(tmp_path, binary)
    (tmp_path / "own").mkdir()
    faults, own = Faults(rclone.port), Installation(tmp_path / "own")
    faults.mends_parts = True
    try:
        key = tmp_path / "key"
        key.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
        settings = {
            "BACKFLEET_ARTIFACTS_URL": "s3://bucket/some/place",
            "BACKFLEET_ARTIFACTS_ENDPOINT": f"http://127.0.0.1:{faults.port}",
            "BACKFLEET_ARTIFACTS_REGION": "us-east-1",
            "BACKFLEET_ARTIFACTS_CREDENTIALS_FILE": str(key),
        }
        own.start(settings=settings)
        own.add_release("1.0")
        (added,) = [one["Sha256"] for one in own.call("ListReleases", "backfleet")["Releases"]]
        assert rclone.object(added).exists()
        own.stop()
        shutil.rmtree(own.data / "artifacts")
        own.start(settings=settings)
        own.enrol(1)
        started = own.call("InstallBackupClients", InstanceIds=[own.hosts[0].instance_id])
        assert own.finished(started["TaskId"])["Progress"] == 100
    finally:
        own.close()
        faults.close()
        rclone.kill()
