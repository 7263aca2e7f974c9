"""Archives: what is honest is read right; what is hostile, cut off or damaged is refused, always with one error."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import struct
import tarfile
import tempfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backfleet_host import archives
from backfleet_host.archives import BadArchive, Limits, tree, walk
from backfleet_host.archives import zip as zip_format
from backfleet_host.manifest import Manifest
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.host.trees import unpack
from releases.artifacts import Packed, ar, deb, file, folder, hard_link, link, program, tar, zipped, zstd

Read = Callable[..., list[tuple[str, int, str | None, bytes]]]
CLIENT = (folder("usr"), program("usr/bin/rclone", "1.0"), file("usr/share/é/notes", b"n" * 5000), link("r", "usr/bin"))


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read an archive to its end; give path, mode, link and content of each entry. Paths of folders end in /."""

    def read(
        content: bytes, form: str = "tar", limits: Limits | None = None
    ) -> list[tuple[str, int, str | None, bytes]]:
        artifact = tmp_path / "artifact"
        artifact.write_bytes(content)
        return read_file(artifact, form, limits or Limits())

    return read


def read_file(artifact: Path, form: str, limits: Limits) -> list[tuple[str, int, str | None, bytes]]:
    found = []
    for entry, stream in walk(artifact, form, limits, "rclone"):
        content = b""
        while stream is not None and (piece := stream.read(1000)):
            content += piece
        found.append((entry.path + "/" * entry.is_folder, entry.mode, entry.link, content))
    return found


# --- What is honest -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "content"),
    [
        pytest.param("tar", tar(*CLIENT), id="tar"),
        pytest.param("tar", tar(*CLIENT, form=tarfile.GNU_FORMAT), id="tar of GNU"),
        pytest.param("tar", tar(*CLIENT, form=tarfile.USTAR_FORMAT), id="tar of 1988"),
        pytest.param("tar", tar(*CLIENT, compression="gz"), id="tar.gz"),
        pytest.param("tar", tar(*CLIENT, compression="bz2"), id="tar.bz2"),
        pytest.param("tar", tar(*CLIENT, compression="xz"), id="tar.xz"),
        pytest.param("tar", tar(*CLIENT, compression="zst"), id="tar.zst"),
        pytest.param("zip", zipped(*CLIENT), id="zip"),
        pytest.param("zip", zipped(*CLIENT, compression=zipfile.ZIP_STORED), id="zip, not compressed"),
        pytest.param("deb", deb(*CLIENT), id="deb"),
        pytest.param("deb", deb(*CLIENT, compression="zst"), id="deb of Ubuntu"),
        pytest.param("deb", deb(*CLIENT, compression="gz"), id="deb of old"),
        pytest.param("deb", deb(*CLIENT, compression=""), id="deb, not compressed"),
    ],
)
def test_an_archive_is_read_as_it_was_packed(read: Read, form: str, content: bytes) -> None:
    """Names, modes, links and every byte, in the archive's order."""
    assert read(content, form) == [
        ("usr/", 0o755, None, b""),
        ("usr/bin/rclone", 0o755, None, b"#!/bin/sh\necho 1.0\n"),
        ("usr/share/é/notes", 0o644, None, b"n" * 5000),
        ("r", 0o777, "usr/bin", b""),
    ]


def test_files_of_a_wheel_get_the_modes_that_installers_give(read: Read) -> None:
    """Its scripts are always programs. Of other files, only the executable bit counts."""
    modes = {"b-1.data/scripts/b": 0o644, "b-1.data/scripts/deep/b": 0o644, "b/private.py": 0o600, "b/tool": 0o700}
    wheel = zipped(*(file(path, mode=mode) for path, mode in modes.items()))
    assert [mode for _, mode, _, _ in read(wheel, "wheel")] == [0o755, 0o644, 0o644, 0o755]
    assert [mode for _, mode, _, _ in read(wheel, "zip")] == list(modes.values())


def test_a_plain_binary_is_named_after_its_package(read: Read) -> None:
    """Its content does not matter."""
    assert read(b"\x7fELF", "binary") == [("rclone", 0o755, None, b"\x7fELF")]


def test_a_leading_dot_in_tar_names_is_removed(read: Read) -> None:
    """`tar -C folder -c .`, as Debian packages have it."""
    assert [path for path, *_ in read(tar(folder("."), folder("./usr"), file("./usr/a")))] == ["usr/", "usr/a"]


