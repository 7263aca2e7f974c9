"""zstd: whatever reads it on a machine, it reads the same, refuses the same, and leaves no process behind."""

import gzip
import io
import os
import random
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from backfleet_host import archives, zstd
from backfleet_host.archives import BadArchive, Limits, walk
from backfleet_host.zstd import BrokenZstd
from releases.artifacts import ZSTD, ar, deb, file, program, tar
from releases.artifacts import zstd as packed_with_zstd

PLAIN = random.Random(1).randbytes(3000) + bytes(400_000) + b"end"
PACKED = packed_with_zstd(PLAIN)
SKIPPED = struct.pack("<2I", 0x184D2A5F, 5) + b"hello"
HERE = [reader for reader in zstd.READERS if reader() is not None]


@pytest.fixture(params=HERE, ids=lambda reader: reader.__name__.strip("_"))
def unpacked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], bytes]:
    """Unpack with one of the readers of this machine; check that no process is left."""
    monkeypatch.setattr(zstd, "READERS", (request.param,))

    def read(packed: bytes) -> bytes:
        before = children()
        try:
            with zstd.reading(io.BytesIO(packed)) as stream:  # type: ignore[arg-type]
                return stream.read()
        finally:
            assert children() == before

    return read


def children() -> set[str]:
    """Return the processes that this one started and that still exist."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def test_every_available_reader_of_zstd_is_tested() -> None:
    """Python has its own from 3.14 on."""
    within = "_python" if sys.version_info >= (3, 14) else "_backports"
    assert {reader.__name__ for reader in HERE} >= {within, "_zstandard", "_program"}


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        pytest.param(PACKED, PLAIN, id="one frame"),
        pytest.param(packed_with_zstd(PLAIN[:10]) + PACKED, PLAIN[:10] + PLAIN, id="two frames"),
        pytest.param(packed_with_zstd(b""), b"", id="an empty frame"),
        pytest.param(SKIPPED + PACKED + SKIPPED, PLAIN, id="frames of something else around it"),
        pytest.param(ZSTD.compress(PLAIN), PLAIN, id="without a checksum"),
        pytest.param(ZSTD.compress(PLAIN, 22), PLAIN, id="as small as can be"),
        pytest.param(ZSTD.compress(random.Random(2).randbytes(500_000)), None, id="what cannot be made smaller"),
        pytest.param(b"".join(packed_with_zstd(bytes([n])) for n in range(200)), bytes(range(200)), id="many frames"),
    ],
)
def test_packed_content_is_read_back(unpacked: Callable[[bytes], bytes], packed: bytes, plain: bytes | None) -> None:
    """In one or more frames; skippable frames are ignored."""
    assert unpacked(packed) == (random.Random(2).randbytes(500_000) if plain is None else plain)


def test_a_stream_that_is_cut_off_is_refused(unpacked: Callable[[bytes], bytes]) -> None:
    """Wherever it ends, unless a complete frame is missing, which cannot be noticed."""
    whole = PACKED + SKIPPED
    for length in sorted({*range(1, len(whole), 97), len(PACKED) - 1, len(PACKED) + 3, len(whole) - 1}):
        if length != len(PACKED):
            with pytest.raises(BrokenZstd):
                unpacked(whole[:length])


def test_a_damaged_byte_never_gives_other_content(unpacked: Callable[[bytes], bytes]) -> None:
    """The stream is refused, unless the byte does not matter."""
    refused, places = 0, range(0, len(PACKED), 61)
    for place in places:
        damaged = PACKED[:place] + bytes([PACKED[place] ^ 0x10]) + PACKED[place + 1 :]
        try:
            assert unpacked(damaged) == PLAIN
        except BrokenZstd:
            refused += 1
    assert refused > len(places) * 0.9


def frame(flags: int, rest: bytes) -> bytes:
    """A frame that ends with a block of one byte."""
    return zstd.MAGIC + bytes([flags]) + rest + bytes([1 | 1 << 3, 0, 0]) + b"x"


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        pytest.param(frame(0, bytes([18 << 3])), "needs 268435456 bytes of memory", id="a window of 256 MiB"),
        pytest.param(frame(0, bytes([17 << 3 | 1])), "bytes of memory", id="a window of 144 MiB"),
        pytest.param(frame(0xE0, struct.pack("<Q", 1 << 40)), "bytes of memory", id="a window as large as the content"),
        pytest.param(frame(1, b"\x00\x07"), "needs a dictionary", id="a dictionary"),
        pytest.param(
            zstd.MAGIC + b"\x00\x00\x07\x00\x00", "unknown type, or is too large", id="a block of a kind to come"
        ),
        pytest.param(
            zstd.MAGIC + b"\x00\x00\xfd\xff\xff", "unknown type, or is too large", id="a block that is larger than any"
        ),
        pytest.param(PACKED + b"more", "is followed by something else", id="something behind it"),
        pytest.param(
            PACKED + gzip.compress(b"more"),
            "is followed by something else",
            id="gzip behind it: the program would read it",
        ),
        pytest.param(PACKED + b"\0\0\0\0", "is followed by something else", id="zeros behind it"),
        pytest.param(frame(0x80, b"\x00" + struct.pack("<I", 9)), ".", id="less than it says"),
        pytest.param(frame(0x40, b"\x00\x00\x00"), ".", id="another size than it says"),
    ],
)
def test_a_hostile_stream_is_refused(unpacked: Callable[[bytes], bytes], packed: bytes, reason: str) -> None:
    """By every reader."""
    with pytest.raises(BrokenZstd, match=reason):
        unpacked(packed)


def test_the_largest_allowed_window_is_accepted(unpacked: Callable[[bytes], bytes]) -> None:
    """`zstd --ultra -22` uses it."""
    assert unpacked(frame(0, bytes([17 << 3]))) == b"x"


def test_memory_stays_flat(unpacked: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """64 MB of zeros, packed to some KB: a block at a time."""
    artifact = tmp_path / "artifact"
    artifact.write_bytes(tar(file("a", bytes(64 << 20)), compression="zst"))
    assert artifact.stat().st_size < 20_000
    tracemalloc.start()
    try:
        for _, stream in walk(artifact, "tar", Limits()):
            while stream is not None and stream.read(1 << 17):
                pass
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", ["tar", "deb"])
def test_a_reader_closed_in_the_middle_leaves_nothing_behind(
    unpacked: Callable[[bytes], bytes], tmp_path: Path, form: str
) -> None:
    """Neither a process nor an open file."""
    artifact, before = tmp_path / "artifact", (children(), set(os.listdir("/proc/self/fd")))
    artifact.write_bytes({"tar": tar, "deb": deb}[form](file("a", PLAIN * 9), file("b", PLAIN), compression="zst"))
    entries = walk(artifact, form, Limits())
    _, stream = next(entries)
    assert stream is not None
    assert stream.read(10) == PLAIN[:10]
    entries.close()  # type: ignore[attr-defined]
    with pytest.raises(BadArchive, match="more than 1 entries"):
        list(walk(artifact, form, Limits(entries=1)))
    stream = None
    assert (children(), set(os.listdir("/proc/self/fd"))) == before


def test_members_after_the_data_of_a_debian_package_are_ignored(
    unpacked: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """Also the byte that makes a length even."""
    data = tar(program("a"), compression="zst")
    odd = data if len(data) % 2 else data + struct.pack("<2I", 0x184D2A50, 1) + b"x"
    artifact = tmp_path / "artifact"
    artifact.write_bytes(ar(("debian-binary", b"2.0\n"), ("data.tar.zst", odd), ("_gpgorigin", b"signed")))
    assert [entry.path for entry, _ in walk(artifact, "deb", Limits())] == ["a"]
    artifact.write_bytes(ar(("debian-binary", b"2.0\n"), ("data.tar.zst", odd[:-30])))
    with pytest.raises(BadArchive, match="cannot be read as deb"):
        list(walk(artifact, "deb", Limits()))


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("exit 0", id="takes nothing and is content"),
        pytest.param("cat >/dev/null; exit 1", id="takes all and is not content"),
        pytest.param("kill -9 $$", id="is killed"),
        pytest.param("exec zstd.real -d -c | head -c 200000; exit 1", id="gives a part and is not content"),
    ],
)
def test_a_failing_program_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """If it exits with an error, or does not read everything."""
    fake = tmp_path / "zstd"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    (tmp_path / "zstd.real").symlink_to(subprocess.check_output(["which", "zstd"], text=True).strip())
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    before = children()
    with pytest.raises(BrokenZstd, match="zstd ended with"), zstd._program()(io.BytesIO(PACKED * 20)) as stream:  # type: ignore[misc]
        while stream.read(1 << 16):
            pass
    assert children() == before


def test_the_message_says_what_to_install_for_zstd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers can find out before whether it reads zstd, and whether an artifact needs that."""
    artifact = tmp_path / "artifact"
    artifact.write_bytes(tar(program("a"), compression="zst"))
    assert archives.can_read_zstd()
    monkeypatch.setattr(zstd, "READERS", (lambda: None,))
    assert not archives.can_read_zstd()
    assert archives.compression_of(artifact, "tar") == "zstd"
    with pytest.raises(BadArchive, match="nothing on this machine reads zstd: install the program zstd"):
        list(walk(artifact, "tar", Limits()))


@pytest.mark.parametrize(
    ("form", "content", "compression"),
    [
        pytest.param("tar", tar(file("a")), "", id="tar"),
        pytest.param("tar", tar(file("a"), compression="gz"), "gzip", id="tar.gz"),
        pytest.param("tar", tar(file("a"), compression="bz2"), "bzip2", id="tar.bz2"),
        pytest.param("deb", deb(file("a")), "xz", id="deb"),
        pytest.param("deb", deb(file("a"), compression="zst"), "zstd", id="deb of Ubuntu"),
        pytest.param("binary", PACKED, "", id="a program that only begins like it"),
        pytest.param("tar", b"", "", id="nothing"),
    ],
)
def test_the_compression_is_found_by_the_first_bytes(
    tmp_path: Path, form: str, content: bytes, compression: str
) -> None:
    """The file name does not matter."""
    artifact = tmp_path / "artifact"
    artifact.write_bytes(content)
    assert archives.compression_of(artifact, form) == compression
