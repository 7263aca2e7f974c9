"""Deltas are made after a release was added, signed, and withdrawn with it."""

import json
import random
import subprocess
import sys
from datetime import timedelta

import pytest

from backfleet import releases
from backfleet.releases import signed_metadata
from backfleet.releases.deltas import unpack_to_the_same
from backfleet.releases.deltas.contents import result_of
from backfleet_host.archives import FORMATS
from backfleet_host.deltas import apply_delta
from releases.artifacts import file, folder, hard_link, link, program, tar, zipped

NOISE = random.Random(3).randbytes(150_000)
NAME = "rclone/1.1.0/linux-amd64/from/1.0.0"


def packed(version: str, noise: bytes = NOISE) -> bytes:
    return tar(program("rclone", version), file("noise", noise), file("version", version.encode()), compression="gz")


@pytest.fixture
def two(add):
    """Two versions of rclone with much in common."""
    return [add(version, content=packed(version), platform="linux-amd64")[0] for version in ("1.0.0", "1.1.0")]


def make(shop, repository, now, megabytes=1024):
    while releases.make_deltas_once(shop, repository, now=now, megabytes=megabytes):
        pass


def signed(shop):
    with shop.reading() as tx:
        return dict(signed_metadata.read(tx, "targets").signed.targets)


def deltas(shop):
    with shop.reading() as tx:
        return releases.deltas_to(tx, "rclone", "1.1.0", "linux-amd64")


def test_a_delta_is_made_signed_and_makes_the_new_content(shop, repository, two, now, tmp_path):
    make(shop, repository, now)
    (delta,) = deltas(shop)
    assert 0 < delta.size < two[1].size / 10
    target = signed(shop)[NAME]
    assert (target.length, target.hashes["sha256"]) == (delta.size, delta.sha256)
    assert target.custom["backfleet_delta"]["base_version"] == "1.0.0"
    made, base = bytearray(), tmp_path / "base"
    base.write_bytes(NOISE + program("rclone", "1.0.0").content + b"1.0.0")
    lengths = delta.base_length, delta.result_length
    apply_delta(repository.artifact(delta.sha256), base, lengths, made.extend)
    assert bytes(made) == result_of(repository.path_of(two[1].sha256), two[1].manifest)
    with shop.reading() as tx:
        assert releases.may_be_sent(tx, delta.sha256)
        assert releases.unsigned(tx) == []


def test_a_withdrawn_release_takes_its_deltas_along_and_brings_them_back(shop, repository, two, now):
    make(shop, repository, now)
    for withdrawn in two:
        names = withdrawn.package, withdrawn.version, withdrawn.platform
        with shop.transaction() as tx:
            releases.withdraw(tx, repository, *names, now=now)
        assert NAME not in signed(shop)
        with shop.transaction() as tx:
            releases.offer(tx, repository, *names, channel="stable", now=now)
        assert NAME in signed(shop)


def test_a_version_that_is_given_to_other_bytes_loses_its_deltas(shop, repository, two, now, add):
    make(shop, repository, now)
    with shop.transaction() as tx:
        releases.withdraw(tx, repository, "rclone", "1.1.0", "linux-amd64", now=now)
    add("1.1.0", content=packed("1.1.0", NOISE + b"more"), platform="linux-amd64")
    assert deltas(shop) == []
    assert NAME not in signed(shop)


def test_too_little_memory_or_too_little_gain_is_said(shop, repository, add, now):
    for version in ("1.0.0", "1.1.0"):
        add(version, content=packed(version, random.Random(version).randbytes(150_000)), platform="linux-amd64")
    make(shop, repository, now)
    (delta,) = deltas(shop)
    assert "the whole artifact has" in delta.note
    assert NAME not in signed(shop)


def test_what_needs_more_memory_than_allowed_is_not_begun(shop, repository, two, now):
    make(shop, repository, now, megabytes=1)
    assert [delta.note for delta in deltas(shop)] == ["making it needs 3 MB, and delta_megabytes is 1"]


def test_no_memory_makes_none(shop, repository, two, now):
    assert not releases.make_deltas_once(shop, repository, now=now, megabytes=0)


def test_what_people_sign_elsewhere_has_no_deltas(shop, repository, two, now):
    make(shop, repository, now)
    with shop.transaction() as tx:
        pending = json.loads(releases.pending_signatures(tx, repository, now=now).to_bytes())
    assert sorted(pending["targets"]["signed"]["targets"]) == [
        "rclone/1.0.0/linux-amd64",
        "rclone/1.1.0/linux-amd64",
    ]