def test_files_of_a_zip_without_modes_are_readable(read: Read) -> None:
    """Made on another system."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        info = zipfile.ZipInfo("a")
        info.create_system = 0
        archive.writestr(info, b"x")
        archive.infolist()[0].external_attr = 0
    assert read(content.getvalue(), "zip") == [("a", 0o644, None, b"x")]


@pytest.mark.parametrize(("form", "pack"), [("tar", tar), ("deb", deb), ("zip", zipped)])
@pytest.mark.parametrize("mode", [0o000, 0o600, 0o750, 0o4755, 0o2755, 0o6711])
def test_modes_stay_as_packed(tmp_path: Path, form: str, pack: Callable[..., bytes], mode: int) -> None:
    """Set-uid and set-gid of files that are named, too."""
    artifact = tmp_path / "artifact"
    artifact.write_bytes(pack(file("a", mode=mode)))
    assert [entry.mode for entry, _ in walk(artifact, form, Limits(), set_uid=("a",))] == [mode]


def test_a_tar_of_several_compressed_streams_is_read(read: Read) -> None:
    """Compressed in parallel: several streams one after the other."""
    plain = tar(*CLIENT)
    for compress in (lzma.compress, bz2.compress, gzip.compress, zstd):
        packed = compress(plain[:2000]) + compress(plain[2000:])
        assert read(packed) == read(plain)
        with pytest.raises(BadArchive):
            read(packed + b"something else")
    for compress in (lzma.compress, bz2.compress, gzip.compress):
        assert read(compress(plain[:2000]) + bytes(20_000) + compress(plain[2000:]) + bytes(4)) == read(plain)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("b", id="beside it"),
        pytest.param("./x/y", id="further down"),
        pytest.param("../e/f", id="up and down again"),
        pytest.param("../..", id="the tree itself"),
        pytest.param("nowhere", id="to nothing"),
    ],
)
@pytest.mark.parametrize(("form", "pack"), [("tar", tar), ("zip", zipped)])
def test_a_link_within_the_tree_stays_unchanged(read: Read, form: str, pack: Callable[..., bytes], target: str) -> None:
    """Unchanged in every character."""
    assert read(pack(link("c/d/l", target)), form) == [("c/d/l", 0o777, target, b"")]


# --- What is hostile ------------------------------------------------------------------------------------------------

OUT, NOT_ALLOWED, TWICE, UNDER = (
    "would leave the tree",
    "is empty, too long",
    "is there twice",
    "lies under something",
)
POINTS_OUT = "points out of the tree"

HOSTILE = [
    pytest.param([file("/etc/passwd")], OUT, id="absolute path"),
    pytest.param([file("../x")], OUT, id="up and out"),
    pytest.param([file("a/../../x")], OUT, id="down, up and out"),
    pytest.param([file("a/../x")], OUT, id="up again, within"),
    pytest.param([file("a//x")], OUT, id="two slashes"),
    pytest.param([file("a/./x")], OUT, id="a dot between"),
    pytest.param([file("..")], OUT, id="only dots"),
    pytest.param([file("a/.")], OUT, id="a dot at the end"),
    pytest.param([folder("../x")], OUT, id="a folder outside"),
    pytest.param([file("a\nb")], NOT_ALLOWED, id="newline"),
    pytest.param([file("a\x1b[2Jb")], NOT_ALLOWED, id="control character"),
    pytest.param([file("a\x9bb")], NOT_ALLOWED, id="control character of eight bits"),
    pytest.param([file("..\\x")], NOT_ALLOWED, id="backslash"),
    pytest.param([file("a" * 256)], NOT_ALLOWED, id="a name longer than Linux takes"),
    pytest.param([file("é" * 128)], NOT_ALLOWED, id="a name whose bytes are more than Linux takes"),
    pytest.param([file("/".join(["a" * 100] * 11))], NOT_ALLOWED, id="too long a path"),
    pytest.param([file("/".join("a" * 66))], "64 folders deep", id="too deep"),
    pytest.param([link("l", "/etc/passwd")], POINTS_OUT, id="link to an absolute path"),
    pytest.param([link("l", "..")], POINTS_OUT, id="link out of the tree"),
    pytest.param([link("a/l", "../../x")], POINTS_OUT, id="link out from further down"),
    pytest.param([link("l", "a/../../x")], POINTS_OUT, id="link down, up and out"),
    pytest.param([link("a/b/c", "../.."), link("x", "a/b/c/..")], POINTS_OUT, id="link up from where a link leads"),
    pytest.param([link("l", "a\nb")], "has a target", id="link to a newline"),
    pytest.param([link("l", "a/" * 600)], "has a target", id="link to something endless"),
    pytest.param([link("l", "a"), file("l/x")], UNDER, id="file through a link"),
    pytest.param([link("l", "a"), folder("l/x")], UNDER, id="folder through a link"),
    pytest.param([link("l", "a"), folder("l")], TWICE, id="folder over a link"),
    pytest.param([link("l", "a"), file("l")], TWICE, id="file over a link"),
    pytest.param([file("a"), link("a", "b")], TWICE, id="link over a file"),
    pytest.param([folder("a"), link("a", "b")], TWICE, id="link over a folder"),
    pytest.param([file("a/x"), link("a", "b")], TWICE, id="link over a folder nobody named"),
    pytest.param([file("a"), file("a")], TWICE, id="the same file twice"),
    pytest.param([folder("a"), file("a")], TWICE, id="file over a folder"),
    pytest.param([file("a"), folder("a")], TWICE, id="folder over a file"),
    pytest.param([file("a"), file("a/x")], UNDER, id="file under a file"),
    pytest.param([Packed("f", kind="fifo")], "is neither", id="fifo"),
    pytest.param([Packed("d", kind="device")], "is neither", id="device"),
    pytest.param([file("a", mode=0o4755)], "set-uid", id="set-uid"),
    pytest.param([file("a", mode=0o2755)], "set-uid", id="set-gid"),
    pytest.param([file("a", mode=0o1755)], "sticky", id="sticky"),
]


@pytest.mark.parametrize(("things", "reason"), HOSTILE)
@pytest.mark.parametrize(("form", "pack"), [("tar", tar), ("zip", zipped), ("wheel", zipped), ("deb", deb)])
def test_a_hostile_archive_is_refused(
    read: Read, form: str, pack: Callable[..., bytes], things: list[Packed], reason: str
) -> None:
    """In every format, with a text that shows no control character."""
    with pytest.raises(BadArchive, match=reason) as refused:
        read(pack(*things), form)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(("form", "pack"), [("tar", tar), ("deb", deb)])
@pytest.mark.parametrize("dot", ["", "./"])
def test_a_hard_link_becomes_a_copy(tmp_path: Path, form: str, pack: Callable[..., bytes], dot: str) -> None:
    """As in Debian packages: it has the size and mode of the file. A hard link to a hard link works, too."""
    artifact = tmp_path / "artifact"
    artifact.write_bytes(
        pack(program(f"{dot}bin/perl", "5"), hard_link(f"{dot}perl5", f"{dot}bin/perl"), hard_link("p", f"{dot}perl5"))
    )
    found = [(entry.path, entry.copy_of, entry.size, entry.mode) for entry, _ in walk(artifact, form, Limits())]
    assert found == [("bin/perl", None, 17, 0o755), ("perl5", "bin/perl", 17, 0o755), ("p", "perl5", 17, 0o755)]


@pytest.mark.parametrize(
    "things",
    [
        pytest.param([hard_link("b", "a")], id="nothing"),
        pytest.param([hard_link("b", "a"), file("a")], id="a file after it"),
        pytest.param([hard_link("b", "b")], id="itself"),
        pytest.param([hard_link("b", "/etc/shadow")], id="an absolute path"),
        pytest.param([file("a"), hard_link("c/b", "../a")], id="a way up"),
        pytest.param([file("a"), hard_link("b", "./././a")], id="another way to write it"),
        pytest.param([folder("a"), hard_link("b", "a")], id="a folder"),
        pytest.param([link("a", "/etc/shadow"), hard_link("b", "a")], id="a link out"),
        pytest.param([file("c"), link("a", "c"), hard_link("b", "a")], id="a link within"),
        pytest.param([file("d/x"), link("a", "d"), hard_link("b", "a/x")], id="a file through a link"),
    ],
)
def test_a_hard_link_to_anything_else_is_refused(read: Read, things: list[Packed]) -> None:
    """Its file must come before it in the archive."""
    with pytest.raises(BadArchive, match=r"points out of the tree|leads to no file that comes before it"):
        read(tar(*things))


def test_hard_links_count_towards_the_limits(read: Read) -> None:
    """Otherwise a file and a hundred thousand links could fill any disk."""
    things = [file("a", b"x" * 60), hard_link("b", "a"), hard_link("c", "b")]
    assert len(read(tar(*things), limits=Limits(180, 3))) == 3
    with pytest.raises(BadArchive, match="unpacks to more than 179 bytes"):
        read(tar(*things), limits=Limits(179, 3))
    with pytest.raises(BadArchive, match="more than 2 entries"):
        read(tar(*things), limits=Limits(180, 2))


@pytest.mark.parametrize(
    "things",
    [
        pytest.param([file("a", mode=0o4755)], id="a name that is another's beginning"),
        pytest.param([file("ab", mode=0o1755)], id="the sticky bit"),
        pytest.param([file("ab", mode=0o4755), hard_link("c", "ab")], id="a copy under another name"),
    ],
)
def test_set_uid_is_accepted_for_named_files_only(tmp_path: Path, things: list[Packed]) -> None:
    """Unchanged in every character."""
    artifact = tmp_path / "artifact"
    artifact.write_bytes(tar(*things))
    with pytest.raises(BadArchive, match="that its release does not name"):
        list(walk(artifact, "tar", Limits(), set_uid=("ab",)))


def test_a_name_that_is_not_utf8_is_refused(read: Read) -> None:
    """It could not be written into a manifest."""
    with pytest.raises(BadArchive, match=NOT_ALLOWED):
        read(tar(file("a\udcff"), form=tarfile.GNU_FORMAT))
    broken = zipped(file("aé")).replace("é".encode(), b"\xff\xff")
    with pytest.raises(BadArchive, match="cannot be read as zip"):
        read(broken, "zip")


@pytest.mark.parametrize("thing", [file("."), folder("."), link(".", "a"), folder("")])
def test_an_entry_for_the_tree_itself_is_refused_in_a_zip(read: Read, thing: Packed) -> None:
    """A file or a link could take its place. Only tar has such entries."""
    with pytest.raises(BadArchive, match=f"{OUT}|{NOT_ALLOWED}"):
        read(zipped(thing), "zip")


def test_a_name_that_goes_on_after_a_nul_is_refused(read: Read) -> None:
    """One reader would see `a`, another `a<NUL>.txt`."""
    with pytest.raises(BadArchive, match="goes on after a NUL"):
        read(zipped(file("a\0.txt")), "zip")


def test_an_unknown_format_is_refused(read: Read) -> None:
    """The message names the known ones."""
    with pytest.raises(BadArchive, match="wheel, deb, tar, zip, binary"):
        read(b"", "rpm")


HONEST = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
ANY = st.lists(st.sampled_from(["a", "b", "c", "..", "..", ".", ""]), min_size=1, max_size=4).map("/".join)
PATH = st.one_of(HONEST, HONEST, HONEST, HONEST, ANY)
THING = st.one_of(
    st.builds(file, PATH), st.builds(folder, PATH), st.builds(link, HONEST, ANY), st.builds(hard_link, PATH, PATH)
)


@example([link("a/b/c", "../.."), link("x", "a/b/c/..")], "tar")
@example([file("a"), file(".")], "zip")
@example([link("a", "b"), hard_link("c", "a"), file("c/d")], "tar")
@settings(max_examples=150, deadline=None)
@given(st.lists(THING, max_size=6), st.sampled_from(["tar", "zip"]))
def test_no_accepted_entry_leaves_the_tree(things: list[Packed], form: str) -> None:
    """Each path ends within the tree, even if links are followed as the kernel follows them."""
    things = [thing for thing in things if form == "tar" or thing.kind != "hard link"]
    with tempfile.TemporaryDirectory() as name:
        tree, artifact = Path(name, "outside", "tree"), Path(name, "artifact")
        for neighbour in "abc":
            Path(name, "outside", neighbour).mkdir(parents=True)
        artifact.write_bytes({"tar": tar, "zip": zipped}[form](*things))
        try:
            files = unpack(artifact, manifest(form), tree)
        except OrderFailed:
            files = {}
        assert sorted(str(path.relative_to(name)) for path in Path(name).glob("**/*") if tree not in path.parents) == [
            "artifact",
            "outside",
            *(f"outside/{neighbour}" for neighbour in ("a", "b", "c", "tree")),
        ]
        for path in tree.rglob("*"):
            with contextlib.suppress(OSError):  # it leads nowhere, or in a circle
                assert Path(os.path.realpath(path, strict=True)).is_relative_to(tree.resolve())
        assert all((tree / path).is_symlink() or (tree / path).is_file() for path in files)
        assert all(path.is_symlink() or path.is_dir() or path.stat().st_nlink == 1 for path in tree.rglob("*"))


def manifest(form: str) -> Manifest:
    return Manifest("rclone", "1.0", "linux-amd64", form, ("a",), unpacked_bytes=1 << 20, entries=100)


# --- Limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "pack"), [("tar", tar), ("zip", zipped)])
def test_the_limits_are_exact(read: Read, form: str, pack: Callable[..., bytes]) -> None:
    """For bytes and for entries."""
    content = pack(file("a", b"x" * 60), folder("b"), file("b/c", b"x" * 40))
    assert len(read(content, form, Limits(100, 3))) == 3
    with pytest.raises(BadArchive, match="unpacks to more than 99 bytes"):
        read(content, form, Limits(99, 3))
    with pytest.raises(BadArchive, match="more than 2 entries"):
        read(content, form, Limits(100, 2))


@pytest.mark.parametrize(
    ("form", "pack"), [("tar", lambda *things: tar(*things, compression="gz")), ("zip", zipped)], ids=["tar.gz", "zip"]
)
def test_an_archive_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, form: str, pack: Callable[..., bytes]
) -> None:
    """20 MB in 20 KB: not one byte is given out."""
    artifact = tmp_path / "artifact"
    artifact.write_bytes(pack(file("a", bytes(20 << 20))))
    with pytest.raises(BadArchive, match="unpacks to more than"):
        next(walk(artifact, form, Limits(unpacked_bytes=1 << 20)))


def test_implied_folders_have_a_limit(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry may imply many."""
    monkeypatch.setattr(tree, "MOST_FOLDERS", 5)
    assert read(tar(file("a/b/c/d/e/x")))
    with pytest.raises(BadArchive, match="more than 5 folders"):
        read(tar(file("a/b/c/d/e/f/x")))


