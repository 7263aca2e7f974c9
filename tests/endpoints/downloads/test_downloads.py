"""Downloads: signed metadata, artifacts, the host program and the authority, and nothing else."""

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from backfleet import releases
from releases.artifacts import program, tar

DownloadServer = Any  # the fixtures' class lives in conftest.py

FOR_EVER = "public, max-age=31536000, immutable"


# --- Metadata -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("timestamp.json", "no-store"),
        ("1.root.json", FOR_EVER),
        ("1.snapshot.json", FOR_EVER),
        ("1.targets.json", FOR_EVER),
    ],
)
def test_metadata_is_served_as_it_was_signed(server: DownloadServer, name: str, kept: str) -> None:
    """To the byte; caches may keep what has a version in its name for ever, and the timestamp not at all."""
    answer = server.get(f"/metadata/{name}")
    assert (answer.status, answer.data) == (200, server.metadata(name))
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == kept


@pytest.mark.parametrize(
    "name",
    [
        "2.root.json",  # what a client asks for next
        "root.json",
        "snapshot.json",
        "1.mirrors.json",
        "1.root.json.bak",
        "1.ROOT.json",
        "..%2f1.root.json",
        "%2e%2e",
        "..",
        "1.root.json%00",
        "%d9%a1.root.json",
        "9" * 400 + ".root.json",
        "1.root.json%0a",
        "",
    ],
)
def test_unknown_metadata_is_not_found(server: DownloadServer, name: str) -> None:
    """404, so that a client knows that its root is the newest."""
    assert server.get(f"/metadata/{name}").status == 404


def test_before_anything_is_signed_there_is_no_metadata(bare_server: DownloadServer) -> None:
    """A little later there is."""
    assert bare_server.get("/metadata/timestamp.json").status == 404
    bare_server.sign()
    assert bare_server.get("/metadata/timestamp.json").status == 200


# --- Artifacts ------------------------------------------------------------------------------------------------------


def target(release: Any) -> str:
    """Return where a client of consistent snapshots finds a release."""
    return f"/targets/{release.package}/{release.version}/{release.sha256}.{release.platform}"


def test_an_artifact_is_served_by_its_name_and_by_its_hash(server: DownloadServer) -> None:
    """The same bytes, without authentication, for caches to keep for ever."""
    release = server.add("1.75.2")
    for path in (target(release), f"/artifacts/{release.sha256}"):
        answer = server.get(path)
        assert answer.status == 200
        assert hashlib.sha256(answer.data).hexdigest() == release.sha256
        assert answer.headers["Content-Length"] == str(release.size)
        assert answer.headers["Cache-Control"] == FOR_EVER
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Accept-Ranges"] == "bytes"


def test_a_withdrawn_artifact_is_still_served(server: DownloadServer) -> None:
    """A host may be downloading it; signed metadata keeps others from it."""
    from datetime import UTC, datetime

    from backfleet import releases

    release = server.add("1.0")
    with server.database.transaction() as tx:
        releases.withdraw(tx, server.repository, "rclone", "1.0", "linux-amd64", now=datetime.now(UTC))
    assert server.get(target(release)).status == 200


@pytest.mark.parametrize(
    ("asked", "status", "begin", "end"),
    [
        pytest.param("bytes=0-9", 206, 0, 10, id="first ten"),
        pytest.param("bytes=100-199", 206, 100, 200, id="in the middle"),
        pytest.param("bytes=100-", 206, 100, None, id="from somewhere on: going on with a broken download"),
        pytest.param("bytes=-7", 206, -7, None, id="last seven"),
        pytest.param("bytes=0-999999999", 206, 0, None, id="more than there is"),
        pytest.param("bytes=-999999999", 206, 0, None, id="more from the end than there is"),
    ],
)
@pytest.mark.parametrize("what", ["artifact", "program"])
def test_a_range_of_a_file(
    server: DownloadServer, what: str, asked: str, status: int, begin: int, end: int | None
) -> None:
    """Those bytes and no others, with their place in the file."""
    path = target(server.add("1.0")) if what == "artifact" else "/backfleet-host.pyz"
    whole = server.get(path).data
    answer = server.get(path, Range=asked)
    assert (answer.status, answer.data) == (status, whole[begin:end])
    first = begin if begin >= 0 else len(whole) + begin
    assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(answer.data) - 1}/{len(whole)}"


