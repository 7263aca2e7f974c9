"""State that must survive: compared, and restored with owner, mode and extended attributes."""

import os
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader import descriptors
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.host import preserved_state

Host = Any
Shop = Any


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Make a folder with one entry of every kind."""
    folder = tmp_path / "etc" / "courier"
    (folder / "jobs" / "empty").mkdir(parents=True)
    (folder / "config").write_text("mine")
    (folder / "config").chmod(0o640)
    (folder / "jobs" / "daily").write_text("03:00")
    (folder / "latest").symlink_to("jobs/daily")
    os.setxattr(folder / "config", "user.purpose", b"keep me")
    if os.geteuid() == 0:
        os.chown(folder / "config", 1234, 2345)
    return folder


def portrait(folder: Path) -> dict[str, Any]:
    return {str(path): preserved_state.describe(path) for path in [folder, *sorted(folder.rglob("*"))]}


def change_content(folder: Path) -> None:
    (folder / "config").write_text("theirs")


def change_mode(folder: Path) -> None:
    (folder / "config").chmod(0o666)


def change_owner(folder: Path) -> None:
    os.chown(folder / "config", 0, 0)


def change_attribute(folder: Path) -> None:
    os.setxattr(folder / "config", "user.purpose", b"lose me")


def add_attribute(folder: Path) -> None:
    os.setxattr(folder / "jobs", "user.new", b"new")


def remove_file(folder: Path) -> None:
    (folder / "jobs" / "daily").unlink()


def remove_folder(folder: Path) -> None:
    (folder / "jobs" / "empty").rmdir()


def file_for_folder(folder: Path) -> None:
    (folder / "jobs" / "empty").rmdir()
    (folder / "jobs" / "empty").write_text("a file")


def folder_for_file(folder: Path) -> None:
    (folder / "config").unlink()
    (folder / "config").mkdir()
    (folder / "config" / "inner").write_text("x")


def move_link(folder: Path) -> None:
    (folder / "latest").unlink()
    (folder / "latest").symlink_to("/etc/passwd")


def remove_all(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.rmdir()


CHANGES = [
    change_content, change_mode, change_owner, change_attribute, add_attribute, remove_file, remove_folder,
    file_for_folder, folder_for_file, move_link, remove_all,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.replace("_", " "))
def test_f30_any_change_is_found_and_restored(state: Path, tmp_path: Path, change: Any) -> None:
    """Contents, modes, owners, extended attributes, links: exactly as before."""
    if change is change_owner and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    kept, before = tmp_path / "kept", portrait(state)
    preserved_state.snapshot([str(state)], kept)
    assert preserved_state.first_change(kept) == ""
    change(state)
    assert str(state) in preserved_state.first_change(kept)
    preserved_state.restore(kept, tmp_path / "left")
    assert portrait(state) == before
    assert preserved_state.first_change(kept) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("change", [remove_all, move_link, file_for_folder, folder_for_file], ids=lambda c: c.__name__)
def test_f30_the_owner_of_every_kind_of_entry_is_restored(state: Path, tmp_path: Path, change: Any) -> None:
    """Of folders, files and links, where root makes them anew; each had an owner of its own."""
    for number, path in enumerate([state, *sorted(state.rglob("*"))]):
        os.lchown(path, 3000 + number, 4000 + number)

    def owners() -> dict[str, tuple[int, int]]:
        found = {str(path): path.lstat() for path in [state, *sorted(state.rglob("*"))]}
        return {name: (entry.st_uid, entry.st_gid) for name, entry in found.items()}

    before, kept = owners(), tmp_path / "kept"
    assert len(before) == 6
    preserved_state.snapshot([str(state)], kept)
    change(state)
    preserved_state.restore(kept, tmp_path / "left")
    assert owners() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_f30_a_link_that_got_another_owner_is_found_and_restored(state: Path, tmp_path: Path) -> None:
    """The link itself is what is compared, not the file that it leads to."""
    os.lchown(state / "latest", 1234, 2345)
    kept = tmp_path / "kept"
    preserved_state.snapshot([str(state)], kept)
    os.lchown(state / "latest", 0, 0)
    assert preserved_state.first_change(kept).startswith(f"{state / 'latest'}: its ")
    preserved_state.restore(kept, tmp_path / "left")
    assert ((state / "latest").lstat().st_uid, (state / "latest").lstat().st_gid) == (1234, 2345)
    assert (state / "jobs" / "daily").stat().st_uid == 0


def test_new_files_are_moved_aside_not_deleted(state: Path, tmp_path: Path) -> None:
    """They may be somebody's; new entries alone are no change."""
    kept, before = tmp_path / "kept", portrait(state)
    preserved_state.snapshot([str(state)], kept)
    (state / "new").write_text("from the new version")
    (state / "folder").mkdir()
    (state / "folder" / "inner").write_text("x")
    assert preserved_state.first_change(kept) == ""
    preserved_state.restore(kept, tmp_path / "left")
    assert portrait(state) == before
    left = [path.read_text() for path in sorted((tmp_path / "left").rglob("*")) if path.is_file()]
    assert sorted(left) == ["from the new version", "x"]


