"""Trees on disk: modes, hard links, and bits that lend rights."""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader import failpoints
from backfleet_host.upgrader.disk import remove_tree
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.host.trees import first_difference, mode_in_tree, unpack
from releases.artifacts import Packed, deb, file, folder, hard_link, link, program, tar, zipped

RELEASE = Manifest("acme", "1.0", "linux-amd64", "tar", ("a",), unpacked_bytes=1 << 20, entries=100)
Unpack = Callable[..., dict[str, object]]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """Return the folder to unpack into."""
    yield tmp_path / "tree"
    remove_tree(tmp_path / "tree")


@pytest.fixture
def unpacked(tmp_path: Path, tree: Path) -> Unpack:
    """Unpack these bytes."""

    def unpack_it(content: bytes, form: str = "tar", **fields: object) -> dict[str, object]:
        (tmp_path / "artifact").write_bytes(content)
        return unpack(tmp_path / "artifact", replace(RELEASE, format=form, **fields), tree)  # type: ignore[arg-type]

    return unpack_it


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize(
    ("packed", "kept"),
    [
        pytest.param(0o644, 0o444, id="everybody's"),
        pytest.param(0o755, 0o555, id="everybody's program"),
        pytest.param(0o600, 0o400, id="private"),
        pytest.param(0o640, 0o440, id="the group's"),
        pytest.param(0o750, 0o550, id="the group's program"),
        pytest.param(0o711, 0o511, id="to be run and not read"),
        pytest.param(0o666, 0o444, id="to be written by everybody"),
        pytest.param(0o000, 0o400, id="no permission at all: its owner must be able to verify it"),
    ],
)
@pytest.mark.parametrize(("form", "pack"), [("tar", tar), ("zip", zipped), ("deb", deb)])
def test_a_file_keeps_its_mode_without_write_permission(
    unpacked: Unpack, tree: Path, form: str, pack: Callable[..., bytes], packed: int, kept: int
) -> None:
    """Private files stay private, in a folder that all users may enter."""
    unpacked(pack(folder("etc"), file("etc/a", mode=packed)), form)
    assert (mode_of(tree / "etc/a"), mode_of(tree / "etc"), mode_of(tree)) == (kept, 0o755, 0o755)


def test_nobody_reads_a_file_before_it_has_its_mode(unpacked: Unpack, tree: Path) -> None:
    """The half-made tree is closed to other users."""
    seen = []
    failpoints.watch(lambda when, effect, path: seen.append(mode_of(tree)) if effect == "write" else None)
    try:
        unpacked(tar(file("a", mode=0o600), file("b")))
    finally:
        failpoints.watch(None)
    assert seen == [0o700] * 4


@pytest.mark.parametrize(
    ("packed", "owner", "group", "kept"),
    [
        pytest.param(0o4755, 0, 0, 0o4555, id="set-uid of root"),
        pytest.param(0o2755, 0, 0, 0o2555, id="set-gid of root"),
        pytest.param(0o6755, 0, 0, 0o6555, id="both"),
        pytest.param(0o6755, 1000, 1000, 0o555, id="neither of somebody else"),
        pytest.param(0o6755, 0, 1000, 0o4555, id="of root's file in another group"),
        pytest.param(0o1755, 0, 0, 0o555, id="the sticky bit"),
    ],
)
def test_only_roots_rights_are_lent(packed: int, owner: int, group: int, kept: int) -> None:
    """An agent of another user must not lend that user's rights."""
    assert mode_in_tree(packed, owner, group) == kept


def test_set_uid_where_it_is_named_and_nowhere_else(unpacked: Unpack, tree: Path) -> None:
    """The file belongs to the user who unpacked it, whatever the archive says."""
    content = tar(Packed("bin/su", b"x", 0o4755), program("bin/ls"), link("su", "bin/su"), compression="gz")
    with pytest.raises(OrderFailed, match="set-uid") as refused:
        unpacked(content)
    assert refused.value.code == "UntrustedRelease"
    assert not list(tree.rglob("*su"))
    remove_tree(tree)
    unpacked(content, set_uid=("bin/su",))
    found = (tree / "bin/su").stat()
    assert (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())
    assert stat.S_IMODE(found.st_mode) == mode_in_tree(0o4755, os.geteuid(), os.getegid())
    assert mode_of(tree / "bin/ls") == 0o555


@pytest.mark.parametrize(("form", "pack"), [("tar", tar), ("deb", deb)])
def test_hard_links_become_copies(unpacked: Unpack, tree: Path, form: str, pack: Callable[..., bytes]) -> None:
    """Files of their own, verified like all others, and as private as the originals."""
    things = [Packed("bin/a", b"content", 0o750), hard_link("b", "bin/a"), hard_link("c/d", "b"), file("z", b"")]
    files = unpacked(pack(*things, hard_link("y", "z")), form)
    assert [(tree / path).read_bytes() for path in ("bin/a", "b", "c/d", "y")] == [b"content"] * 3 + [b""]
    assert [mode_of(tree / path) for path in ("bin/a", "b", "c/d")] == [0o550] * 3
    assert {path.stat().st_nlink for path in tree.rglob("*") if path.is_file()} == {1}
    assert files["b"] == files["bin/a"]
    assert first_difference(tree, files) == ""
    (tree / "b").chmod(0o600)
    (tree / "b").write_bytes(b"CONTENT")
    assert first_difference(tree, files) == "b"
    assert (tree / "bin/a").read_bytes() == b"content"


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="not a Debian system")
def test_a_package_that_dpkg_made_with_hard_links(unpacked: Unpack, tree: Path, tmp_path: Path) -> None:
    """As the real tool writes it: dots before names and targets, compressed as in Ubuntu."""
    source = tmp_path / "source"
    (source / "DEBIAN").mkdir(parents=True)
    (source / "DEBIAN/control").write_text(
        "Package: acme\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: a\n"
    )
    (source / "usr/bin").mkdir(parents=True)
    (source / "usr/bin/acme").write_text("#!/bin/sh\necho 1\n")
    (source / "usr/bin/acme").chmod(0o755)
    os.link(source / "usr/bin/acme", source / "usr/bin/acme-1")
    words = ["dpkg-deb", "--root-owner-group", "-Zzstd", "--build", source, tmp_path / "acme.deb"]
    subprocess.run(words, check=True, capture_output=True)
    unpacked((tmp_path / "acme.deb").read_bytes(), "deb")
    for name in ("acme", "acme-1"):
        output = subprocess.run([tree / "usr/bin" / name], check=True, capture_output=True, text=True)
        assert output.stdout == "1\n"
