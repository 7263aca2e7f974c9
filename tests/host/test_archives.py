"""Archives: what is honest is read right; what is hostile, cut off or damaged is refused, always with one error."""

import contextlib
import io
import lzma
import os
import random
import struct
import tarfile
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backfleet_host import archives
from backfleet_host.archives import BadArchive, Limits, walk
from backfleet_host.upgrader.manifest import Manifest
from backfleet_host.upgrader.refusal import Refusal
from backfleet_host.upgrader.tree import unpack
from releases.artifacts import Packed, ar, deb, file, folder, link, program, tar, zipped

Read = Callable[..., list[tuple[str, int, str | None, bytes]]]
CLIENT = (folder("usr"), program("usr/bin/rclone", "1.0"), file("usr/share/é/notes", b"n" * 5000), link("r", "usr/bin"))


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read such an archive to its end: path, mode, link and content of each entry; a folder's path ends in /."""

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
        pytest.param("zip", zipped(*CLIENT), id="zip"),
        pytest.param("zip", zipped(*CLIENT, compression=zipfile.ZIP_STORED), id="zip, not compressed"),
        pytest.param("deb", deb(*CLIENT), id="deb"),
        pytest.param("deb", deb(*CLIENT, compression="gz"), id="deb of old"),
        pytest.param("deb", deb(*CLIENT, compression=""), id="deb, not compressed"),
    ],
)
def test_an_honest_archive_is_read_as_it_was_packed(read: Read, form: str, content: bytes) -> None:
    """Names, modes, links and every byte, in the archive's order."""
    assert read(content, form) == [
        ("usr/", 0o755, None, b""),
        ("usr/bin/rclone", 0o755, None, b"#!/bin/sh\necho 1.0\n"),
        ("usr/share/é/notes", 0o644, None, b"n" * 5000),
        ("r", 0o777, "usr/bin", b""),
    ]


def test_a_wheel_s_scripts_are_programs(read: Read) -> None:
    """As installers make them, whatever the archive says; nothing else becomes one."""
    wheel = zipped(file("b-1.data/scripts/b"), file("b-1.data/scripts/deep/b"), file("b/scripts.py"))
    assert [mode for _, mode, _, _ in read(wheel, "wheel")] == [0o755, 0o644, 0o644]
    assert [mode for _, mode, _, _ in read(wheel, "zip")] == [0o644] * 3


def test_a_plain_binary_is_one_program_called_like_its_package(read: Read) -> None:
    """Whatever is in it."""
    assert read(b"\x7fELF", "binary") == [("rclone", 0o755, None, b"\x7fELF")]


def test_the_dot_that_tar_writes_in_front_is_no_part_of_the_name(read: Read) -> None:
    """`tar -C folder -c .`, as Debian packages have it."""
    assert [path for path, *_ in read(tar(folder("."), folder("./usr"), file("./usr/a")))] == ["usr/", "usr/a"]


def test_a_zip_that_says_nothing_of_modes_holds_readable_files(read: Read) -> None:
    """Made on another system."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        info = zipfile.ZipInfo("a")
        info.create_system = 0
        archive.writestr(info, b"x")
        archive.infolist()[0].external_attr = 0
    assert read(content.getvalue(), "zip") == [("a", 0o644, None, b"x")]


def test_what_several_compressors_made_is_one_tar(read: Read) -> None:
    """Compressed in parallel: several streams one after the other."""
    plain = tar(*CLIENT)
    assert read(lzma.compress(plain[:2000]) + lzma.compress(plain[2000:])) == read(plain)


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
def test_a_link_within_the_tree_is_kept_as_it_is(
    read: Read, form: str, pack: Callable[..., bytes], target: str
) -> None:
    """To the letter."""
    assert read(pack(link("c/d/l", target)), form) == [("c/d/l", 0o777, target, b"")]


# --- What is hostile ------------------------------------------------------------------------------------------------

OUT, UNFIT, TWICE, UNDER = "would leave the tree", "not one we unpack", "is there twice", "lies under something"
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
    pytest.param([file("a\nb")], UNFIT, id="newline"),
    pytest.param([file("a\x1b[2Jb")], UNFIT, id="control character"),
    pytest.param([file("a\x9bb")], UNFIT, id="control character of eight bits"),
    pytest.param([file("..\\x")], UNFIT, id="backslash"),
    pytest.param([file("a" * 256)], UNFIT, id="a name longer than Linux takes"),
    pytest.param([file("é" * 128)], UNFIT, id="a name whose bytes are more than Linux takes"),
    pytest.param([file("/".join(["a" * 100] * 11))], UNFIT, id="too long a path"),
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


def test_a_hard_link_is_refused(read: Read) -> None:
    """Even to a file of the same archive: what it is a link to is the archive's word."""
    with pytest.raises(BadArchive, match="neither a file, a folder nor a symbolic link"):
        read(tar(file("a"), Packed("b", kind="hard link", target="a")))