def test_state_that_is_too_large_is_refused(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is copied while backups wait, so that must be short."""
    monkeypatch.setattr(preserved_state, "MOST_BYTES", 5)
    with pytest.raises(OrderFailed, match="more than"):
        preserved_state.snapshot([str(state)], tmp_path / "kept")


def test_an_incomplete_snapshot_is_never_restored(state: Path, tmp_path: Path) -> None:
    """Without its index it is incomplete."""
    kept, before = tmp_path / "kept", portrait(state)
    preserved_state.snapshot([str(state)], kept)
    (kept / preserved_state.INDEX).unlink()
    assert preserved_state.first_change(kept) == ""
    preserved_state.restore(kept, tmp_path / "left")
    assert portrait(state) == before


WRECKER = """#!/bin/sh
case "$1" in
  version) [ {version} = 1.0 ] || CHANGE; echo "{package} {version}"; exit {health} ;;
  *) echo "{version} $*" ;;
esac
"""


@pytest.mark.parametrize(
    ("change", "health"),
    [
        pytest.param("echo theirs > STATE/config", 0, id="F44 the new version rewrites its settings"),
        pytest.param("rm -r STATE/jobs", 0, id="F44 the new version starts empty"),
        pytest.param("chmod 600 STATE/config", 0, id="F30 the new version changes a mode"),
        pytest.param("echo new > STATE/migrated", 1, id="an unhealthy version leaves a file"),
    ],
)
def test_an_upgrade_that_changes_state_is_rolled_back(
    shop: Shop, host: Host, state: Path, change: str, health: int
) -> None:
    """F44, F30: jobs, keys and registration survive; afterwards everything is as it was."""
    client = WRECKER.replace("CHANGE", change).replace("STATE", str(state))
    shop.add("1.0", client=client, keeps=[str(state)])
    shop.add("2.0", client=client, keeps=[str(state)], health=health)
    host.carry("install", "1.0")
    before = portrait(state)
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert portrait(state) == before
    assert host.leftovers() == []
    assert not (host.folder / "kept").exists()


def test_state_survives_an_upgrade_and_an_uninstall(shop: Shop, host: Host, state: Path) -> None:
    """It belongs to the host, not to the client."""
    before = portrait(state)
    for version in ("1.0", "2.0"):
        shop.add(version, keeps=[str(state)])
    host.carry("install", "1.0")
    assert host.carry("upgrade", "2.0").outcome == "succeeded"
    assert host.carry("uninstall").outcome == "succeeded"
    assert portrait(state) == before


def test_an_uninstall_removes_the_state_if_the_order_says_so(shop: Shop, host: Host, state: Path) -> None:
    """Last of all, and nothing else."""
    beside = state.parent / "beside"
    beside.write_text("another's")
    shop.add("1.0", keeps=[str(state)])
    host.carry("install", "1.0")
    report = host.carry("uninstall", remove_state=True)
    assert (report.outcome, report.current_version) == ("succeeded", "")
    assert not state.exists()
    assert beside.read_text() == "another's"


@pytest.mark.parametrize("name", ["/", "/etc", "etc/client", "/etc/client/../..", "/var/lib", "/home/somebody"])
def test_parts_of_the_system_are_never_removed_as_state(name: str) -> None:
    """Whoever signed the path."""
    assert preserved_state.remove([name]) == f"{name} does not belong to one client alone"


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    """Its target may belong to something else."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    assert preserved_state.remove([str(tmp_path / "link"), str(tmp_path / "gone")]) == ""
    assert (tmp_path / "there" / "file").read_text() == "x"
    assert not (tmp_path / "link").is_symlink()


# --- Whoever owns the folder ----------------------------------------------------------------------------------------


