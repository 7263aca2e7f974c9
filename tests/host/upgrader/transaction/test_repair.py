"""Repair: an installed version that is damaged is repaired by the next order, in one step, also while it is in use."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader import disk

Host = Any
Shop = Any


def program(host: Host) -> Path:
    return Path(host.folder / "versions" / "1.0" / "bin" / "courier")


def changed(host: Host) -> None:
    program(host).chmod(0o755)
    program(host).write_text("#!/bin/sh\nexit 9\n")


def gone(host: Host) -> None:
    program(host).unlink()


def all_gone(host: Host) -> None:
    disk.remove_tree(host.folder / "versions" / "1.0")


def facts_gone(host: Host) -> None:
    (host.folder / "facts" / "1.0.json").unlink()


def facts_damaged(host: Host) -> None:
    (host.folder / "facts" / "1.0.json").write_text('{"manifest": {}}')


DAMAGES = pytest.mark.parametrize(
    "damage",
    [changed, gone, all_gone, facts_gone, facts_damaged],
    ids=["a program was changed", "a program is gone", "the tree is gone", "its facts are gone", "its facts are none"],
)


def runs(host: Host) -> str:
    return subprocess.run([host.shim, "x"], capture_output=True, text=True, check=True).stdout.strip()


@DAMAGES
@pytest.mark.parametrize("kind", ["install", "upgrade"])
def test_an_order_for_the_same_version_repairs_it(installed: Host, damage: Callable[[Host], None], kind: str) -> None:
    """Once it is intact nothing is done."""
    damage(installed)
    report = installed.carry(kind, "1.0")
    assert (report.outcome, report.code, report.current_version) == ("succeeded", "", "1.0"), report
    assert runs(installed) == "1.0 x"
    assert installed.carry("status").details["packages"][0]["drift"] == []
    assert installed.leftovers() == []
    assert installed.carry(kind, "1.0").code == "AlreadyCurrent"


@DAMAGES
def test_f29_the_old_version_is_repaired_before_an_upgrade(installed: Host, damage: Callable[[Host], None]) -> None:
    """So that it can be rolled back to."""
    damage(installed)
    assert installed.carry("upgrade", "2.0").outcome == "succeeded"
    assert (installed.folder / "previous").resolve().name == "1.0"
    assert subprocess.run([program(installed), "x"], capture_output=True, text=True, check=True).stdout == "1.0 x\n"


def test_a_rollback_leads_to_the_repaired_version(shop: Shop, installed: Host) -> None:
    shop.add("3.0", health=1)
    changed(installed)
    report = installed.carry("upgrade", "3.0")
    assert (report.code, report.current_version, report.details["mended"]) == ("RolledBack", "1.0", "1.0")
    assert runs(installed) == "1.0 x"


def test_a_shim_that_was_changed_is_written_again(installed: Host) -> None:
    """Without a download."""
    installed.shim.unlink()
    assert installed.carry("install", "1.0").outcome == "succeeded"
    assert runs(installed) == "1.0 x"
    assert (installed.folder / "previous").exists() is False


def test_f35_processes_in_a_damaged_tree_go_on(installed: Host) -> None:
    """With the files they have open: nothing is removed under them."""
    flag = installed.root / "flag"
    flag.touch()
    with subprocess.Popen([installed.shim, "hold", str(flag)], stdout=subprocess.PIPE, text=True) as backup:
        assert backup.stdout is not None
        backup.stdout.readline()
        (installed.folder / "versions" / "1.0" / "extra").write_text("not ours")
        os.unlink(installed.folder / "facts" / "1.0.json")
        assert installed.carry("install", "1.0").outcome == "succeeded"
        flag.unlink()
        assert backup.stdout.read() == "done 1.0\n"
    assert backup.returncode == 0
    assert (installed.folder / "versions" / "1.0" / "extra").read_text() == "not ours"


def test_a_release_that_is_no_longer_offered_cannot_be_repaired(shop: Shop, host: Host) -> None:
    """Nothing is touched, and the report says what to do."""
    shop.add("1.0")
    assert host.carry("install", "1.0").outcome == "succeeded"
    with shop.database.transaction() as tx:
        from datetime import UTC, datetime

        from backfleet import releases
        from backfleet_host.platforms import platform_here

        releases.withdraw(tx, shop.repository, "courier", "1.0", platform_here(), now=datetime.now(UTC))
    shop.add("2.0")
    changed(host)
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("HealthCheckFailed", "1.0")
    assert "uninstall it first" in report.message
    assert host.carry("uninstall").outcome == "succeeded"
    assert host.carry("install", "2.0").outcome == "succeeded"
