"""Files that somebody added, links pointed elsewhere, torn journals: none of them misleads an order."""

import dataclasses
import errno
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.contract import Order
from backfleet_host.upgrader import carry_out_on, disk, gate
from host.upgrader.conftest import LONG_ENOUGH
from host.upgrader.small_host import PACKAGE, PowerCut, SmallHost, Trouble, effects_of, with_trouble

Host = Any
Shop = Any


@pytest.fixture
def small(tmp_path: Path) -> SmallHost:
    """Return a host with 1.0, an unhealthy 2.0 and a healthy 3.0 on offer; all of them preserve state."""
    host = SmallHost(tmp_path / "small")
    host.state.mkdir()
    (host.state / "config").write_text("mine")
    keeps = {"keeps": [str(host.state)]}
    host.add("1.0", **keeps)
    host.add("2.0", "unhealthy breaks-state", **keeps)
    host.add("3.0", **keeps)
    assert host.carry("install", "1.0").outcome == "succeeded"
    return host


def cut_at(host: SmallHost, effect: str, when: str = "after", number: int = -1) -> None:
    """Cut the power at an effect of the upgrade to 2.0."""
    twin = SmallHost(host.root.parent / "twin")
    twin.state.mkdir(exist_ok=True)
    (twin.state / "config").write_text("mine")
    for version in host.releases:
        behaviour = host.releases[version][1]
        manifest = dataclasses.replace(host.releases[version][0], preserve=(str(twin.state),))
        twin.releases[version] = (manifest, behaviour)
    twin.carry("install", "1.0")
    effects = effects_of(lambda: twin, lambda it: it.carry("upgrade", "2.0", "u-1"))
    at = [index + 1 for index, each in enumerate(effects) if each == effect][number]
    with with_trouble(Trouble(at, when)), pytest.raises(PowerCut):
        host.carry("upgrade", "2.0", "u-1")


# --- An attempt that is open ----------------------------------------------------------------------------------------


def test_an_order_does_not_discard_an_unfinished_rollback(small: SmallHost) -> None:
    """The disk refuses the rollback while another order comes: journal and snapshot stay."""
    refusing = Trouble(1, "before", OSError(errno.EIO, "as the test asked"), lasts=True)
    cut_at(small, "append journal", "after")  # `going back` is written
    with with_trouble(refusing):
        report = small.carry("upgrade", "3.0", "u-2")
    assert (report.outcome, report.order_id, report.code) == ("failed", "u-2", "RollbackFailed")
    assert (small.folder / "journal").exists()
    report = small.carry("upgrade", "3.0", "u-3")
    assert (report.outcome, report.current_version) == ("succeeded", "3.0")
    assert (small.state / "config").read_text() == "mine"
    assert small.leftovers() == []


def test_unknown_fields_in_a_journal_are_ignored(small: SmallHost) -> None:
    """A newer program may have written more about its order."""
    cut_at(small, "append journal")
    journal = small.folder / "journal"
    first, *rest = journal.read_text().splitlines()
    raw = json.loads(first)
    raw["order"]["haste"] = "great"
    journal.write_text("\n".join([json.dumps(raw), *rest]) + "\n")
    report = small.carry("recover")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert (small.state / "config").read_text() == "mine"


def test_a_journal_that_cannot_be_understood_stops_every_order(small: SmallHost) -> None:
    """The program that began the attempt must finish it. Nothing is removed or done meanwhile."""
    cut_at(small, "append journal")
    journal = small.folder / "journal"
    journal.write_text(journal.read_text().replace('"kind": "upgrade"', '"kind": "transmute"'))
    for kind, version in (("upgrade", "3.0"), ("recover", ""), ("uninstall", "")):
        report = small.carry(kind, version)
        assert (report.outcome, report.code) == ("failed", "InternalError")
        assert "another version of backfleet-host" in report.message
    assert journal.exists()
    (package,) = small.carry("status").details["packages"]
    assert package["attempt_open"]


@pytest.mark.parametrize("torn", range(1, 60, 7))
def test_a_line_after_a_torn_line_is_read(small: SmallHost, torn: int) -> None:
    """The recovery's own lines count, though the power failed in the middle of the line before them."""
    cut_at(small, "append journal", "before")  # `going back` is not written
    journal = small.folder / "journal"
    journal.write_bytes(journal.read_bytes() + b'{"line": "proven", "more": "and more, so that it is long"}'[:torn])
    with cut_before("rename current"), pytest.raises(PowerCut):
        small.carry("recover", order_id="r-1")
    lines = [json.loads(line)["line"] for line in journal.read_text().splitlines()]
    assert lines == ["order", "switching", "going back"]
    report = small.carry("recover", order_id="r-2")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert small.carry("upgrade", "2.0").code == "RolledBack"  # it is remembered


