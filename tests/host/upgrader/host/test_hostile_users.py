"""A user who owns the folder around preserved state races with root, who copies, restores and removes it.

He renames sub-folders and puts links to a folder of root's in their places, as fast as he can. Nothing outside of his
folders may be read into the snapshot, written or removed.
"""

import contextlib
import ctypes
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.host import preserved_state

SECONDS = 60.0 if os.environ.get("BACKFLEET_WHOLE_MATRIX") else 2.0  # of each race
USER = 12345
SECRET = b"root's own secret"
RENAME_EXCHANGE = 2  # of stdio.h

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root is another user's victim")


@pytest.fixture
def tmp_path(public_folder: Path) -> Path:
    """Return a folder that the user can enter."""
    return public_folder


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """Make a folder of root's whose names are those in the user's folder."""
    folder = tmp_path / "etc"
    fill(folder, SECRET)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Make the user's folder, with state in it."""
    folder = tmp_path / "home"
    fill(folder / "courier", b"mine")
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, USER, USER)
    return folder


def fill(folder: Path, content: bytes) -> None:
    for jobs in ("a", "b", "c/d"):
        (folder / jobs).mkdir(parents=True)
        for name in ("passwd", "shadow"):
            (folder / jobs / name).write_bytes(content)


def portrait(folder: Path) -> dict[str, object]:
    """Return everything about root's folder, times included."""
    found: dict[str, object] = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        state = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (state.st_ino, state.st_mode, state.st_uid, state.st_gid, state.st_mtime_ns, content)
    return found