@pytest.mark.parametrize("form", [form for form in FORMATS if form in ("tar", "zip", "binary")])
def test_the_uncompressed_form_unpacks_to_the_same(form, prepare, tmp_path):
    long = "/".join(["a" * 100] * 4)
    things = [
        folder("leer/é"),
        program("bin/rclone"),
        file(f"{long}/ü", b"x" * 1000),
        link("bin/more", "../bin/rclone"),
    ]
    content = {
        "tar": lambda: tar(*things, hard_link("bin/same", "bin/rclone"), compression="gz"),
        "zip": lambda: zipped(*things),
        "binary": lambda: b"#!/bin/sh\necho\n",
    }[form]()
    (tmp_path / "artifact").write_bytes(content)
    prepared = prepare(
        "1.0", content=content, form=form, given={"bin": ["rclone" if form == "binary" else "bin/rclone"]}
    )
    (tmp_path / "result").write_bytes(result_of(tmp_path / "artifact", prepared.manifest))
    assert unpack_to_the_same(tmp_path / "artifact", tmp_path / "result", prepared.manifest)


def test_a_delta_waits_until_there_is_memory(shop, repository, two, now, monkeypatch):
    monkeypatch.setattr("backfleet.releases.deltas.worker._free_megabytes", lambda: 1)
    make(shop, repository, now)
    assert deltas(shop) == []
    monkeypatch.undo()
    make(shop, repository, now)
    assert [delta.base_version for delta in deltas(shop)] == ["1.0.0"]


def figures(shop):
    with shop.reading() as tx:
        return [(each.made, each.failed, each.useless) for each in releases.delta_figures(tx)]


def test_what_needed_more_memory_than_allowed_is_made_once_more_is_allowed(shop, repository, two, now):
    make(shop, repository, now, megabytes=1)
    assert figures(shop) == [(0, 1, 0)]
    make(shop, repository, now, megabytes=2)  # still too little: the note is a new one
    assert [delta.note for delta in deltas(shop)] == ["making it needs 3 MB, and delta_megabytes is 2"]
    make(shop, repository, now, megabytes=1024)
    assert [(delta.size > 0, delta.note) for delta in deltas(shop)] == [(True, "")]
    assert NAME in signed(shop)
    assert figures(shop) == [(1, 0, 0)]


@pytest.mark.parametrize("ended", ["killed", "out of time", "a full disk"])
def test_what_failed_is_tried_again_a_day_later(shop, repository, two, now, monkeypatch, ended):
    def fails(*_words, **_more):
        if ended == "out of time":
            raise subprocess.TimeoutExpired("python", 1)
        code, said = (
            (-9, b"") if ended == "killed" else (1, b"Traceback\nOSError: [Errno 28] No space left on device\n")
        )
        return subprocess.CompletedProcess([], code, b"", said)

    monkeypatch.setattr("backfleet.releases.deltas.worker.subprocess.run", fails)
    make(shop, repository, now)
    (delta,) = deltas(shop)
    assert delta.note.startswith("making it ")
    monkeypatch.undo()
    make(shop, repository, now)
    assert deltas(shop) == [delta]
    make(shop, repository, now + timedelta(days=1))
    assert [one.note for one in deltas(shop)] == [""]


def test_one_that_makes_something_else_is_a_failure_and_is_tried_again(shop, repository, two, now, monkeypatch):
    """It is a fault of this program's, which another version of it may not have."""
    run = subprocess.run
    wrong = "import backfleet.releases.deltas.__main__ as one; one._makes = lambda *_: False; one.main()"

    def runs_wrong(command, **more):
        return run([command[0], "-c", wrong], **more)

    monkeypatch.setattr("backfleet.releases.deltas.worker.subprocess.run", runs_wrong)
    make(shop, repository, now)
    (delta,) = deltas(shop)
    assert "does not make what it should" in delta.note
    assert (delta.is_final, NAME in signed(shop)) == (False, False)
    monkeypatch.undo()
    make(shop, repository, now + timedelta(days=1))
    assert [one.note for one in deltas(shop)] == [""]


def test_without_the_library_the_server_runs_and_makes_none(shop, repository, two, now, monkeypatch):
    monkeypatch.setattr("backfleet.releases.deltas.worker._has_library", lambda: False)
    make(shop, repository, now)
    assert deltas(shop) == []
    code = "import sys; sys.modules['bsdiff4'] = None; import backfleet.releases"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_hosts_downloaded_is_counted(shop, repository, two, now):
    make(shop, repository, now)
    with shop.transaction() as tx:
        releases.note_delta_downloads(tx, {("rclone", "1.1.0", "linux-amd64", "1.0.0"): 3, ("x", "1", "y", "0"): 1})
    (delta,) = deltas(shop)
    with shop.reading() as tx:
        (found,) = releases.delta_figures(tx)
    assert (found.downloads, found.saved) == (3, 3 * (two[1].size - delta.size))
