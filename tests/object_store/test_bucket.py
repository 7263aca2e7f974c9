"""A bucket on a server that speaks S3, with everything that may happen on the way to it."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from backfleet.object_store import Bucket, Missing, Trouble, WrongBytes
from object_stores import KEY, SECRET, Fault, ObjectStore

CONTENT = bytes(range(256)) * 40_000  # 10 MB: three pieces, and an upload in parts
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MOST = 1 << 30


def test_a_file_is_written_and_read_again(object_store: ObjectStore, tmp_path: Path) -> None:
    bucket = object_store.bucket()
    _put_and_fetch(bucket, tmp_path)
    assert object_store.read(SHA256) == CONTENT
    assert bucket.sizes() == {SHA256: len(CONTENT)}


def _put_and_fetch(bucket: Bucket, folder: Path) -> None:
    file, again = folder / "upload", folder / "again"
    file.write_bytes(CONTENT)
    assert bucket.size(SHA256) is None
    bucket.put(file, SHA256)
    bucket.put(file, SHA256)  # again, as after a process was killed
    bucket.fetch(SHA256, again, MOST)
    assert again.read_bytes() == CONTENT
    assert bucket.size(SHA256) == len(CONTENT)
    bucket.check()


def test_a_tampered_object_is_no_file(object_store: ObjectStore, tmp_path: Path) -> None:
    object_store.write(SHA256, b"x" + CONTENT[1:])
    with pytest.raises(WrongBytes, match="has other bytes than its name says"):
        object_store.bucket().fetch(SHA256, tmp_path / "file", MOST)
    assert not (tmp_path / "file").exists()


def test_an_object_that_is_larger_than_any_artifact_is_not_read(object_store: ObjectStore, tmp_path: Path) -> None:
    object_store.write(SHA256, CONTENT)
    with pytest.raises(WrongBytes, match="an artifact at most 1000"):
        object_store.bucket().fetch(SHA256, tmp_path / "file", 1000)
    assert [method for method, _ in object_store.faults.calls] == ["HEAD"]


def test_an_object_that_was_deleted_is_missing(object_store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(Missing, match=f"has no object {SHA256}; add that release's file again"):
        object_store.bucket().fetch(SHA256, tmp_path / "file", MOST)


@pytest.mark.parametrize("fault", ["cut", (503, "SlowDown"), (500, "InternalError"), 3.0], ids=str)
def test_what_passes_is_tried_again(object_store: ObjectStore, tmp_path: Path, fault: Fault) -> None:
    (tmp_path / "upload").write_bytes(CONTENT)
    failed: set[str] = set()

    def once(method: str, path: str) -> Fault:
        is_first = f"{method} {path}" not in failed
        failed.add(f"{method} {path}")
        return fault if is_first and method in ("GET", "PUT") else None

    object_store.faults.plan = once
    bucket = object_store.bucket(call_seconds=2.0)
    bucket.put(tmp_path / "upload", SHA256)
    bucket.fetch(SHA256, tmp_path / "file", MOST)
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["cut", (404, "NoSuchUpload")], ids=str)
def test_an_upload_that_the_store_knows_no_more_is_made_again(
    object_store: ObjectStore, tmp_path: Path, fault: Fault
) -> None:
    """If the answer to the call that completes it is lost, that call is tried again and finds no such upload."""
    (tmp_path / "upload").write_bytes(CONTENT)
    completed: list[str] = []

    def first_completion(method: str, path: str) -> Fault:
        if method != "POST" or "uploadId=" not in path:
            return None
        completed.append(path)
        return fault if len(completed) == 1 else None

    object_store.faults.plan = first_completion
    object_store.bucket().put(tmp_path / "upload", SHA256)
    assert len(set(completed)) == 2
    assert object_store.read(SHA256) == CONTENT


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ((403, "InvalidAccessKeyId"), "it does not know the access key"),
        ((403, "SignatureDoesNotMatch"), "the secret is not the one of the access key"),
        ((403, "AccessDenied"), "the key may not do that"),
        ((400, "AuthorizationHeaderMalformed"), "the bucket is in another region; correct artifacts_region"),
        ((301, "PermanentRedirect"), "the bucket is in another region; correct artifacts_region"),
        ((307, "TemporaryRedirect"), "the bucket is in another region; correct artifacts_region"),
        ((400, "ExpiredToken"), "the credentials have expired"),
        ((403, "RequestTimeTooSkewed"), "this machine's clock is off; set it"),
        ((503, "SlowDown"), "it asks for fewer requests"),
        ((404, "NoSuchUpload"), "it twice forgot the parts of an upload"),
        ((418, "Strange"), "it answered with Strange 418: see its own log"),
        (2.0, "it did not answer in time"),
    ],
    ids=str,
)
def test_what_stays_is_a_sentence(object_store: ObjectStore, tmp_path: Path, fault: Fault, sentence: str) -> None:
    (tmp_path / "upload").write_bytes(b"small")
    object_store.faults.plan = lambda method, path: fault
    bucket = object_store.bucket(call_seconds=0.5, retry_seconds=1.0)
    with pytest.raises(Trouble) as caught:
        bucket.put(tmp_path / "upload", SHA256)
    text = str(caught.value)
    assert sentence in text
    assert text.startswith(f"{object_store.url} cannot be written: ")
    assert not any(secret in f"{text} {bucket!r} {bucket.place!r}" for secret in (KEY, SECRET))
    with pytest.raises(Trouble, match=r"cannot be (written|listed|read)"):
        bucket.check()


def test_credentials_that_end_in_the_middle_of_a_download_leave_no_file(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    """Every piece is asked for with a signature of its own. With new credentials the next try gets all of it."""
    object_store.write(SHA256, CONTENT)
    pieces = iter(range(1_000_000))
    object_store.faults.plan = lambda method, path: (
        (400, "ExpiredToken") if method == "GET" and next(pieces) > 0 else None
    )
    with pytest.raises(Trouble, match=r"cannot be read: the credentials have expired; renew them \(ExpiredToken\)"):
        object_store.bucket().fetch(SHA256, tmp_path / "file", MOST)
    assert [method for method, _ in object_store.faults.calls].count("GET") == 2, "it is not asked again in vain"
    assert not (tmp_path / "file").exists()
    object_store.faults.plan = lambda method, path: None
    object_store.bucket().fetch(SHA256, tmp_path / "file", MOST)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_bucket_with_versions_shows_the_newest_one(object_store: ObjectStore, tmp_path: Path) -> None:
    """What was deleted there is missing, though the store keeps it, and comes back when it is written again."""
    versions = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    object_store.server.call("PUT", f"/{object_store.name}?versioning", versions)
    (tmp_path / "upload").write_bytes(CONTENT)
    bucket = object_store.bucket()
    object_store.write(SHA256, b"x" + CONTENT[1:])
    bucket.put(tmp_path / "upload", SHA256)
    bucket.fetch(SHA256, tmp_path / "file", MOST)
    object_store.delete(SHA256)
    assert (bucket.size(SHA256), bucket.sizes()) == (None, {})
    with pytest.raises(Missing):
        bucket.fetch(SHA256, tmp_path / "again", MOST)
    bucket.put(tmp_path / "upload", SHA256)
    assert bucket.sizes() == {SHA256: len(CONTENT)}
    bucket.fetch(SHA256, tmp_path / "again", MOST)
    assert (tmp_path / "again").read_bytes() == CONTENT


def test_a_bucket_that_is_missing_is_named(object_store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(CONTENT)
    bucket = object_store.bucket("not-there")
    for call in (lambda: bucket.put(tmp_path / "upload", SHA256), bucket.sizes, bucket.check):
        with pytest.raises(Trouble, match=r"there is no such bucket; make it, or correct artifacts_url"):
            call()


def test_a_store_that_is_away_is_a_sentence(object_store: ObjectStore) -> None:
    object_store.faults.close()
    bucket = object_store.bucket(retry_seconds=0.5)
    with pytest.raises(Trouble, match="it cannot be reached, or broke off; see artifacts_endpoint"):
        bucket.sizes()


def test_a_reader_ends_with_an_error_where_the_object_does(object_store: ObjectStore) -> None:
    object_store.write(SHA256, CONTENT)
    size, file = object_store.bucket().opened(SHA256, MOST)
    assert (size, file.read()) == (len(CONTENT), CONTENT)
    _, file = object_store.bucket(retry_seconds=0.5).opened(SHA256, MOST)
    object_store.faults.plan = lambda method, path: "cut"
    with pytest.raises(OSError, match="cannot be read: it cannot be reached, or broke off"):
        file.read()


def test_an_upload_that_was_killed_leaves_nothing_to_see(object_store: ObjectStore, tmp_path: Path) -> None:
    """The second part hangs, and the process is killed there."""
    (tmp_path / "upload").write_bytes(CONTENT)
    object_store.faults.plan = lambda method, path: 30.0 if "partNumber=2" in path else None
    program = (
        "import sys; from pathlib import Path; from backfleet.object_store import Bucket, Place\n"
        "place = Place(sys.argv[1], 'some/place', sys.argv[2], 'us-east-1', b'', ('k', 's', ''))\n"
        "Bucket(place).put(Path(sys.argv[3]), sys.argv[4])\n"
    )
    words = [sys.executable, "-c", program, object_store.name, object_store.endpoint, tmp_path / "upload", SHA256]
    with subprocess.Popen(words) as process:
        while not any("partNumber=2" in path for _, path in object_store.faults.calls):
            assert process.poll() is None
        process.kill()
    bucket = object_store.bucket()
    assert bucket.size(SHA256) is None
    assert bucket.sizes() == {}
    object_store.faults.plan = lambda method, path: None
    bucket.put(tmp_path / "upload", SHA256)
    assert object_store.read(SHA256) == CONTENT


def test_a_closed_bucket_ends_at_the_next_piece(object_store: ObjectStore, tmp_path: Path) -> None:
    object_store.write(SHA256, CONTENT)
    bucket = object_store.bucket()
    bucket.close()
    with pytest.raises(Trouble, match="the server ends"):
        bucket.fetch(SHA256, tmp_path / "file", MOST)
