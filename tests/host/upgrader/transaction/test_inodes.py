"""Disks without free inodes. A disk that is full in this way must be no trap: what is half-made frees its inodes."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader.transaction import checks
from mounts import mounted

Host = Any
Shop = Any


@pytest.fixture
def small_disk(host: Host) -> Iterator[Path]:
    """Mount a disk of 64 MiB with 400 inodes for the host's root."""
    with mounted(host.root, "size=64m,nr_inodes=400") as folder:
        yield folder


def free_inodes(folder: Path) -> int:
    return os.statvfs(folder).f_favail


def use_up_inodes(folder: Path, leave: int) -> Path:
    """Make so many files that only `leave` inodes are left; return their folder."""
    filler = folder / "filler"
    filler.mkdir(exist_ok=True)
    for number in range(free_inodes(folder) - leave):
        (filler / str(number)).touch()
    return filler


def empty(filler: Path) -> None:
    for path in filler.iterdir():
        path.unlink()


def offer(shop: Shop, version: str, files: int = 0) -> None:
    """Offer a version with so many files, apart from its program."""
    shop.add(version, files=files)


def test_too_few_inodes_are_found_before_the_download(shop: Shop, host: Host, small_disk: Path) -> None:
    """They are counted as bytes are: nothing is fetched, and the report says how many there are."""
    offer(shop, "1.0")
    host.carry("install", "1.0")
    offer(shop, "2.0", files=200)
    use_up_inodes(small_disk, 150)
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.stage, report.current_version) == ("DiskFull", "check", "1.0")
    assert "inodes" in report.message
    assert host.downloads() == []
    assert host.leftovers() == []
    assert free_inodes(small_disk) >= 140


@pytest.mark.parametrize("leave", [0, 1, 3, 5, 8, 10, 11, 12, 14, 16, 20, 24, 30, 50, 100, 150])
def test_a_disk_that_runs_out_of_inodes_is_no_trap(
    shop: Shop, host: Host, small_disk: Path, leave: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever they end: `DiskFull`, nothing half-made, inodes free again, and the next order is carried out."""
    offer(shop, "1.0")
    host.carry("install", "1.0")
    offer(shop, "2.0", files=100)
    monkeypatch.setattr(checks, "_free_inodes", lambda folder: 1 << 30)  # others use them up after the check
    filler = use_up_inodes(small_disk, leave)
    report = host.carry("upgrade", "2.0", order_id="u-full")
    assert (report.code, report.current_version) in (("DiskFull", "1.0"), ("", "2.0"))
    assert host.leftovers() == []
    assert report.code == "" or free_inodes(small_disk) >= leave - 4  # an outcome, and what was never there
    if leave >= 10:  # enough for a journal with its reserve
        assert host.carry("recover", order_id="u-full").code == report.code
    empty(filler)
    assert host.carry("upgrade", "2.0").current_version == "2.0"
    assert host.leftovers() == []


def test_a_rollback_has_the_inodes_it_needs(shop: Shop, host: Host, small_disk: Path) -> None:
    """They are reserved when the order begins: a neighbour that uses up the rest does not stop it."""
    filler = small_disk / "filler"
    greedy = f"""#!/bin/sh
if [ "{{version}}" = 2.0 ]; then mkdir {filler}; n=0; while : >{filler}/$n; do n=$((n + 1)); done 2>/dev/null; fi
echo "{{package}} {{version}}"; exit {{health}}
"""
    shop.add("1.0", client=greedy)
    shop.add("2.0", client=greedy, health=3)
    host.carry("install", "1.0")
    report = host.carry("upgrade", "2.0", order_id="u-greedy")
    assert free_inodes(small_disk) < 20
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert (host.folder / "failed" / "2.0" / "reason.json").exists()
    assert host.carry("recover", order_id="u-greedy").code == "RolledBack"
    assert host.leftovers() == []


def test_one_thing_that_cannot_be_removed_does_not_stop_the_rest(installed: Host) -> None:
    """An immutable folder stays, and every other leftover goes."""
    package = installed.installation.package("courier")
    stuck, other = package.partial("0.1"), package.partial("0.9")
    for folder in (stuck, other):
        (folder / "inside").mkdir(parents=True)
    (installed.folder / ".torn.partial").touch()
    (installed.folder / "outcomes" / ".torn.partial").touch()
    if os.geteuid() != 0 or os.system(f"chattr +i {stuck} 2>/dev/null"):  # noqa: S605
        pytest.skip("no file can be made immutable here")
    try:
        assert installed.carry("upgrade", "2.0").current_version == "2.0"
        assert installed.leftovers() == [str(stuck)]
        assert sorted(path.name for path in (installed.folder / "versions").iterdir()) == [stuck.name, "1.0", "2.0"]
    finally:
        os.system(f"chattr -i {stuck}")  # noqa: S605
    with contextlib.suppress(OSError):
        installed.carry("recover")
    assert installed.leftovers() == []