@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=999999-9999999", "bytes=9-3"])
def test_a_range_that_does_not_exist(server: DownloadServer, asked: str) -> None:
    """416: a host that has the whole file, or more, learns it."""
    answer = server.get(target(server.add("1.0")), Range=asked)
    assert answer.status == 416
    assert answer.headers["Content-Range"] == "bytes */10240"


def test_a_range_only_if_the_file_is_unchanged(server: DownloadServer) -> None:
    """If-Range with the date of the copy; after a change the whole new file."""
    path = "/backfleet-host.pyz"
    known = server.get(path).headers["Last-Modified"]
    assert server.get(path, Range="bytes=0-9", If_Range=known).status == 206
    assert server.get(path, Range="bytes=0-9", If_Range="Thu, 01 Jan 1998 00:00:00 GMT").status == 200


def test_an_unchanged_file_is_not_sent_again(server: DownloadServer) -> None:
    """By its tag, or by its date."""
    path = target(server.add("1.0"))
    known = server.get(path).headers
    for headers in ({"If_None_Match": known["ETag"]}, {"If_Modified_Since": known["Last-Modified"]}):
        answer = server.get(path, **headers)
        assert (answer.status, answer.data) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/metadata/timestamp.json", "/backfleet-host.pyz", "/backfleet-host.pyz.sha256", "/ca.pem"]
)
def test_head_answers_the_headers_of_get(server: DownloadServer, path: str) -> None:
    """Without the bytes."""
    whole, head = server.get(path), server.get(path, method="HEAD")
    assert (head.status, head.data) == (200, b"")
    assert head.headers["Content-Length"] == str(len(whole.data))
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]
    assert head.headers["Cache-Control"] == whole.headers["Cache-Control"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(server: DownloadServer, method: str) -> None:
    """Every address is read-only."""
    assert server.get("/metadata/timestamp.json", method=method).status == 405
    assert server.get("/artifacts/" + "0" * 64, method=method).status == 405


@pytest.mark.parametrize(
    "path",
    [
        "/artifacts/" + "0" * 64,
        "/artifacts/..",
        "/artifacts/..%2Fkeys%2Frelease-root.key",
        "/artifacts/%2e%2e%2fkeys%2frelease-root.key",
        "/artifacts/../keys/release-root.key",
        "/artifacts/%252e%252e%252fkeys",
        "/artifacts/",
        "/artifacts//etc/passwd",
        "/targets/../keys/release-root.key",
        "/targets/a/..%2f..%2fkeys%2frelease-root.key",
        "/targets/rclone/1.0/release-root.key",
        "/targets/",
        "/targets/..%00",
        "/keys/release-root.key",
        "/../keys/release-root.key",
        "/..%2fkeys%2frelease-root.key",
        "/backfleet-host.pyz/../ca.key",
        "/ca.key",
        "/",
        "",
    ],
)
def test_no_path_leads_anywhere_else(server: DownloadServer, path: str) -> None:
    """404, also for paths that regular clients would tidy up."""
    secret = server.repository.path_of("x").parent.parent / "keys" / "release-root.key"
    assert secret.exists()
    assert server.raw(f"/downloads{path}") == 404


def test_the_hash_alone_selects_the_artifact(server: DownloadServer) -> None:
    """The path before it opens nothing."""
    release = server.add("1.0")
    assert server.get(f"/targets/x/{release.sha256}.y").data == server.get(target(release)).data
    assert server.raw(f"/downloads/targets/%2e%2e/%2e%2e/{release.sha256}") in (200, 404)


# --- The host program and the authority -----------------------------------------------------------------------------


def test_the_host_program_and_its_hash(server: DownloadServer, tmp_path: Path) -> None:
    """Caches must ask again: an old program with a new hash would be refused."""
    content = (tmp_path / "backfleet-host.pyz").read_bytes()
    program, digest = server.get("/backfleet-host.pyz"), server.get("/backfleet-host.pyz.sha256")
    assert program.data == content
    assert digest.data.decode() == hashlib.sha256(content).hexdigest() + "\n"
    assert (program.headers["Cache-Control"], digest.headers["Cache-Control"]) == ("no-cache", "no-store")


def test_a_program_for_hosts_without_python_is_sent_by_machine(server: DownloadServer, tmp_path: Path) -> None:
    """The file says which machine it is for, whatever its name; one may be put there while the server runs."""
    missing = server.get("/backfleet-host-aarch64")
    assert (missing.status, b"it has none" in missing.data, b"make host-binary" in missing.data) == (404, True, True)
    here = os.uname().machine
    for name, machine in (("backfleet-host", here), ("backfleet-host-arm", "aarch64"), ("backfleet-host.old", "")):
        header = f"made_for={machine}\n" if machine else "another file\n"
        (tmp_path / name).write_bytes(b"#!/bin/sh\n" + header.encode() + bytes(3000))
    for path, file in (("", "backfleet-host"), (f"-{here}", "backfleet-host"), ("-aarch64", "backfleet-host-arm")):
        content = (tmp_path / file).read_bytes()
        answer = server.get(f"/backfleet-host{path}")
        assert (answer.data, answer.headers["Cache-Control"]) == (content, "no-cache")
        digest = server.get(f"/backfleet-host{path}.sha256").data.decode()
        assert digest == hashlib.sha256(content).hexdigest() + "\n"
    other = server.get("/backfleet-host-riscv64")
    assert (other.status, f"aarch64, {here}".encode() in other.data) == (404, True), other.data
    assert server.raw("/downloads/backfleet-host-..%2fkeys") == 404


def test_the_authority(server: DownloadServer, tmp_path: Path) -> None:
    """As it is on the disk; after a renewal the new one."""
    answer = server.get("/ca.pem")
    assert (answer.status, answer.data) == (200, (tmp_path / "ca.pem").read_bytes())
    assert answer.headers["Content-Type"] == "application/x-pem-file"
    (tmp_path / "ca.pem").write_bytes(b"another")
    assert server.get("/ca.pem").data == b"another"


def test_files_that_the_server_lacks(bare_server: DownloadServer) -> None:
    """404, and for a program that was not built, what to do about it."""
    answer = bare_server.get("/backfleet-host.pyz")
    assert answer.status == 404
    assert b"make host-program" in answer.data
    assert bare_server.get("/backfleet-host.pyz.sha256").status == 404
    assert bare_server.get("/ca.pem").status == 404


def test_downloads_are_counted_by_how_they_ended(server: DownloadServer) -> None:
    """Whole, in part, not changed, not found."""

    def counted(kind: str, status: int) -> float:
        labels = {"kind": kind, "status": str(status)}
        return REGISTRY.get_sample_value("backfleet_downloads_total", labels) or 0.0

    path = target(server.add("1.0"))
    rows = [("artifact", 200), ("artifact", 206), ("artifact", 304), ("artifact", 416), ("metadata", 404)]
    before = [counted(*row) for row in rows]
    known = server.get(path).headers["ETag"]
    server.get(path, Range="bytes=0-1")
    server.get(path, If_None_Match=known)
    server.get(path, Range="bytes=99999999-")
    server.get("/metadata/2.root.json")
    assert [counted(*row) for row in rows] == [count + 1 for count in before]


# --- What is noted of downloads -------------------------------------------------------------------------------------


def test_a_sent_artifact_is_noted_as_fetched(server: DownloadServer) -> None:
    """By a request for a part of it too; until then its version can be given to other bytes."""
    release = server.add("9.1")

    def fetched() -> bool:
        with server.database.reading() as tx:
            found = releases.find(tx, "rclone", "9.1", "linux-amd64")
        assert found is not None
        return found.fetched_at is not None

    assert not fetched()
    assert server.get(f"/artifacts/{release.sha256}", Range="bytes=0-9").status == 206
    assert fetched()


def test_the_bytes_of_a_version_that_was_given_back_are_sent_to_nobody(server: DownloadServer) -> None:
    """A host with older metadata asks again, and gets the new ones."""
    release = server.add("9.2")
    with server.database.transaction() as tx:
        releases.withdraw(tx, server.repository, "rclone", "9.2", "linux-amd64", now=datetime.now(UTC))
    other = server.add("9.2", content=tar(program("rclone", "another build")))
    assert other.sha256 != release.sha256
    assert server.get(f"/artifacts/{release.sha256}").status == 404
    assert server.get(f"/artifacts/{other.sha256}").status == 200
