"""Files that exist completely or not at all: the order of changes to the disk, and what is left when one fails."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from backfleet_host import files
from power_cuts import watched


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


class Effects:
    """Records every change, and fails at a chosen one."""

    def __init__(self, fails_at: str = "") -> None:
        self.seen: list[str] = []
        self._fails_at = fails_at

    @contextmanager
    def __call__(self, kind: str, path: Path) -> Iterator[None]:
        self.seen.append(f"{kind} {path.name}")
        if kind == self._fails_at:
            raise OSError(errno.ENOSPC, "no space left", str(path))
        yield


def test_changes_reach_the_disk_in_the_order_that_survives_a_power_cut(tmp_path: Path) -> None:
    """Content before the name, the name before the folder."""
    effects = Effects()
    files.write_file(tmp_path / "file", b"new", is_only_writer=True, effect=effects)
    partial = ".file.partial"
    assert effects.seen == [f"write {partial}", f"sync {partial}", "rename file", f"sync {tmp_path.name}"]
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("fails_at", ["write", "sync", "rename"])
@pytest.mark.parametrize("is_only_writer", [False, True])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, fails_at: str, is_only_writer: bool) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    with pytest.raises(OSError, match="no space left"):
        files.write_file(file, b"new", is_only_writer=is_only_writer, effect=Effects(fails_at))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_bytes() == b"old"


def test_what_stands_there_and_is_no_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        files.write_file(tmp_path / "folder", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o444])
def test_the_mode_is_the_one_asked_for_whatever_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    with umask(mask):
        files.write_file(tmp_path / "written", b"", mode)
        files.create_file(tmp_path / "created", b"", mode)
        files.make_folder(tmp_path / "folder", 0o711)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("written", "created")} == {mode}
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o711


def test_two_writers_at_once_leave_the_file_of_one_of_them(tmp_path: Path) -> None:
    """Never a mixture, and no partial files."""
    contents = [bytes([letter]) * 100_000 for letter in b"abcdefgh"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: files.write_file(tmp_path / "file", content), contents * 4))
    assert (tmp_path / "file").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_of_two_creators_at_once_exactly_one_makes_the_file(tmp_path: Path) -> None:
    contents = [bytes([letter]) * 1000 for letter in b"abcdefgh"]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda content: files.create_file(tmp_path / "file", content), contents))
    assert made.count(True) == 1
    assert (tmp_path / "file").read_bytes() == contents[made.index(True)]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_all_readers_of_a_file_that_is_made_once_get_the_same(tmp_path: Path) -> None:
    numbers = iter(range(1000))
    with ThreadPoolExecutor(8) as pool:
        read = set(
            pool.map(lambda _: files.read_or_create(tmp_path / "key", lambda: str(next(numbers)).encode()), range(8))
        )
    assert len(read) == 1
    assert files.read_or_create(tmp_path / "key", lambda: b"another") in read


def test_a_link_in_the_place_of_the_partial_file_is_not_followed(tmp_path: Path) -> None:
    """Nor does it keep the file from being written."""
    other = tmp_path / "other"
    other.write_bytes(b"somebody's")
    (tmp_path / ".file.partial").symlink_to(other)
    files.write_file(tmp_path / "file", b"new", is_only_writer=True)
    assert other.read_bytes() == b"somebody's"
    assert (tmp_path / "file").read_bytes() == b"new"


def test_the_only_writer_clears_up_what_a_crash_left(tmp_path: Path) -> None:
    (tmp_path / ".file.partial").write_bytes(b"half")
    files.write_file(tmp_path / "file", b"new", is_only_writer=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_parents_of_a_folder_are_made_with_the_mode_asked_for(tmp_path: Path) -> None:
    with umask(0o077):
        files.make_folder(tmp_path / "a" / "b" / "c", 0o700, parents_mode=0o755)
        files.make_folder(tmp_path / "d" / "e", 0o755)
    modes = {str(p.relative_to(tmp_path)): stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*")}
    assert modes == {"a": 0o755, "a/b": 0o755, "a/b/c": 0o700, "d": 0o700, "d/e": 0o755}


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "folder", 0o750)
    files.make_folder(tmp_path / "folder", 0o700)
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750


def test_a_file_with_the_name_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError):
        files.make_folder(tmp_path / "file")


def test_a_file_system_that_cannot_sync_folders_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other errors of the folder are raised."""
    real = os.fsync

    def refuse(code: int) -> Callable[[int], None]:
        def fsync(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(code, os.strerror(code))
            real(descriptor)

        return fsync

    monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL))
    files.write_file(tmp_path / "file", b"new")
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        files.write_file(tmp_path / "file", b"newer")


def _write(root: Path) -> None:
    files.write_file(root / "file", b"new")


def _create(root: Path) -> None:
    files.create_file(root / "file", b"new")


def _move(root: Path) -> None:
    (root / "upload").write_bytes(b"new")
    files.move_file(root / "upload", root / "file")


def _make_in_a_folder(root: Path) -> None:
    files.make_folder(root / "a" / "b")
    files.write_file(root / "a" / "b" / "file", b"new")


@pytest.mark.parametrize(
    ("act", "name", "before"),
    [
        pytest.param(_write, "file", None, id="written new"),
        pytest.param(_write, "file", b"old", id="written over another"),
        pytest.param(_create, "file", None, id="created"),
        pytest.param(_move, "file", b"old", id="moved over another"),
        pytest.param(_make_in_a_folder, "a/b/file", None, id="in new folders"),
    ],
)
def test_a_power_cut_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, act: Callable[[Path], None], name: str, before: bytes | None
) -> None:
    """At every moment; and the new one as soon as the call has returned."""
    if before is not None:
        (tmp_path / name).write_bytes(before)
    with watched(tmp_path) as disk:
        act(tmp_path)
        disk.note("returned")
    assert len(disk.cuts) > 4
    for cut in disk.cuts:
        for tree in cut.states():
            found = tree.get(name)
            assert found == b"new" if cut.passed else found in (before, b"new"), cut.before


def test_the_watched_disk_would_show_a_name_that_is_not_synced(tmp_path: Path) -> None:
    """The test of the tests above: a file that was written by hand may be lost."""
    with watched(tmp_path) as disk:
        partial = tmp_path / "partial"
        with partial.open("wb") as file:
            file.write(b"new")
            file.flush()
            os.fsync(file.fileno())
        partial.rename(tmp_path / "file")
        disk.note("returned")
    found = [tree.get("file") for cut in disk.cuts if cut.passed for tree in cut.states()]
    assert {None, b"new"} == set(found)


def test_a_lock_is_waited_for_as_long_as_asked(tmp_path: Path) -> None:
    held = files.hold_lock(tmp_path / "lock")
    assert held is not None
    assert files.hold_lock(tmp_path / "lock") is None
    assert files.hold_lock(tmp_path / "lock", seconds=0.1) is None
    os.close(held)
    again = files.hold_lock(tmp_path / "lock", seconds=0.1)
    assert again is not None
    os.close(again)


def test_a_file_system_without_modes_is_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline keys live on sticks with FAT, which refuses every change of mode."""

    def refuse(file: int | Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    files.write_file(tmp_path / "file", b"new", 0o644)
    files.make_folder(tmp_path / "folder", 0o755)
    assert (tmp_path / "file").read_bytes() == b"new"
