"""What lies on a file system that stops answering, and is no state: programs that are run, links, other programs."""

import dataclasses
import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader.errors import Unhealthy
from backfleet_host.upgrader.host.subprocesses import Subprocess, run
from hanging_mount import hanging_mount

Host = Any
Shop = Any

PROBE = '[[probe]]\nname = "far"\ncommand = ["{program}"]\nexpect = "fine"\nseconds = 1\n'
STOPPER = """#!/bin/sh
case "$1" in
  version) echo "{package} {version}"; touch FLAG; exit {health} ;;
  *) echo "{version} $*" ;;
esac
"""


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """Return where that file system is. It has one program, `config`."""
    return tmp_path / "far" / "away"


@pytest.fixture
def flag(mount: Path) -> Iterator[Path]:
    """Mount it; return the file that stops it."""
    with hanging_mount(mount) as flag:
        yield flag


def check_backups_run(host: Host, version: str = "1.0") -> None:
    assert not host.is_gate_closed()
    ran = subprocess.run([host.shim, "backup"], capture_output=True, timeout=20, check=True)
    assert ran.stdout == f"{version} backup\n".encode()


def test_a_probe_whose_program_is_on_a_dead_mount_ends_the_order_before_the_switch(
    installed: Host, mount: Path, flag: Path
) -> None:
    """It cannot say anything about the new version, and nobody waits for it behind the gate."""
    installed.write_policy(PROBE.format(program=mount / "config"))
    flag.touch()
    began = time.monotonic()
    report = installed.carry("upgrade", "2.0", timeout_seconds=600)
    assert (report.outcome, report.code, report.current_version) == ("failed", "HostBusy", "1.0")
    assert report.details["reason"] == "NotAnswering"
    assert "'far'" in report.message
    assert time.monotonic() - began < 60
    check_backups_run(installed)


def test_a_probe_whose_mount_dies_after_the_switch_rolls_back_and_blames_no_version(
    shop: Shop, installed: Host, mount: Path, flag: Path
) -> None:
    installed.write_policy(PROBE.format(program=mount / "config"))
    shop.add("3.0", client=STOPPER.replace("FLAG", str(flag)))
    report = installed.carry("upgrade", "3.0", timeout_seconds=600)
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert report.details["reason"] == "NotAnswering"
    assert not (installed.folder / "failed" / "3.0" / "reason.json").exists()
    check_backups_run(installed)


def test_a_program_that_waits_to_be_started_is_left_behind_without_our_locks(
    mount: Path, flag: Path, tmp_path: Path
) -> None:
    """It would keep the gate closed for as long as the mount is dead."""
    ours = os.open(tmp_path / "gate", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    fcntl.flock(ours, fcntl.LOCK_EX)
    flag.touch()
    with pytest.raises(Unhealthy, match="does not answer") as raised:
        run(Subprocess((str(mount / "config"),), 1))
    assert (raised.value.passing, raised.value.reason) == (True, "NotAnswering")
    os.close(ours)
    with open(tmp_path / "gate", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_script_whose_interpreter_is_on_a_dead_mount_is_left_behind(mount: Path, flag: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!{mount}/config\n")
    script.chmod(0o755)
    flag.touch()
    with pytest.raises(Unhealthy, match="does not answer"):
        run(Subprocess((str(script),), 1))


def test_links_to_a_dead_mount_beside_our_shims_and_in_our_trees_delay_nothing(
    installed: Host, mount: Path, flag: Path
) -> None:
    """Links of others in the folder of the shims are common; we look into none."""
    (installed.shim.parent / "neighbour").symlink_to(mount / "config")
    (installed.folder / "versions" / "1.0" / "bin" / "helper").symlink_to(mount / "config")
    flag.touch()
    (package,) = installed.carry("status").details["packages"]
    assert any("helper is not part of the release" in sentence for sentence in package["drift"])
    assert installed.carry("upgrade", "2.0", timeout_seconds=600).outcome == "succeeded"
    assert os.readlink(installed.folder / "current" / "bin" / "helper") == str(mount / "config")


def test_a_dead_mount_where_a_shim_belongs_is_named_and_not_followed(shop: Shop, host: Host, mount: Path) -> None:
    shop.add("1.0")
    host.shim.parent.mkdir(parents=True)
    host.shim.symlink_to(mount / "config")
    with hanging_mount(mount) as flag:
        flag.touch()
        report = host.carry("install", "1.0", timeout_seconds=600)
    assert (report.code, report.current_version) == ("ManagedElsewhere", "")


def test_a_dead_mount_with_other_programs_is_named_by_status_and_refuses_an_install(
    shop: Shop, host: Host, tmp_path: Path
) -> None:
    system = tmp_path / "system"
    (system / "usr" / "bin").mkdir(parents=True)
    host.installation = dataclasses.replace(host.installation, system=system)
    shop.add("1.0")
    assert host.carry("install", "1.0").outcome == "succeeded"
    with hanging_mount(system / "opt" / "bin") as flag:
        flag.touch()
        (package,) = host.carry("status").details["packages"]
        assert f"{system}/opt/bin/courier does not answer" in " ".join(package["drift"])
        shop.add("2.0", commands=("courier", "another"))
        report = host.carry("upgrade", "2.0", timeout_seconds=600)
    assert (report.code, report.details["reason"]) == ("HostBusy", "NotAnswering")
    assert f"{system}/opt/bin/another" in report.message
    check_backups_run(host)
