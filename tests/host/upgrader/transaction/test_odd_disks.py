"""Full, read-only and layered disks. Each has a typed code, or a second way to do the same."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader import disk
from host.upgrader.scenarios import (
    BY_ID,
    after_a_cut,
    check_end,
    check_works,
    cut_points_of,
    hosts_in,
    naming,
    ordered,
)
from mounts import bound, mounted, remount

Host = Any
Shop = Any


def fill(folder: Path) -> Path:
    """Write a file that leaves no byte of this disk."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return filler


def printed_by(shim: Path, *arguments: str) -> str:
    return subprocess.run([shim, *arguments], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("kind", ["install", "upgrade", "uninstall"])
def test_a_disk_that_is_completely_full_is_reported_as_such(shop: Shop, host: Host, kind: str) -> None:
    """Not as `InternalError`; also for an install on a root without anything. Status is answered all the same."""
    shop.add("1.0")
    shop.add("2.0")
    with mounted(host.root, "size=24m"):
        if kind != "install":
            assert host.carry("install", "1.0").outcome == "succeeded"
        filler = fill(host.root)
        assert host.carry("status").outcome == "succeeded"
        report = host.carry(kind, "" if kind == "uninstall" else "2.0")
        assert report.code in (("DiskFull", "") if kind == "uninstall" else ("DiskFull",)), report.message
        assert host.leftovers() == []
        filler.unlink()
        assert host.carry(kind, "" if kind == "uninstall" else "2.0").outcome == "succeeded"


@pytest.mark.parametrize("kind", ["install", "upgrade", "uninstall", "status", "recover"])
def test_a_read_only_root_is_reported(shop: Shop, host: Host, kind: str) -> None:
    """Status and `recover` with nothing to recover need no writing, and succeed."""
    shop.add("1.0")
    shop.add("2.0")
    with mounted(host.root, "size=24m"):
        host.carry("install", "1.0")
        remount(host.root, "ro")
        report = host.carry(kind, "2.0" if kind in ("install", "upgrade") else "", timeout_seconds=1)
        if kind == "status":
            assert report.outcome == "succeeded"
            assert report.details["packages"][0]["current"] == "1.0"
        else:
            assert (report.code, report.current_version) == ("HostBusy", "1.0")
            assert "read-only" in report.message.lower()
        assert printed_by(host.shim, "hello") == "1.0 hello"


@pytest.mark.parametrize("kind", ["install", "upgrade", "uninstall"])
def test_a_read_only_folder_for_shims_is_found_before_the_switch(shop: Shop, host: Host, kind: str) -> None:
    """`/usr/local/bin` may be on another disk than the root, or part of an image."""
    shop.add("1.0")
    shop.add("2.0", commands=("courier", "courier-mount"))
    with mounted(host.root, "size=64m"):
        host.installation.bin.mkdir()
        if kind != "install":
            host.carry("install", "1.0")
        before = (host.folder / "current").readlink() if kind != "install" else None
        with bound(host.installation.bin, "ro"):
            report = host.carry(kind, "" if kind == "uninstall" else "2.0")
            assert (report.outcome, report.code) == ("failed", "HostBusy")
            assert report.stage in ("check", "drain")
            assert str(host.installation.bin) in report.message
            assert host.downloads() == []
            assert before is None or (host.folder / "current").readlink() == before
        assert host.carry(kind, "" if kind == "uninstall" else "2.0").outcome == "succeeded"


def test_a_read_only_folder_for_shims_does_not_stop_an_upgrade_that_changes_none(shop: Shop, host: Host) -> None:
    """Shims are the same for every version: on an image with our shims in it nothing has to be written."""
    shop.add("1.0")
    shop.add("2.0")
    with mounted(host.root, "size=64m"):
        host.carry("install", "1.0")
        with bound(host.installation.bin, "ro"):
            assert host.carry("upgrade", "2.0").outcome == "succeeded"
            assert printed_by(host.shim, "hello") == "2.0 hello"


@pytest.fixture
def layered(shop: Shop, host: Host, tmp_path: Path) -> Iterator[Host]:
    """Return a host whose client came with an image: everything of it is in the lower layer of an overlay."""
    shop.add("1.0")
    lower = tmp_path / "lower"
    (lower / "state" / "inner").mkdir(parents=True)
    (lower / "state" / "inner" / "config").write_text("mine")
    image = Image(host, lower)
    with mounted(tmp_path / "layers", "size=64m") as layers:
        for folder in (layers / "upper", layers / "work"):
            folder.mkdir()
        assert image.carry("install", "1.0").outcome == "succeeded"
        text = f"lowerdir={lower},upperdir={layers}/upper,workdir={layers}/work,redirect_dir=off"
        with mounted(host.root, text, "overlay"):
            yield host


class Image:
    """Makes what is in an image, by bind-mounting its folder to the root that the host will have."""

    def __init__(self, host: Host, lower: Path) -> None:
        self.host, self.lower = host, lower

    def carry(self, *arguments: str) -> Any:
        self.host.root.mkdir(exist_ok=True)
        subprocess.run(["mount", "--bind", self.lower, self.host.root], check=True)
        try:
            return self.host.carry(*arguments)
        finally:
            subprocess.run(["umount", self.host.root], check=True)


def test_a_damaged_tree_of_a_lower_layer_is_repaired(shop: Shop, layered: Host) -> None:
    """An overlay cannot exchange such folders (EXDEV): the files in them are replaced one by one."""
    program = layered.folder / "versions" / "1.0" / "bin" / "courier"
    program.chmod(0o755)
    program.write_text("#!/bin/sh\necho damaged\n")
    (layered.folder / "versions" / "1.0" / "bin" / "more").touch()
    report = layered.carry("upgrade", "1.0")
    assert (report.outcome, report.code, report.details["mended"]) == ("succeeded", "", "1.0")
    assert printed_by(layered.shim, "hello") == "1.0 hello"
    assert layered.carry("upgrade", "1.0").code == "AlreadyCurrent"
    (drift,) = layered.carry("status").details["packages"][0]["drift"]
    assert drift.endswith("bin/more is not part of the release")  # what somebody put there is kept
    assert layered.leftovers() == []


def test_a_client_of_a_lower_layer_is_upgraded_and_its_old_tree_goes(shop: Shop, layered: Host) -> None:
    """Twice, so that the tree of the lower layer is removed."""
    for version in ("2.0", "3.0"):
        shop.add(version)
        assert layered.carry("upgrade", version).outcome == "succeeded"
        assert printed_by(layered.shim, "hello") == f"{version} hello"
    assert sorted(path.name for path in (layered.folder / "versions").iterdir()) == ["2.0", "3.0"]
    assert layered.leftovers() == []


def test_preserved_folders_of_a_lower_layer_are_restored(shop: Shop, layered: Host) -> None:
    """A rollback moves what the new version put there to the evidence, across layers."""
    state = layered.root / "state"
    bad = f"#!/bin/sh\necho theirs >{state}/inner/config; mkdir -p {state}/new/er; touch {state}/new/er/file; exit 3\n"
    shop.add("2.0", client=bad, keeps=[str(state)])
    report = layered.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert (state / "inner" / "config").read_text() == "mine"
    assert not (state / "new").exists()


@pytest.mark.parametrize("scenario", ["what is damaged, again", "from a damaged tree"])
def test_a_repair_file_by_file_survives_power_cuts(
    scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the power fails, the next order finds a tree that is not intact, and repairs it to the end."""

    def refuse(one: Path, other: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(one))

    monkeypatch.setattr(disk, "exchange", refuse)
    chosen = BY_ID[scenario]
    with hosts_in(tmp_path) as hosts:
        among = cut_points_of(hosts, chosen)
        before = hosts.before(chosen)
        for cut_point, moment in hosts.cut_off(chosen, among):
            host = hosts.at(moment)
            with naming(cut_point):
                check_works(chosen, host)
                ending = after_a_cut(chosen, host)
                check_end(chosen, host, before, ordered(chosen, host), ending)
                assert host.carry("upgrade", chosen.goal).current_version == chosen.goal
                assert host.damage(chosen.goal) == ""