def test_a_name_that_is_no_text_is_refused(read: Read) -> None:
    """Bytes that no UTF-8 has could be kept in no manifest."""
    with pytest.raises(BadArchive, match=UNFIT):
        read(tar(file("a\udcff"), form=tarfile.GNU_FORMAT))
    broken = zipped(file("aé")).replace("é".encode(), b"\xff\xff")
    with pytest.raises(BadArchive, match="cannot be read as zip"):
        read(broken, "zip")


@pytest.mark.parametrize("thing", [file("."), folder("."), link(".", "a"), folder("")])
def test_the_tree_itself_is_no_entry_of_a_zip(read: Read, thing: Packed) -> None:
    """Neither a file nor a link may take its place; only tar writes it down."""
    with pytest.raises(BadArchive, match=f"{OUT}|{UNFIT}"):
        read(zipped(thing), "zip")


def test_a_name_that_goes_on_after_a_nul_is_refused(read: Read) -> None:
    """One reader would see `a`, another `a<NUL>.txt`."""
    with pytest.raises(BadArchive, match=UNFIT):
        read(zipped(file("a\0.txt")), "zip")


def test_an_unknown_format_is_refused(read: Read) -> None:
    """And those we know are named."""
    with pytest.raises(BadArchive, match="wheel, deb, tar, zip, binary"):
        read(b"", "rpm")


HONEST = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
ANY = st.lists(st.sampled_from(["a", "b", "c", "..", "..", ".", ""]), min_size=1, max_size=4).map("/".join)
PATH = st.one_of(HONEST, HONEST, HONEST, HONEST, ANY)
THING = st.one_of(st.builds(file, PATH), st.builds(folder, PATH), st.builds(link, HONEST, ANY))


@example([link("a/b/c", "../.."), link("x", "a/b/c/..")], "tar")
@example([file("a"), file(".")], "zip")
@settings(max_examples=150, deadline=None)
@given(st.lists(THING, max_size=6), st.sampled_from(["tar", "zip"]))
def test_nothing_that_is_unpacked_leaves_the_tree(things: list[Packed], form: str) -> None:
    """Refused, or every path in it, links followed as the kernel follows them, ends within."""
    with tempfile.TemporaryDirectory() as name:
        tree, artifact = Path(name, "outside", "tree"), Path(name, "artifact")
        for neighbour in "abc":
            Path(name, "outside", neighbour).mkdir(parents=True)
        artifact.write_bytes({"tar": tar, "zip": zipped}[form](*things))
        try:
            files = unpack(artifact, manifest(form), tree)
        except Refusal:
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


def manifest(form: str) -> Manifest:
    return Manifest("rclone", "1.0", "linux-amd64", form, ("a",), "anytime", None, "", 1 << 20, 100)


# --- Limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "pack"), [("tar", tar), ("zip", zipped)])
def test_as_much_as_the_limits_and_no_more(read: Read, form: str, pack: Callable[..., bytes]) -> None:
    """Bytes and entries, each to the last one."""
    content = pack(file("a", b"x" * 60), folder("b"), file("b/c", b"x" * 40))
    assert len(read(content, form, Limits(100, 3))) == 3
    with pytest.raises(BadArchive, match="unpacks to more than 99 bytes"):
        read(content, form, Limits(99, 3))
    with pytest.raises(BadArchive, match="more than 2 entries"):
        read(content, form, Limits(100, 2))