def test_a_huge_description_of_an_entry_is_not_read(tmp_path: Path) -> None:
    """32 MB of extended header would be held in memory."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 32 << 20
    artifact = tmp_path / "artifact"
    artifact.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(32 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(BadArchive, match="a header announces"):
            read_file(artifact, "tar", Limits())
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def described(kind: bytes, content: bytes) -> bytes:
    """A PAX header of a tar."""
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, len(content)
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


def record(name: str, value: str) -> bytes:
    """One field of a PAX header."""
    length = len(f" {name}={value}\n")
    length += len(str(length + len(str(length))))
    return f"{length} {name}={value}\n".encode()


DOT = tarfile.TarInfo("./")
DOT.type = tarfile.DIRTYPE
DOTS = DOT.tobuf(tarfile.USTAR_FORMAT)
MUCH = b"".join(record(f"backfleet.{number}", "x") for number in range(2000))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lzma.compress(DOTS * 30_000, preset=0), id="the tree itself, again and again"),
        pytest.param(gzip.compress((described(tarfile.XGLTYPE, MUCH) + DOTS) * 400, 1), id="words on all entries"),
        pytest.param(gzip.compress(described(tarfile.XGLTYPE, MUCH) * 400, 1), id="words on all entries of none"),
        pytest.param(gzip.compress((described(tarfile.XHDTYPE, MUCH) + DOTS) * 400, 1), id="words on the tree itself"),
        pytest.param(gzip.compress(described(tarfile.XHDTYPE, MUCH) * 400, 1), id="words on no entry"),
        pytest.param(gzip.compress((described(b"L", b"./".ljust(60_000, b"\0")) + DOTS) * 400, 1), id="long names"),
    ],
)
def test_headers_that_are_no_entries_have_limits(tmp_path: Path, content: bytes) -> None:
    """They are small packed and large unpacked. Memory stays flat."""
    artifact = tmp_path / "artifact"
    artifact.write_bytes(content)
    assert peak_of_refusal(artifact, "tar", "its headers are larger|a header announces") < 2 << 20


def peak_of_refusal(artifact: Path, form: str, reason: str) -> int:
    """Return how many bytes of memory a refusal takes."""
    tracemalloc.start()
    try:
        with pytest.raises(BadArchive, match=reason):
            read_file(artifact, form, Limits(1000, 10))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_global_headers_are_ignored(read: Read) -> None:
    """`git archive` writes a commit there. Headers of single files still apply."""
    comment = described(tarfile.XGLTYPE, record("comment", "4ba7122"))
    assert [path for path, *_ in read(comment + tar(file("é" * 100), file("b")))] == ["é" * 100, "b"]
    assert read(comment + bytes(1024)) == []


@pytest.mark.parametrize("name", ["path", "linkpath", "size", "hdrcharset", "GNU.sparse.map"])
def test_global_headers_that_rename_or_resize_entries_are_refused(read: Read, name: str) -> None:
    """Some readers would apply them."""
    with pytest.raises(BadArchive, match="gives all entries a name or size"):
        read(described(tarfile.XGLTYPE, record("comment", "x") + record(name, "1")) + tar(file("a")))


def test_an_archive_with_long_names_and_attributes_is_accepted(read: Read) -> None:
    """Every entry with a long name, a long target and attributes: far below the limits."""
    names = [f"{number:04}" + "é" * 120 for number in range(200)]
    things = tar(*(link(name, f"{name}/{name}") for name in names), file("x"))
    assert len(read(things, limits=Limits(1, 201))) == 201


def table(count: int, announced: int, *, zip64: bool = False) -> bytes:
    """A zip whose table has so many entries, and whose end record has another number."""
    whole = zipped(file("a", b""))
    begin, end = whole.index(b"PK\x01\x02"), whole.index(b"PK\x05\x06")
    records = whole[begin:end] * count
    small = (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF) if zip64 else (announced, len(records), begin)
    last = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, small[0], *small, 0)
    if zip64:
        large = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, announced, announced, len(records), begin)
        last = large + struct.pack("<4sIQI", b"PK\x06\x07", 0, begin + len(records), 1) + last
    return whole[:begin] + records + last


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(table(11, 11), "more than 10 entries", id="one too many"),
        pytest.param(table(20_000, 20_000), "more than 10 entries", id="many"),
        pytest.param(table(20_000, 1), "more than 10 entries", id="many, and one is announced to be there"),
        pytest.param(table(20_000, 20_000, zip64=True), "more than 10 entries", id="many, in the newer way"),
        pytest.param(table(20_000, 1, zip64=True), "more than 10 entries", id="many and one, in the newer way"),
        pytest.param(table(600_000, 1), "table of contents is larger", id="more than is read"),
        pytest.param(table(600_000, 600_000, zip64=True), "table of contents is larger", id="more, in the newer way"),
    ],
)
def test_a_table_of_contents_is_counted_before_it_is_parsed(tmp_path: Path, content: bytes, reason: str) -> None:
    """zipfile makes an object of each entry first."""
    artifact = tmp_path / "artifact"
    artifact.write_bytes(content)
    assert peak_of_refusal(artifact, "zip", reason) < 4 << 20


def test_entries_of_a_zip_in_a_zip_do_not_count(read: Read) -> None:
    """Its table of contents is content of a file."""
    inner = zipped(*(file(f"{number}") for number in range(100)))
    content = zipped(file("inner.zip", inner), compression=zipfile.ZIP_STORED)
    commented = content[:-2] + struct.pack("<H", 5) + b"hello"
    for packed in (content, commented):
        assert len(read(packed, "zip", Limits(len(inner), 1))) == 1


def with_dictionary(packed: bytes, size_code: int) -> bytes:
    """A stream of xz with a dictionary of another size: 28 is 64 MiB, 32 is 256 MiB, 40 is 4 GiB."""
    header = packed[12:16] + bytes([size_code]) + packed[17:20]
    return packed[:12] + header + zlib.crc32(header).to_bytes(4, "little") + packed[24:]


def test_xz_gets_no_more_memory_than_its_strongest_level_needs(read: Read) -> None:
    """A few bytes could take 4 GiB."""
    packed = tar(*CLIENT, compression="xz")
    assert read(with_dictionary(packed, 28)) == read(packed)
    for size_code in (32, 40):
        with pytest.raises(BadArchive, match=r"[Mm]emory"):
            read(with_dictionary(packed, size_code))


def test_an_archive_that_does_not_fit_into_memory_is_refused(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same error as anything else that cannot be read."""

    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(lzma, "LZMADecompressor", exhausted)
    with pytest.raises(BadArchive, match="cannot be read as tar: MemoryError"):
        read(tar(*CLIENT, compression="xz"))


