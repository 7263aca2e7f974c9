"""An artifact is recognised by its bytes, whatever it is called; what hosts cannot use is refused by name."""

import gzip
from pathlib import Path

import pytest

from backfleet.releases import ReleaseRefused
from backfleet.releases.contents import format_of
from releases.artifacts import ar, deb, file, program, tar, zipped

WHEEL = zipped(file("acme-1.0.data/scripts/acme"), file("acme-1.0.dist-info/WHEEL", b"Wheel-Version: 1.0\n"))
ELF = b"\x7fELF" + bytes(60)
SCRIPT = b"#!/bin/sh\necho 1.0\n"


def written(folder: Path, content: bytes) -> Path:
    """Write an artifact under a name that says nothing."""
    path = folder / "upload"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "form"),
    [
        pytest.param(WHEEL, "wheel", id="wheel"),
        pytest.param(zipped(program("acme")), "zip", id="zip"),
        pytest.param(deb(program("usr/bin/acme")), "deb", id="deb"),
        pytest.param(tar(program("acme")), "tar", id="tar"),
        pytest.param(tar(), "tar", id="tar with nothing in it"),
        pytest.param(tar(program("acme"), compression="gz"), "tar", id="tar.gz"),
        pytest.param(tar(program("acme"), compression="bz2"), "tar", id="tar.bz2"),
        pytest.param(tar(program("acme"), compression="xz"), "tar", id="tar.xz"),
        pytest.param(tar(program("acme"), compression="zst"), "tar", id="tar.zst"),
        pytest.param(ELF, "binary", id="a program"),
        pytest.param(SCRIPT, "binary", id="a script"),
        pytest.param(b"#!/usr/bin/env python3\n" + zipped(file("__main__.py")), "binary", id="zipapp"),
    ],
)  # fmt: skip
def test_a_format_is_recognised_by_its_bytes(tmp_path: Path, content: bytes, form: str) -> None:
    """Naming it changes nothing; naming another one is refused, with both names."""
    artifact = written(tmp_path, content)
    assert format_of(artifact, "") == format_of(artifact, form) == form
    other = "tar" if form != "tar" else "binary"
    with pytest.raises(ReleaseRefused, match=f"in the format {form}, and the format given is {other}"):
        format_of(artifact, other)


def test_a_wheel_may_be_added_as_the_zip_that_it_is(tmp_path: Path) -> None:
    """A zip keeps the modes that it was packed with."""
    assert format_of(written(tmp_path, WHEEL), "zip") == "zip"


@pytest.mark.parametrize("given", ["", "binary", "tar", "deb"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"\xed\xab\xee\xdb\x03\x00" + bytes(90), "an RPM package.*rpm2archive", id="rpm"),
        pytest.param(b"\n<!DOCTYPE html>\n<html><title>404", "an HTML page.*download the file again", id="HTML"),
        pytest.param(b"\xef\xbb\xbf<html>", "an HTML page", id="HTML with a byte order mark"),
        pytest.param(b"<?xml version='1.0'?><Error><Code>NoSuchKey", "an HTML page", id="XML of an object store"),
        pytest.param(b"Not Found", "plain text and no program; it begins with 'Not Found'", id="text"),
        pytest.param(b"1.8", "plain text and no program", id="three bytes"),
        pytest.param(("ä" * 3000).encode()[:4097], "plain text", id="text that is cut off within a character"),
        pytest.param(b'{"message": "Not Found"}', "plain text", id="JSON"),
        pytest.param(gzip.compress(ELF), "with gzip and has no tar in it: run `gunzip", id="a packed program"),
        pytest.param(b"MZ" + bytes(90), "for Windows", id="exe"),
        pytest.param(b"\xcf\xfa\xed\xfe" + bytes(90), "for macOS", id="Mach-O"),
        pytest.param(b"7z\xbc\xaf\x27\x1c" + bytes(90), "7-Zip", id="7z"),
        pytest.param(b"hsqs" + bytes(90), "SquashFS", id="snap"),
        pytest.param(b"LZIP" + bytes(90), "compressed with lzip, which is not supported", id="lzip"),
        pytest.param(ar(("acme.o", b"x")), "an ar archive", id="library"),
        pytest.param(bytes(range(200, 256)), "it begins with c8 c9", id="noise"),
        pytest.param(tar(program("acme"), compression="xz")[:40], "the artifact is refused", id="cut off at once"),
    ],
)  # fmt: skip
def test_what_no_host_can_use_is_refused_by_name(tmp_path: Path, content: bytes, says: str, given: str) -> None:
    """Whatever it is called by whoever adds it; the text says what to do."""
    with pytest.raises(ReleaseRefused, match=says):
        format_of(written(tmp_path, content), given)