@pytest.mark.parametrize(
    ("form", "pack"), [("tar", lambda *things: tar(*things, compression="gz")), ("zip", zipped)], ids=["tar.gz", "zip"]
)
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, form: str, pack: Callable[..., bytes]) -> None:
    """20 MB in 20 KB: not one byte of it is given."""
    artifact = tmp_path / "artifact"
    artifact.write_bytes(pack(file("a", bytes(20 << 20))))
    with pytest.raises(BadArchive, match="unpacks to more than"):
        next(walk(artifact, form, Limits(unpacked_bytes=1 << 20)))


def test_folders_that_are_only_implied_have_a_limit_too(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry may imply many."""
    monkeypatch.setattr(archives, "MOST_FOLDERS", 5)
    assert read(tar(file("a/b/c/d/e/x")))
    with pytest.raises(BadArchive, match="more than 5 folders"):
        read(tar(file("a/b/c/d/e/f/x")))


def test_a_description_that_is_longer_than_any_honest_one_is_not_read(tmp_path: Path) -> None:
    """32 MB of extended header would be held in memory."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 32 << 20
    artifact = tmp_path / "artifact"
    artifact.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(32 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(BadArchive, match="a header speaks of"):
            read_file(artifact, "tar", Limits())
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_table_of_contents_that_is_too_large_is_not_read(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a zip, it comes before any entry."""
    content = zipped(*(file(f"file-{number}") for number in range(100)))
    assert len(read(content, "zip")) == 100
    monkeypatch.setattr(archives, "LARGEST_DIRECTORY", 1000)
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
    """A few bytes would stand for any number, and their maps may be endless."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a")
        info.size, info.pax_headers = 512, pax_headers
        archive.addfile(info, io.BytesIO(b"1\n0\n9\n".ljust(512, b"\0")))
    with pytest.raises(BadArchive, match="sparse"):
        read(content.getvalue())


def test_sparse_files_of_old_are_refused(read: Read) -> None:
    """With the type in the header itself."""
    header = tarfile.TarInfo("a")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 0
    with pytest.raises(BadArchive, match="sparse"):
        read(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def test_descriptions_without_an_entry_have_an_end(read: Read) -> None:
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
        pytest.param("zip", zipped(*SMALL), id="zip"),
        pytest.param("deb", deb(*SMALL), id="deb"),
    ],
)
def test_an_archive_that_is_cut_off_is_never_taken_for_a_whole_one(read: Read, form: str, content: bytes) -> None:
    """Wherever: at the seams between entries, too."""
    assert len(read(content, form)) == 3
    for length in sorted({*range(0, len(content), 23), *range(0, len(content), 512), len(content) - 1}):
        with pytest.raises(BadArchive):
            read(content[:length], form)


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_a_damaged_byte_never_gives_other_content(read: Read, compression: str) -> None:
    """F70: refused, or the byte did not matter."""
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
def test_whatever_the_bytes_there_is_one_error(read: Read, form: str, content: bytes, seed: int) -> None:
    """Of damaged archives the libraries raise a dozen kinds; none of them comes out."""
    draw = random.Random(seed)
    for _ in range(50):
        damaged = bytearray(content)
        for _ in range(draw.choice((1, 2, 8))):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        with contextlib.suppress(BadArchive):
            read(bytes(damaged), form, Limits(1 << 20, 100))


def test_a_damaged_header_is_not_the_end(read: Read) -> None:
    """The entries before it are no archive."""
    content = bytearray(tar(file("a"), file("b")))
    content[1024] ^= 1
    with pytest.raises(BadArchive, match="a header is missing, cut off or damaged"):
        read(bytes(content))


def test_what_follows_the_end_of_a_tar_is_zeros_and_not_many(read: Read) -> None:
    """A second archive behind the first would be seen by some readers and not by others."""
    content = tar(file("a"))
    assert len(read(content + bytes(20_000))) == 1
    for more in (tar(file("b")), bytes((1 << 20) + 20_000)):
        with pytest.raises(BadArchive, match="something follows"):
            read(content + more)


def test_a_wrong_checksum_in_a_zip(read: Read) -> None:
    """Bytes that were changed after they were packed."""
    content = zipped(file("a", b"honest"), compression=zipfile.ZIP_STORED)
    with pytest.raises(BadArchive, match="CRC"):
        read(content.replace(b"honest", b"hostil"), "zip")


@pytest.mark.parametrize(
    ("size", "reason"),
    [pytest.param(3, "CRC", id="less than there is"), pytest.param(5000, "early|CRC", id="more than there is")],
)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_a_zip_that_lies_about_sizes(read: Read, compression: int, size: int, reason: str) -> None:
    """What was promised is what comes, or nothing is."""
    content = bytearray(zipped(file("a", b"ten bytes!"), compression=compression))
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<I", size)
    with pytest.raises(BadArchive, match=reason):
        read(bytes(content), "zip")


def test_a_zip_whose_two_names_of_an_entry_differ(read: Read) -> None:
    """One reader goes by the table of contents, another by what stands before the entry."""
    content = zipped(file("good"))
    with pytest.raises(BadArchive, match="cannot be read as zip"):
        read(content.replace(b"good", b"evil", 1), "zip")


def test_an_encrypted_zip(read: Read) -> None:
    """It is said that it is."""
    content = bytearray(zipped(file("a")))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + place] |= 1
    with pytest.raises(BadArchive, match="encrypted"):
        read(bytes(content), "zip")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_a_zip_compressed_in_a_rare_way(read: Read, compression: int) -> None:
    """A few bytes of it could fill the memory."""
    with pytest.raises(BadArchive, match="repack it with deflate"):
        read(zipped(file("a"), compression=compression), "zip")