@contextlib.contextmanager
def a_racing_user(state: Path, outside: Path) -> Iterator[None]:
    """Let the user swap folders of the state with links to root's folder until the block ends."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(USER, USER, USER)
            os.setresuid(USER, USER, USER)
            swap_for_ever(state, outside)
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def swap_for_ever(state: Path, outside: Path) -> None:
    """Exchange a folder with a link beside it, again and again. Whatever root does to them, they are made again."""
    system = ctypes.CDLL(None, use_errno=True)
    swaps = [(state, outside), (state / "a", outside / "a"), (state / "b", outside / "b")]
    swaps += [(state / "c", outside / "c"), (state / "c/d", outside / "c/d")]
    while True:
        for folder, target in swaps:
            link = folder.with_name(f"{folder.name}-link")
            with contextlib.suppress(OSError):
                link.symlink_to(target)
            with contextlib.suppress(OSError):
                (folder / "new").mkdir(parents=True)
                (folder / "passwd").write_bytes(random.randbytes(8))
            for _ in range(random.randrange(1, 20)):
                system.renameat2(-100, bytes(folder), -100, bytes(link), RENAME_EXCHANGE)


def contents_of(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def again_and_again() -> Iterator[int]:
    """Yield numbers for as long as the race goes on."""
    until, number = time.monotonic() + SECONDS, 0
    while time.monotonic() < until:
        yield number
        number += 1


def test_a_snapshot_reads_nothing_that_a_racing_user_leads_it_to(home: Path, etc: Path, tmp_path: Path) -> None:
    before, state, taken = portrait(etc), home / "courier", 0
    with a_racing_user(state, etc):
        for number in again_and_again():
            kept = tmp_path / f"kept-{number}"
            with contextlib.suppress(OrderFailed):  # all of it changes all the time
                preserved_state.snapshot([str(state)], kept)
                taken += 1
            assert SECRET not in contents_of(kept)
    assert taken
    assert portrait(etc) == before


def test_a_rollback_writes_nothing_where_a_racing_user_leads_it_to(home: Path, etc: Path, tmp_path: Path) -> None:
    before, state, kept = portrait(etc), home / "courier", tmp_path / "kept"
    preserved_state.snapshot([str(state)], kept)
    restored = 0
    with a_racing_user(state, etc):
        for number in again_and_again():
            with contextlib.suppress(OSError):  # somebody changes it all the time
                preserved_state.restore(kept, tmp_path / f"left-{number}")
                restored += 1
            assert portrait(etc) == before
            assert SECRET not in contents_of(tmp_path / f"left-{number}")
    preserved_state.restore(kept, tmp_path / "left")
    assert preserved_state.first_change(kept) == ""
    assert (state / "a" / "passwd").read_bytes() == b"mine"


def test_a_removal_removes_nothing_that_a_racing_user_leads_it_to(home: Path, etc: Path) -> None:
    before, state = portrait(etc), home / "courier"
    with a_racing_user(state, etc):
        for number in again_and_again():
            preserved_state.remove([str(state / "c" / "d" if number % 9 else state)])
            assert portrait(etc) == before
    assert preserved_state.remove([str(state)]) == ""
    assert not state.exists()


def test_state_behind_a_link_of_another_user_to_what_is_not_his_is_refused(home: Path, etc: Path) -> None:
    """It is not left out without a word: the administrator can name the real path."""
    (home / "linked").symlink_to(etc)
    os.lchown(home / "linked", USER, USER)
    for path in (home / "linked", home / "linked" / "a"):
        with pytest.raises(OrderFailed, match=r"linked is a link of another user, which is not followed; name the"):
            preserved_state.snapshot([str(path)], home.parent / "kept")
        assert preserved_state.first_change(home.parent / "kept") == ""
    assert SECRET not in contents_of(home.parent / "kept")


def test_state_behind_a_link_of_a_user_to_his_own_folder_is_preserved(home: Path, tmp_path: Path) -> None:
    """Many keep their settings in another folder of theirs."""
    (home / "linked").symlink_to("courier")
    os.lchown(home / "linked", USER, USER)
    for path in (home / "linked", home / "linked" / "a"):
        preserved_state.snapshot([str(path)], tmp_path / "kept")
        (home / "courier" / "a" / "passwd").write_bytes(b"theirs")
        preserved_state.restore(tmp_path / "kept", tmp_path / "left")
        assert (home / "courier" / "a" / "passwd").read_bytes() == b"mine"


def test_a_folder_of_roots_is_not_handed_over_with_the_name_of_another(home: Path, tmp_path: Path) -> None:
    """Its owner may rename it, because the folder around it is his."""
    state = home / "courier"
    fill(state / "roots", SECRET)
    (state / "roots").chmod(0o700)
    preserved_state.snapshot([str(state)], tmp_path / "kept")
    (state / "a").rename(state / "away")
    (state / "roots").rename(state / "a")
    before = (state / "a").stat()
    preserved_state.restore(tmp_path / "kept", tmp_path / "left")
    folders = [path for path in tmp_path.rglob("*") if path.is_dir() and path.stat().st_ino == before.st_ino]
    assert [path.stat().st_uid for path in folders] == [0]
    assert preserved_state.first_change(tmp_path / "kept") == ""


def test_a_file_that_cannot_be_given_its_owner_gets_no_set_uid_bit(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would lend root's rights to whoever wrote it."""
    program = home / "courier" / "a" / "passwd"
    program.chmod(0o4755)
    preserved_state.snapshot([str(home)], tmp_path / "kept")
    program.unlink()

    def refuse(*ignored: object, **more: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    preserved_state.restore(tmp_path / "kept", tmp_path / "left")
    assert program.stat().st_mode & 0o7777 == 0o755


def test_the_times_of_a_restored_file_are_what_they_were(home: Path, tmp_path: Path) -> None:
    file = home / "courier" / "a" / "passwd"
    os.utime(file, (1_000_000, 1_000_000))
    preserved_state.snapshot([str(home)], tmp_path / "kept")
    file.write_bytes(b"theirs")
    preserved_state.restore(tmp_path / "kept", tmp_path / "left")
    assert file.stat().st_mtime == 1_000_000


def test_what_a_version_added_is_moved_to_another_file_system_with_its_owner(home: Path, tmp_path: Path) -> None:
    """Evidence and state are often on two."""
    if not os.access("/dev/shm", os.W_OK) or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    preserved_state.snapshot([str(home)], tmp_path / "kept")
    (home / "new" / "inner").mkdir(parents=True)
    (home / "new" / "inner" / "file").write_bytes(b"new")
    (home / "new" / "link").symlink_to("/etc/passwd")
    os.chown(home / "new" / "inner" / "file", USER, 7)
    (home / "new" / "inner" / "file").chmod(0o640)
    evidence = Path("/dev/shm") / f"backfleet-{os.getpid()}"
    try:
        preserved_state.restore(tmp_path / "kept", evidence)
        assert not (home / "new").exists()
        found = (evidence / "0-new" / "inner" / "file").stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (USER, 7, 0o640)
        assert os.readlink(evidence / "0-new" / "link") == "/etc/passwd"
    finally:
        preserved_state.remove([str(evidence)])