def test_a_table_of_contents_that_is_too_large_is_not_read(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """zipfile reads it before any entry."""
    content = zipped(*(file(f"file-{number}") for number in range(100)))
    assert len(read(content, "zip")) == 100
    monkeypatch.setattr(zip_format, "LARGEST_DIRECTORY", 1000)
    with pytest.raises(BadArchive, match="table of contents"):
        read(content, "zip")


@pytest.mark.parametrize(
    "pax_headers",
    [
        pytest.param({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}, id="1.0"),
        pytest.param({"GNU.sparse.size": "9", "GNU.sparse.numblocks": "1"}, id="0.0"),
        pytest.param({"GNU.sparse.map": "0,9"}, id="0.1"),
    ],
)
def test_sparse_files_are_refused(read: Read, pax_headers: dict[str, str]) -> None:
    """A few bytes could stand for any number, and their maps have no limit."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a")
        info.size, info.pax_headers = 512, pax_headers
        archive.addfile(info, io.BytesIO(b"1\n0\n9\n".ljust(512, b"\0")))
    with pytest.raises(BadArchive, match="sparse"):
        read(content.getvalue())


def test_sparse_files_of_the_gnu_format_are_refused(read: Read) -> None:
    """They have a type of their own in the header."""
    header = tarfile.TarInfo("a")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 0
    with pytest.raises(BadArchive, match="sparse"):
        read(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def test_endless_headers_without_an_entry_are_refused(read: Read) -> None:
    """Thousands of extended headers in a row."""
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    with pytest.raises(BadArchive, match="cannot be read as tar"):
        read(header.tobuf(tarfile.GNU_FORMAT) * 5000)


# --- What is cut off or damaged -------------------------------------------------------------------------------------

SMALL = (program("bin/rclone", "1.0"), file("a", random.Random(1).randbytes(700)), link("l", "a"))


@pytest.mark.parametrize(
    ("form", "content"),
    [
        pytest.param("tar", tar(*SMALL)[: 512 * 7], id="tar"),  # one block of zeros is its end
        pytest.param("tar", tar(*SMALL, compression="gz"), id="tar.gz"),
        pytest.param("tar", tar(*SMALL, compression="bz2"), id="tar.bz2"),
        pytest.param("tar", tar(*SMALL, compression="xz"), id="tar.xz"),
        pytest.param("tar", tar(*SMALL, compression="zst"), id="tar.zst"),
        pytest.param("zip", zipped(*SMALL), id="zip"),
        pytest.param("deb", deb(*SMALL), id="deb"),
    ],
)
def test_an_archive_that_is_cut_off_is_refused(read: Read, form: str, content: bytes) -> None:
    """Wherever it ends, also between two entries."""
    assert len(read(content, form)) == 3
    for length in sorted({*range(0, len(content), 23), *range(0, len(content), 512), len(content) - 1}):
        with pytest.raises(BadArchive):
            read(content[:length], form)


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz", "zst"])
def test_f70_a_damaged_byte_never_gives_other_content(read: Read, compression: str) -> None:
    """On a host: the archive is refused, unless the byte does not matter."""
    content = tar(*SMALL, compression=compression)
    whole = read(content)
    refused = 0
    for place in range(0, len(content), 5):
        damaged = content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]
        try:
            assert read(damaged) == whole
        except BadArchive:
            refused += 1
    assert refused > len(content) / 5 * 0.9


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("form", "content"),
    [("tar", tar(*SMALL)), ("tar", tar(*SMALL, compression="gz")), ("zip", zipped(*SMALL)), ("deb", deb(*SMALL))],
    ids=["tar", "tar.gz", "zip", "deb"],
)
def test_every_damaged_archive_raises_the_same_error(read: Read, form: str, content: bytes, seed: int) -> None:
    """The libraries raise a dozen kinds of errors for damaged archives."""
    draw = random.Random(seed)
    for _ in range(50):
        damaged = bytearray(content)
        for _ in range(draw.choice((1, 2, 8))):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        with contextlib.suppress(BadArchive):
            read(bytes(damaged), form, Limits(1 << 20, 100))


def test_a_damaged_header_is_not_taken_for_the_end(read: Read) -> None:
    """Otherwise the entries before it would be accepted as the archive."""
    content = bytearray(tar(file("a"), file("b")))
    content[1024] ^= 1
    with pytest.raises(BadArchive, match="a header is missing, cut off or damaged"):
        read(bytes(content))


def test_only_a_few_zeros_may_follow_the_end_of_a_tar(read: Read) -> None:
    """Some readers would see a second archive behind the first, others would not."""
    content = tar(file("a"))
    assert len(read(content + bytes(20_000))) == 1
    for more in (tar(file("b")), bytes((1 << 20) + 20_000)):
        with pytest.raises(BadArchive, match="something follows"):
            read(content + more)


def test_a_wrong_checksum_in_a_zip_is_refused(read: Read) -> None:
    """The bytes were changed after they were packed."""
    content = zipped(file("a", b"honest"), compression=zipfile.ZIP_STORED)
    with pytest.raises(BadArchive, match="CRC"):
        read(content.replace(b"honest", b"hostil"), "zip")


@pytest.mark.parametrize(
    ("size", "reason"),
    [pytest.param(3, "CRC", id="less than there is"), pytest.param(5000, "early|CRC", id="more than there is")],
)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_a_zip_with_wrong_sizes_is_refused(read: Read, compression: int, size: int, reason: str) -> None:
    """Content must have the announced size."""
    content = bytearray(zipped(file("a", b"ten bytes!"), compression=compression))
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<I", size)
    with pytest.raises(BadArchive, match=reason):
        read(bytes(content), "zip")


def test_a_zip_with_two_names_for_one_entry_is_refused(read: Read) -> None:
    """One reader takes the name in the table of contents, another the name before the entry."""
    content = zipped(file("good"))
    with pytest.raises(BadArchive, match="cannot be read as zip"):
        read(content.replace(b"good", b"evil", 1), "zip")


def test_an_encrypted_zip_is_refused(read: Read) -> None:
    """The message says that it is encrypted."""
    content = bytearray(zipped(file("a")))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + place] |= 1
    with pytest.raises(BadArchive, match="encrypted"):
        read(bytes(content), "zip")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_a_zip_with_an_unsupported_compression_is_refused(read: Read, compression: int) -> None:
    """A few bytes could fill the memory."""
    with pytest.raises(BadArchive, match="repack it with deflate"):
        read(zipped(file("a"), compression=compression), "zip")


@pytest.mark.parametrize(
    ("content", "compression"),
    [
        pytest.param(lzma.compress(tar(file("a")), lzma.FORMAT_ALONE), "lzma", id="lzma"),
        pytest.param(b"LZIP\x01", "lzip", id="lzip"),
        pytest.param(b"\x1f\x9d\x90", "compress", id="compress"),
        pytest.param(b"\x04\x22\x4d\x18", "lz4", id="lz4"),
    ],
)
def test_an_unsupported_compression_is_named(read: Read, content: bytes, compression: str) -> None:
    """In tars and Debian packages, with what to do; on every Python, though some could read it."""
    for form, packed in (("tar", content), ("deb", ar(("debian-binary", b"2.0\n"), ("data.tar.zst", content)))):
        with pytest.raises(BadArchive, match=f"compressed with {compression}.*repack it with xz"):
            read(packed, form)


# --- Debian packages ------------------------------------------------------------------------------------------------

DATA = tar(file("a"), compression="xz")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(ar(("debian-binary", b"2.0\n")), "has no data.tar", id="without its data"),
        pytest.param(ar(("data.tarx", DATA)), "has no data.tar", id="with a name that only begins like it"),
        pytest.param(DATA, "is no ar archive", id="another archive"),
        pytest.param(b"", "is no ar archive", id="empty"),
        pytest.param(ar(("x", b"12")).replace(b"2         `", b"-2        `"), "header is broken", id="negative size"),
        pytest.param(
            ar(("x", b"12")).replace(b"2         `", "²         `".encode("latin-1")), "broken", id="odd digit"
        ),
        pytest.param(ar(("x", b"12")).replace(b"`\n", b"``"), "header is broken", id="broken header"),
        pytest.param(ar(("x", b"12")) + b"data.tar", "header is broken", id="cut off in a header"),
        pytest.param(ar(("data.tar", b"")), "cannot be read as tar", id="empty data"),
    ],
)
def test_a_broken_debian_package_is_refused(read: Read, content: bytes, reason: str) -> None:
    """The message says what is wrong."""
    with pytest.raises(BadArchive, match=reason):
        read(content, "deb")


def test_other_members_of_a_debian_package_are_ignored(read: Read) -> None:
    """Of even and odd length. The first data.tar is read, and nothing after it."""
    packed = ar(("_gpgorigin", b"odd"), ("debian-binary/", b"2.0\n"), ("data.tar.xz", DATA), ("data.tar.gz", b"what"))
    assert [path for path, *_ in read(packed, "deb")] == ["a"]


def test_a_member_ends_where_its_header_says(read: Read) -> None:
    """The file goes on after it."""
    content = ar(("data.tar.xz", DATA))
    shorter = content.replace(f"{len(DATA):<10}`".encode(), f"{len(DATA) - 30:<10}`".encode())
    with pytest.raises(BadArchive):
        read(shorter, "deb")


# --- The disk's own troubles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", archives.FORMATS)
def test_disk_errors_are_not_blamed_on_the_archive(tmp_path: Path, form: str) -> None:
    """A host must not call a release hostile because its disk is broken."""
    with pytest.raises(FileNotFoundError):
        next(walk(tmp_path / "nothing", form, Limits()))


def test_a_file_that_shrinks_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    """Like a file that is still being written."""
    artifact = tmp_path / "artifact"
    artifact.write_bytes(b"x" * 100_000)
    ((_, stream),) = [next(entries := walk(artifact, "binary", Limits(), "rclone"))]
    assert stream is not None
    os.truncate(artifact, 10)
    with pytest.raises(BadArchive, match="bytes early"):
        while stream.read(50_000):
            pass
    entries.close()  # type: ignore[attr-defined]