class Before(Trouble):
    """A power cut before the first effect of this name, whatever its number."""

    name = ""

    def __call__(self, when: str, effect: str, path: str) -> None:
        super().__call__(when, effect, path)
        if self.effects[-1] == self.name:
            raise PowerCut(self.name)


def cut_before(name: str) -> Any:
    trouble = Before()
    trouble.name = name
    return with_trouble(trouble)


def test_recover_all_finishes_an_uninstall_that_removes_state(small: SmallHost) -> None:
    """The recovery is an order of another kind, to which removing state is not allowed."""
    with cut_before("unlink current"), pytest.raises(PowerCut):
        small.carry("uninstall", order_id="u-9", remove_state=True)
    report = small.carry("recover")
    assert (report.outcome, report.current_version) == ("succeeded", "")
    assert not small.state.exists()


def test_a_status_order_recovers_its_package(small: SmallHost) -> None:
    """It may be the only order that ever comes."""
    cut_at(small, "append journal")
    (package,) = small.carry("status").details["packages"]
    assert (package["current"], package["attempt_open"]) == ("1.0", False)
    assert (small.state / "config").read_text() == "mine"


def test_a_status_does_not_recover_an_order_that_has_just_ended(
    small: SmallHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal existed when it was looked for, and its order had ended when the lock was taken."""
    small.carry("upgrade", "3.0", "u-1")
    held, journal = gate.held, small.folder / "journal"
    order = json.dumps({"line": "order", "order": order_of(small).to_json(), "from_version": "1.0"})
    journal.write_text(order + "\n")

    def ends_first(path: Path, **more: Any) -> Any:
        journal.unlink(missing_ok=True)
        return held(path, **more)

    monkeypatch.setattr(gate, "held", ends_first)
    (package,) = small.carry("status").details["packages"]
    assert (package["current"], package["last"]["order_id"], package["last"]["outcome"]) == ("3.0", "u-1", "succeeded")


def order_of(host: SmallHost) -> Order:
    return Order("u-1", "upgrade", PACKAGE, "3.0", host.releases["3.0"][0].platform, 30)


def test_the_same_order_again_reports_the_current_version(small: SmallHost) -> None:
    """Not the version at its end."""
    small.add("4.0")
    assert small.carry("upgrade", "3.0", "u-1").current_version == "3.0"
    assert small.carry("upgrade", "4.0", "u-2").current_version == "4.0"
    assert small.carry("upgrade", "3.0", "u-1").current_version == "4.0"


# --- Things that stand about ----------------------------------------------------------------------------------------


def a_file_among_the_trees(host: SmallHost) -> None:
    (host.folder / "versions" / "notes.txt").write_text("mine")
    (host.folder / "versions" / ".mine").mkdir()


def a_file_where_a_tree_is_made(host: SmallHost) -> None:
    (host.folder / "versions" / ".3.0.partial").write_text("x")


def a_link_where_a_tree_belongs(host: SmallHost) -> None:
    (host.folder / "versions" / "3.0").symlink_to("nowhere")


def a_link_to_a_folder_outside(host: SmallHost) -> None:
    outside = host.root.parent / "outside"
    outside.mkdir()
    (outside / "file").write_text("another's")
    (host.folder / "versions" / "0.1").symlink_to(outside)


def a_dangling_download(host: SmallHost) -> None:
    (host.folder / "downloads" / "x").symlink_to("nowhere")


def a_dangling_outcome(host: SmallHost) -> None:
    (host.folder / "outcomes" / "x.json").symlink_to("nowhere")


def a_folder_among_downloads(host: SmallHost) -> None:
    (host.folder / "downloads" / "old").mkdir()


def a_damaged_memory_of_a_failure(host: SmallHost) -> None:
    (host.folder / "failed" / "3.0").mkdir(parents=True)
    (host.folder / "failed" / "3.0" / "reason.json").write_text('{"at": 1, "until": null}')


def a_file_called_failed(host: SmallHost) -> None:
    (host.folder / "failed").write_text("x")


@pytest.mark.parametrize(
    "stray",
    [
        a_file_among_the_trees,
        a_file_where_a_tree_is_made,
        a_link_where_a_tree_belongs,
        a_link_to_a_folder_outside,
        a_dangling_download,
        a_dangling_outcome,
        a_folder_among_downloads,
        a_damaged_memory_of_a_failure,
        a_file_called_failed,
    ],
    ids=lambda stray: stray.__name__.replace("_", " "),
)
def test_foreign_files_stop_no_order(small: SmallHost, stray: Callable[[SmallHost], None]) -> None:
    """Nor is anything removed that is not ours, or anything outside changed."""
    stray(small)
    assert small.carry("upgrade", "2.0").code == "RolledBack"
    assert small.carry("upgrade", "3.0").outcome == "succeeded"
    notes, outside = small.folder / "versions" / "notes.txt", small.root.parent / "outside"
    if stray is a_file_among_the_trees:
        assert notes.read_text() == "mine"
        assert (notes.parent / ".mine").is_dir()
    if stray is a_link_to_a_folder_outside:
        assert (small.folder / "versions" / "0.1").is_symlink()
        assert (outside.stat().st_mode & 0o777, (outside / "file").read_text()) == (0o755, "another's")
    assert small.carry("uninstall").outcome == "succeeded"


def test_a_version_called_partial_is_a_version(small: SmallHost) -> None:
    """Half-made trees begin with a dot."""
    small.add("3.1.partial")
    assert small.carry("upgrade", "3.1.partial").outcome == "succeeded"
    assert small.carry("recover").current_version == small.shim_runs() == "3.1.partial"


@pytest.mark.parametrize(
    ("target", "version"), [("versions/1.0/", "1.0"), ("./versions/1.0", "1.0"), ("{folder}/versions/1.0", "1.0")]
)
def test_a_link_made_by_hand_counts_if_it_leads_to_a_tree(small: SmallHost, target: str, version: str) -> None:
    """A shell completes names with a slash."""
    (small.folder / "current").unlink()
    (small.folder / "current").symlink_to(target.format(folder=small.folder))
    assert small.carry("recover").current_version == version
    assert small.carry("upgrade", "3.0").outcome == "succeeded"


@pytest.mark.parametrize("target", ["versions/1.0 old", "current", "/usr/lib/courier/1.0", "versions", "../other/1.0"])
def test_a_link_that_leads_elsewhere_stops_the_order_and_nothing_is_removed(small: SmallHost, target: str) -> None:
    """The report says so, and an administrator decides."""
    (small.folder / "current").unlink()
    (small.folder / "current").symlink_to(target)
    for kind, version in (("upgrade", "3.0"), ("install", "3.0"), ("uninstall", "")):
        report = small.carry(kind, version)
        assert (report.code, report.current_version, report.version_known) == ("ManagedElsewhere", "", False)
        assert "not one of our versions" in report.message
    status = small.carry("status")
    assert not status.version_known
    (package,) = status.details["packages"]
    assert any("not one of our versions" in line for line in package["drift"])
    assert (small.folder / "versions" / "1.0" / "bin" / "courier").exists()


def test_a_folder_in_the_place_of_the_link_stops_the_order(small: SmallHost) -> None:
    (small.folder / "current").unlink()
    (small.folder / "current").mkdir()
    assert small.carry("install", "3.0").code == "ManagedElsewhere"
    assert small.leftovers() == []


def test_no_tree_is_removed_after_the_link_was(small: SmallHost) -> None:
    """Whoever removed the link may want it back. An install restores it."""
    (small.folder / "current").unlink()
    assert small.carry("recover").current_version == ""
    assert small.carry("upgrade", "3.0").code == "ClientNotInstalled"
    assert (small.folder / "versions" / "1.0" / "bin" / "courier").exists()
    assert small.carry("install", "3.0").current_version == small.shim_runs() == "3.0"


def test_facts_without_a_tree_are_removed(small: SmallHost) -> None:
    """The power failed between removing the two."""
    with cut_before("rename 3.0"), pytest.raises(PowerCut):
        small.carry("upgrade", "3.0", "u-1")
    assert (small.folder / "facts" / "3.0.json").exists()
    small.carry("recover")
    assert [path.name for path in (small.folder / "facts").iterdir()] == ["1.0.json"]


# --- Orders that change nothing -------------------------------------------------------------------------------------


def test_a_failed_order_changes_no_settings(small: SmallHost) -> None:
    """Nor does one that is rolled back, or one that is repeated after a later one."""
    small.carry("upgrade", "3.0", "u-1", settings={"cores": 1})
    kept = small.folder / "settings.json"
    for version in ("9.9", "2.0"):
        assert small.carry("upgrade", version, settings={"cores": 2}).outcome == "failed"
        assert json.loads(kept.read_text()) == {"cores": 1}
    small.add("4.0")
    small.carry("upgrade", "4.0", "u-2", settings={"cores": 3})
    small.carry("upgrade", "3.0", "u-1", settings={"cores": 1})
    assert json.loads(kept.read_text()) == {"cores": 3}


def test_a_refused_uninstall_removes_no_settings(shop: Shop, host: Host) -> None:
    """The client stays, and so do its settings."""
    shop.add("1.0", switch="idle")
    host.carry("install", "1.0", settings={"cores": 1})
    flag = host.root / "flag"
    flag.touch()
    with subprocess.Popen([host.shim, "hold", flag], stdout=subprocess.PIPE, text=True) as backup:
        assert backup.stdout is not None
        backup.stdout.readline()
        assert host.carry("uninstall", timeout_seconds=LONG_ENOUGH).code == "BackupRunning"
        flag.unlink()
    assert json.loads((host.folder / "settings.json").read_text()) == {"cores": 1}


def test_an_intermediate_version_that_was_rolled_back_is_quarantined(small: SmallHost) -> None:
    """Later orders over it do not switch to it and roll back again."""
    small.add("2.5", "unhealthy", keeps=[])
    small.add("5.0", upgrades_from="==2.5")
    first = small.carry("upgrade", "5.0")
    assert (first.code, first.stage) == ("RolledBack", "back")
    again = small.carry("upgrade", "5.0")
    assert (again.code, again.stage) == ("RolledBack", "check")
    assert "2.5 was rolled back" in again.message


def test_an_intermediate_version_replaces_no_unmanaged_program(small: SmallHost) -> None:
    """Its commands are checked as the goal's are."""
    small.add("2.5", bin=["bin/courier", "share/help"])
    small.add("5.0", upgrades_from="==2.5")
    (small.root / "bin" / "help").write_text("another's")
    report = small.carry("upgrade", "5.0")
    assert (report.code, report.current_version) == ("ManagedElsewhere", "1.0")
    assert (small.root / "bin" / "help").read_text() == "another's"


def test_an_upgrade_may_drop_the_service(tmp_path: Path) -> None:
    """A version without a service need not keep one up."""
    host = SmallHost(tmp_path / "small")
    service = {"start": [PACKAGE, "start"], "stop": [PACKAGE, "stop"], "ready": [PACKAGE, "ready"], "seconds": 1}
    host.add("1.0", service=service)
    host.add("2.0")
    host.carry("install", "1.0")
    host.serving = "1.0"
    report = host.carry("upgrade", "2.0")
    assert (report.outcome, report.current_version, host.serving) == ("succeeded", "2.0", "")


def test_other_users_may_run_the_client_whatever_the_umask(shop: Shop, host: Host) -> None:
    """Root's umask is 077 on many hosts; backups run as another user."""
    shop.add("1.0")
    shop.add("2.0")
    before = os.umask(0o077)
    try:
        host.carry("install", "1.0")
        host.carry("upgrade", "2.0")
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    for path in [host.shim, host.folder / "gate", host.folder / "versions" / "2.0" / ".backfleet" / "courier"]:
        for folder in [path, *path.parents][: len(path.relative_to(host.root).parts)]:
            assert folder.stat().st_mode & 0o005 >= 0o004, folder
            assert not folder.is_dir() or folder.stat().st_mode & 0o001, folder


def test_an_unexpected_error_is_reported(small: SmallHost) -> None:
    """And the host is as it was, wherever the error is raised."""

    def broken(*_: Any) -> Any:
        raise KeyError("sha256")

    small.installation = dataclasses.replace(small.installation, runner=broken)
    report = small.carry("upgrade", "3.0")
    assert (report.outcome, report.code, report.current_version) == ("failed", "InternalError", "1.0")
    assert "KeyError" in report.message
    small.installation = dataclasses.replace(small.installation, runner=small.run)
    assert small.carry("upgrade", "3.0").outcome == "succeeded"


def test_a_full_disk_for_progress_does_not_stop_a_rollback(small: SmallHost) -> None:
    """Progress output is best effort."""

    def mute(line: str) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    order = Order("u-1", "upgrade", PACKAGE, "2.0", small.releases["2.0"][0].platform, 30)
    report = carry_out_on(small.installation, order, mute)
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert (small.state / "config").read_text() == "mine"


# --- Formats --------------------------------------------------------------------------------------------------------


def test_f33_a_version_that_cannot_read_the_repository_is_refused(tmp_path: Path) -> None:
    """2.0 wrote a format that only 1.5 and newer can read: no order returns to 1.0."""
    host = SmallHost(tmp_path / "small")
    host.add("1.0", repository_format="1", readable_by="0.1")
    host.add("1.5", repository_format="1", readable_by="0.1")
    host.add("2.0", repository_format="2", readable_by="1.5")
    host.carry("install", "2.0")
    host.installation.etc.mkdir(parents=True)
    (host.installation.etc / "host.toml").write_text("allows_downgrade = true\n")
    report = host.carry("upgrade", "1.0")
    assert (report.code, report.current_version) == ("RepositoryFormatConflict", "2.0")
    assert host.carry("upgrade", "1.5").current_version == "1.5"


def test_a_folder_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        disk.make_folder(tmp_path / "a" / "b", 0o700)
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b")] == [0o755, 0o700]
