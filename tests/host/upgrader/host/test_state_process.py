"""Preserved state on a file system that stops answering: the order ends, and no backup waits for it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.contract import Report
from backfleet_host.upgrader import carry_out_on, gate
from backfleet_host.upgrader.errors import NotAnswering, OrderFailed, Unhealthy
from backfleet_host.upgrader.host.holders import holders_of_lock
from backfleet_host.upgrader.host.processes import sees_all_holders
from backfleet_host.upgrader.host.state_process import StateProcess
from backfleet_host.upgrader.host.subprocesses import Subprocess, run
from hanging_mount import CONTENT, hanging_mount

Host = Any
Shop = Any

STOPPER = """#!/bin/sh
case "$1" in
  version) echo "{package} {version}"; touch FLAG; exit {health} ;;
  *) echo "{version} $*" ;;
esac
"""


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """Return where state is kept."""
    return tmp_path / "srv" / "backups" / "state"


@pytest.fixture
def flag(mount: Path) -> Iterator[Path]:
    """Mount state there; return the file that stops its file system."""
    with hanging_mount(mount) as flag:
        yield flag


@pytest.fixture
def keeping(installed: Host, mount: Path, flag: Path) -> Host:
    """Return a host with 1.0, whose state is on that mount."""
    installed.write_policy(f'keeps = ["{mount}"]\n')
    installed.write_policy("state_limit = 2\n", "host")
    return installed


def check_backups_run(host: Host) -> None:
    assert not host.is_gate_closed()
    ran = subprocess.run([host.shim, "backup"], capture_output=True, timeout=20, check=True)
    assert ran.stdout == b"1.0 backup\n"
    assert not gate.is_anything_running(host.folder / "running")


def test_an_upgrade_preserves_state_on_a_file_system_that_answers(keeping: Host) -> None:
    assert keeping.carry("upgrade", "2.0").outcome == "succeeded"


def test_a_dead_mount_ends_the_order_before_anything_is_touched(keeping: Host, mount: Path, flag: Path) -> None:
    """Whoever must know is given the path, and backups run on."""
    flag.touch()
    report = keeping.carry("upgrade", "2.0", timeout_seconds=600)
    assert (report.outcome, report.code, report.current_version) == ("failed", "HostBusy", "1.0")
    assert report.details["reason"] == "NotAnswering"
    assert str(mount) in report.message
    assert keeping.leftovers() == []
    check_backups_run(keeping)


def test_a_mount_that_dies_after_the_switch_ends_the_order_with_the_old_version(
    shop: Shop, keeping: Host, mount: Path, flag: Path
) -> None:
    """Neither the comparison nor the restoring can be done: the next start does it, once the mount is away."""
    shop.add("3.0", client=STOPPER.replace("FLAG", str(flag)))
    report = keeping.carry("upgrade", "3.0", timeout_seconds=600)
    assert (report.code, report.current_version) == ("RollbackFailed", "1.0")
    assert str(mount) in report.message
    check_backups_run(keeping)
    subprocess.run(["umount", "--lazy", mount], check=True)
    assert keeping.carry("recover").current_version == "1.0"
    assert (mount / "config").read_bytes() == CONTENT
    assert keeping.leftovers() == []


def test_an_uninstall_ends_if_the_state_that_it_is_to_remove_does_not_answer(
    keeping: Host, mount: Path, flag: Path
) -> None:
    flag.touch()
    report = keeping.carry("uninstall", remove_state=True, timeout_seconds=600)
    assert (report.outcome, report.current_version) == ("failed", "")
    assert str(mount) in report.message


def test_an_order_that_waits_for_a_dead_mount_can_be_cancelled(keeping: Host, flag: Path) -> None:
    """As SIGTERM does it, and long before the time of the mount is over."""
    keeping.write_policy("state_limit = 600\n", "host")
    flag.touch()
    cancelled_at = time.monotonic() + 3
    report = carry(keeping, lambda: time.monotonic() > cancelled_at)
    assert (report.code, report.current_version) == ("TaskCancelled", "1.0")
    check_backups_run(keeping)


def carry(host: Host, is_cancelled: Any) -> Report:
    order = replace(host.order("upgrade", "2.0"), timeout_seconds=600)
    return carry_out_on(host.installation, order, host.progress.append, is_cancelled)


def test_a_snapshot_and_a_comparison_of_a_dead_mount_name_the_path(mount: Path, flag: Path, tmp_path: Path) -> None:
    state, kept = StateProcess("courier", 2), tmp_path / "kept"
    try:
        state.snapshot([str(mount)], kept, lambda: None)
        assert state.first_change(kept, lambda: None) == ""
        flag.touch()
        with pytest.raises(NotAnswering, match=str(mount)):
            state.first_change(kept, lambda: None)
        with pytest.raises(NotAnswering, match=str(mount)):
            state.snapshot([str(mount)], kept, lambda: None)
    finally:
        state.close()


def test_what_interrupts_a_snapshot_ends_the_process(mount: Path, flag: Path, tmp_path: Path) -> None:
    flag.touch()
    state = StateProcess("courier", 600)

    def cancel() -> None:
        raise OrderFailed("TaskCancelled", "enough")

    with pytest.raises(OrderFailed, match="enough"):
        state.snapshot([str(mount)], tmp_path / "kept", cancel)
    state.close()


def test_the_process_has_none_of_our_descriptors(tmp_path: Path) -> None:
    """Left behind, it would keep the gate closed for good."""
    ours = os.open(tmp_path / "gate", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    state = StateProcess("courier", 10)
    try:
        state.start()
        process = state._process
        assert process is not None
        found = {os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()}
        assert str(tmp_path / "gate") not in found
    finally:
        state.close()
        os.close(ours)


def test_errors_of_the_process_are_those_of_its_work(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "index.json").write_text("torn")
    state = StateProcess("courier", 10)
    try:
        with pytest.raises(OSError, match="cannot be read") as raised:
            state.restore(tmp_path / "kept", tmp_path / "left")
        assert (raised.value.errno, raised.value.filename) == (5, str(tmp_path / "kept" / "index.json"))
        if os.geteuid() == 0:
            (tmp_path / "link").symlink_to("/etc")
            os.chown(tmp_path / "link", 1234, 1234, follow_symlinks=False)
            with pytest.raises(OrderFailed, match="name the real path under `keeps`"):
                state.reach([str(tmp_path / "link")], lambda: None)
    finally:
        state.close()


def test_a_process_that_was_killed_is_started_again(tmp_path: Path) -> None:
    state = StateProcess("courier", 10)
    try:
        state.start()
        assert state._process is not None
        state._process.kill()
        state._process.wait()
        state.reach([str(tmp_path)], lambda: None)
    finally:
        state.close()


def test_a_command_that_cannot_be_killed_is_left_behind(mount: Path, flag: Path) -> None:
    """A health command that reads from a dead mount: no fault of the version."""
    flag.touch()
    with pytest.raises(Unhealthy, match="does not answer") as raised:
        run(Subprocess(("/bin/cat", str(mount / "config")), 1))
    assert raised.value.passing


def test_who_holds_a_lock_is_found_while_others_use_a_dead_mount(mount: Path, tmp_path: Path) -> None:
    """Looking at what a process has open must not ask that file system."""
    lock = tmp_path / "running"
    lock.touch()
    with hanging_mount(mount) as flag:
        holder = hold_with_an_open_file(lock, mount / "config")
        flag.touch()
        found = [one.process for one in holders_of_lock(lock, tmp_path)]
        sees_all_holders(lock)
        holder.kill()
    holder.communicate()  # it ends with its file system
    assert found == [holder.pid]


def hold_with_an_open_file(lock: Path, other: Path) -> subprocess.Popen[bytes]:
    text = f"import fcntl, time; a = open({str(other)!r}); b = open({str(lock)!r}); fcntl.flock(b, fcntl.LOCK_SH)"
    text += "; print(flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"\n"
    return holder