@pytest.mark.parametrize(
    ("content", "compression"),
    [
        pytest.param(b"\x28\xb5\x2f\xfd\x04\x00", "zstd", id="zstd"),
        pytest.param(lzma.compress(tar(file("a")), lzma.FORMAT_ALONE), "lzma", id="lzma"),
        pytest.param(b"LZIP\x01", "lzip", id="lzip"),
        pytest.param(b"\x1f\x9d\x90", "compress", id="compress"),
        pytest.param(b"\x04\x22\x4d\x18", "lz4", id="lz4"),
    ],
)
def test_a_compression_we_do_not_read_is_named(read: Read, content: bytes, compression: str) -> None:
    """In a tar and in a Debian package alike, with the way out; on every Python, though some could read it."""
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
def test_a_strange_debian_package(read: Read, content: bytes, reason: str) -> None:
    """Each refused with what is wrong with it."""
    with pytest.raises(BadArchive, match=reason):
        read(content, "deb")


def test_strange_members_of_a_debian_package_are_passed_over(read: Read) -> None:
    """Of any length, odd ones too; the first data.tar counts, and what is behind it is not looked at."""
    packed = ar(("_gpgorigin", b"odd"), ("debian-binary/", b"2.0\n"), ("data.tar.xz", DATA), ("data.tar.gz", b"what"))
    assert [path for path, *_ in read(packed, "deb")] == ["a"]


def test_a_member_ends_where_it_says(read: Read) -> None:
    """Though the file goes on."""
    content = ar(("data.tar.xz", DATA))
    shorter = content.replace(f"{len(DATA):<10}`".encode(), f"{len(DATA) - 30:<10}`".encode())
    with pytest.raises(BadArchive):
        read(shorter, "deb")


# --- The disk's own troubles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", archives.FORMATS)
def test_what_the_disk_says_is_not_the_archive_s_fault(tmp_path: Path, form: str) -> None:
    """A host must not call a release hostile because its disk is broken."""
    with pytest.raises(FileNotFoundError):
        next(walk(tmp_path / "nothing", form, Limits()))


def test_a_file_that_shrinks_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    """As one that is still being written would."""
    artifact = tmp_path / "artifact"
    artifact.write_bytes(b"x" * 100_000)
    ((_, stream),) = [next(entries := walk(artifact, "binary", Limits(), "rclone"))]
    assert stream is not None
    os.truncate(artifact, 10)
    with pytest.raises(BadArchive, match="bytes early"):
        while stream.read(50_000):
            pass
    entries.close()  # type: ignore[attr-defined]