def test_a_restored_file_follows_no_link_of_another_user(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is another user's, who would have root write into one of root's files."""
    preserved_state.snapshot([str(state)], tmp_path / "kept")
    victim = tmp_path / "shadow"
    victim.write_text("root's own")
    victim.chmod(0o600)
    (state / "config").write_text("theirs")
    remove = descriptors.remove

    def remove_and_plant(at: descriptors.At) -> None:
        remove(at)
        if at.name.startswith(".backfleet-"):
            os.symlink(victim, at.name, dir_fd=at.folder)

    monkeypatch.setattr(descriptors, "remove", remove_and_plant)
    with pytest.raises(FileExistsError):
        preserved_state.restore(tmp_path / "kept", tmp_path / "evidence")
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("root's own", 0o600)
    monkeypatch.undo()
    preserved_state.restore(tmp_path / "kept", tmp_path / "evidence")
    assert (state / "config").read_text() == "mine"


def test_a_pipe_where_a_file_was_is_not_waited_for(state: Path, tmp_path: Path) -> None:
    """Nobody ever writes into it."""
    preserved_state.snapshot([str(state)], tmp_path / "kept")
    (state / "config").unlink()
    os.mkfifo(state / "config")
    assert "config" in preserved_state.first_change(tmp_path / "kept")
    preserved_state.restore(tmp_path / "kept", tmp_path / "evidence")
    assert (state / "config").read_text() == "mine"


def test_a_file_with_the_longest_name_is_restored(state: Path, tmp_path: Path) -> None:
    long = state / ("x" * 255)
    long.write_text("mine")
    before = portrait(state)
    preserved_state.snapshot([str(state)], tmp_path / "kept")
    long.write_text("theirs")
    preserved_state.restore(tmp_path / "kept", tmp_path / "evidence")
    assert portrait(state) == before


def test_the_target_of_a_link_is_preserved_too(state: Path, tmp_path: Path) -> None:
    """If the link itself is named."""
    link = tmp_path / "etc" / "link"
    link.symlink_to(state)
    preserved_state.snapshot([str(link)], tmp_path / "kept")
    (state / "config").write_text("theirs")
    assert "config" in preserved_state.first_change(tmp_path / "kept")
    preserved_state.restore(tmp_path / "kept", tmp_path / "evidence")
    assert (state / "config").read_text() == "mine"
    assert link.is_symlink()


def test_a_file_that_is_removed_during_the_snapshot_is_left_out(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A temporary file of a running client, for example."""
    walk = preserved_state._walk

    def walk_and_lose(paths: Any, **more: Any) -> Any:
        for entry in walk(paths, **more):
            if entry.name == "daily":
                Path(entry.path).unlink()
            yield entry

    monkeypatch.setattr(preserved_state, "_walk", walk_and_lose)
    preserved_state.snapshot([str(state)], tmp_path / "kept")
    monkeypatch.undo()
    assert preserved_state.first_change(tmp_path / "kept") == ""
    preserved_state.restore(tmp_path / "kept", tmp_path / "evidence")


def test_a_file_that_changes_during_the_snapshot_is_copied_again_or_refused(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mixed copy would be restored as if it were right."""
    times = iter(range(100))

    def describe_and_change(what: Any, file: Any) -> dict[str, Any]:
        known = describe(what, file)
        if file is not None and known["mode"] == 0o640 and next(times) < limit:
            (state / "config").write_text(f"changed {next(times)}")
        return known

    describe = preserved_state._described
    monkeypatch.setattr(preserved_state, "_described", describe_and_change)
    limit = 2
    preserved_state.snapshot([str(state)], tmp_path / "kept")
    assert preserved_state.first_change(tmp_path / "kept") == ""
    limit = 100
    with pytest.raises(OrderFailed, match="changes all the time"):
        preserved_state.snapshot([str(state)], tmp_path / "kept-2")


def test_an_unreadable_snapshot_is_not_taken_for_an_empty_one(state: Path, tmp_path: Path) -> None:
    """The rollback then fails and reports it."""
    preserved_state.snapshot([str(state)], tmp_path / "kept")
    (tmp_path / "kept" / preserved_state.INDEX).write_bytes(b"\0" * 100)
    (state / "config").write_text("theirs")
    with pytest.raises(OSError, match="cannot be read"):
        preserved_state.restore(tmp_path / "kept", tmp_path / "evidence")


def test_old_evidence_does_not_stop_the_next_rollback(state: Path, tmp_path: Path) -> None:
    """Three rollbacks, three folders of evidence."""
    for number in range(3):
        preserved_state.snapshot([str(state)], tmp_path / "kept")
        (state / "cache").mkdir()
        (state / "cache" / "data").write_text(str(number))
        preserved_state.restore(tmp_path / "kept", tmp_path / "evidence")
        assert not (state / "cache").exists()
    assert sorted(path.read_text() for path in tmp_path.glob("evidence*/*-cache/data")) == ["0", "1", "2"]


def test_comparing_ends_when_its_time_is_over(tmp_path: Path) -> None:
    """Before each entry: it may be much, and backups wait."""
    state, copy = tmp_path / "state", tmp_path / "copy"
    state.mkdir()
    for number in range(3):
        (state / str(number)).write_text("kept")
    preserved_state.snapshot([str(state)], copy)
    calls: list[int] = []

    def check_time() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        preserved_state.first_change(copy, check_time)
    assert len(calls) == 3
