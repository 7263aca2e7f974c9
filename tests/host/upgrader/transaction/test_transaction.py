"""The transaction: it upgrades, or it leaves no trace."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader.release import repository
from host.upgrader.conftest import LONG_ENOUGH

Host = Any  # the fixtures' classes live in conftest.py
Shop = Any


def printed_by(shim: Path, *words: str) -> str:
    return subprocess.run([shim, *words], capture_output=True, text=True, check=True).stdout.strip()


def snapshot(root: Path) -> dict[str, str]:
    """Return every link and file that a user could notice, with its content."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith(("trust", "courier/outcome", "courier/failed", "courier/gate", "courier/running")):
            continue
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = path.read_text(errors="replace")
    return found


# --- Forwards -------------------------------------------------------------------------------------------------------


def test_an_install_makes_the_client_run(shop: Shop, host: Host) -> None:
    """From nothing to a working shim."""
    shop.add("1.0")
    report = host.carry("install", "1.0")
    assert (report.outcome, report.code, report.current_version) == ("succeeded", "", "1.0")
    assert printed_by(host.shim, "hello") == "1.0 hello"
    assert host.leftovers() == []


def test_an_upgrade_keeps_the_old_version_for_a_rollback(shop: Shop, host: Host) -> None:
    """Both trees are there, the shim runs the new one, and every step was reported."""
    shop.add("1.0")
    shop.add("2.0")
    host.carry("install", "1.0")
    host.progress.clear()
    report = host.carry("upgrade", "2.0")
    assert (report.outcome, report.from_version, report.current_version) == ("succeeded", "1.0", "2.0")
    assert printed_by(host.shim, "version") == "courier 2.0"
    assert sorted(path.name for path in (host.folder / "versions").iterdir()) == ["1.0", "2.0"]
    stages = [json.loads(line)["stage"] for line in host.progress]
    assert stages == ["admit", "check", "fetch", "stage", "drain", "switch", "prove", "commit"]
    assert host.leftovers() == []


def test_older_versions_are_removed_once_nothing_runs_from_them(shop: Shop, host: Host) -> None:
    """The current and the previous version stay, and so does a tree that a process runs from."""
    for version in ("1.0", "2.0", "3.0"):
        shop.add(version)
    host.carry("install", "1.0")
    with a_running_backup(host):
        host.carry("upgrade", "2.0")
        host.carry("upgrade", "3.0")
        assert (host.folder / "versions" / "1.0").is_dir()
    host.carry("recover")
    assert sorted(path.name for path in (host.folder / "versions").iterdir()) == ["2.0", "3.0"]


def test_an_uninstall_leaves_neither_shim_nor_version(shop: Shop, host: Host) -> None:
    """And its report says so."""
    shop.add("1.0")
    host.carry("install", "1.0")
    report = host.carry("uninstall")
    assert (report.outcome, report.current_version) == ("succeeded", "")
    assert not host.shim.exists()
    assert list((host.folder / "versions").iterdir()) == []


def test_the_same_order_again_is_answered_not_repeated(shop: Shop, host: Host) -> None:
    """Its report comes from the host's disk."""
    shop.add("1.0")
    first = host.carry("install", "1.0", order_id="u-1")
    host.progress.clear()
    assert host.carry("install", "1.0", order_id="u-1") == first
    assert [json.loads(line)["stage"] for line in host.progress] == ["admit"]


def test_the_current_version_stays_untouched(shop: Shop, host: Host) -> None:
    """AlreadyCurrent is a note on a success."""
    shop.add("1.0")
    host.carry("install", "1.0")
    before = snapshot(host.root)
    report = host.carry("upgrade", "1.0")
    assert (report.outcome, report.code) == ("succeeded", "AlreadyCurrent")
    assert snapshot(host.root) == before


def test_status_reports_versions_and_the_last_order(shop: Shop, host: Host) -> None:
    """As JSON, for the server and for people."""
    shop.add("1.0")
    host.carry("install", "1.0")
    (package,) = host.carry("status").details["packages"]
    assert package["current"] == "1.0"
    assert package["versions"] == ["1.0"]
    assert package["last"]["outcome"] == "succeeded"


# --- Refusals: nothing is touched -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "made", "code"),
    [
        pytest.param("2.0", {}, "UntrustedRelease", id="no metadata names this version"),
        pytest.param("2.0", {"version": "2.0", "upgrades_from": ">=1.5"}, "NotAllowedFrom", id="not from here"),
    ],
)
def test_a_refused_order_touches_nothing(shop: Shop, host: Host, version: str, made: dict[str, str], code: str) -> None:
    """Each has its code, and the host is as it was."""
    shop.add("1.0")
    host.carry("install", "1.0")
    before = snapshot(host.root)
    if made:
        shop.add(**made)
    report = host.carry("upgrade", version)
    assert (report.outcome, report.code, report.current_version) == ("failed", code, "1.0")
    assert snapshot(host.root) == before
    assert host.leftovers() == []


def test_an_upgrade_of_a_missing_client_is_refused(shop: Shop, host: Host) -> None:
    """An upgrade is not an install."""
    shop.add("1.0")
    assert host.carry("upgrade", "1.0").code == "ClientNotInstalled"
    assert host.version() == ""


def test_an_unmanaged_file_is_not_overwritten(shop: Shop, host: Host) -> None:
    """F77: another package manager is detected and left alone."""
    shop.add("1.0")
    host.shim.parent.mkdir(parents=True)
    host.shim.write_text("made by somebody else")
    report = host.carry("install", "1.0")
    assert report.code == "ManagedElsewhere"
    assert host.shim.read_text() == "made by somebody else"


def test_f11_f70_bytes_that_are_not_the_release_are_refused(shop: Shop, host: Host) -> None:
    """Nothing is replaced before bytes are verified, and wrong ones are removed."""
    shop.add("1.0")
    artifact = shop.add("2.0")
    host.carry("install", "1.0")
    before = snapshot(host.root)
    artifact.write_bytes(artifact.read_bytes()[:-1] + b"x")
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("UntrustedRelease", "1.0")
    assert snapshot(host.root) == before
    assert host.leftovers() == []


def test_metadata_signed_by_others_is_refused(shop: Shop, host: Host, tmp_path: Path) -> None:
    """F74: the host trusts the root it was enrolled with, not the server that answers."""
    shop.add("1.0")
    host.carry("install", "1.0")
    shutil_free = host.root / "trust"
    assert shutil_free.is_dir()
    other = subprocess.run(  # a root of another installation
        [sys.executable, "-c", OTHER_ROOT, str(tmp_path / "other")], capture_output=True, check=True
    ).stdout
    object.__setattr__(host.installation, "trust_root", other)
    subprocess.run(["rm", "-r", str(shutil_free)], check=True)
    shop.add("2.0")
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("UntrustedRelease", "1.0")


OTHER_ROOT = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from backfleet import releases
from backfleet.storage import metadata, open_database
folder = Path(sys.argv[1]); folder.mkdir()
database = open_database(f"sqlite:///{folder}/x.db"); metadata.create_all(database.engine)
repository = releases.Repository.open(folder)
with database.transaction() as tx:
    releases.refresh(tx, repository, now=datetime.now(UTC))
    sys.stdout.buffer.write(releases.metadata(tx, "1.root.json"))
database.close()
"""


def test_f11_f14_an_unreachable_server_is_no_fault_of_the_version(
    shop: Shop, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A passing cause never quarantines a version."""
    shop.add("1.0")
    shop.add("2.0")
    host.carry("install", "1.0")
    monkeypatch.setattr(repository, "FIRST_PAUSE_SECONDS", 0.01)
    right = host.installation.downloads
    object.__setattr__(host.installation, "downloads", "http://127.0.0.1:9/downloads")
    report = host.carry("upgrade", "2.0", timeout_seconds=1)
    assert (report.code, report.current_version) == ("DownloadFailed", "1.0")
    object.__setattr__(host.installation, "downloads", right)
    assert host.carry("upgrade", "2.0").outcome == "succeeded"


# --- Backwards ------------------------------------------------------------------------------------------------------


def test_an_unhealthy_version_is_rolled_back(shop: Shop, host: Host) -> None:
    """The old one runs, the evidence is kept, and the report says why."""
    shop.add("1.0")
    shop.add("2.0", health=3)
    host.carry("install", "1.0")
    report = host.carry("upgrade", "2.0")
    assert (report.outcome, report.code, report.current_version) == ("failed", "RolledBack", "1.0")
    assert "exit code 3" in report.message
    assert printed_by(host.shim, "version") == "courier 1.0"
    assert (host.folder / "failed" / "2.0" / "output").read_text() == "courier 2.0\n"
    assert host.leftovers() == []


def test_f15_f32_a_version_that_was_rolled_back_is_quarantined_for_a_day(shop: Shop, host: Host) -> None:
    """Neither tried again at once nor refused for ever."""
    shop.add("1.0")
    shop.add("2.0", health=3)
    host.carry("install", "1.0")
    host.carry("upgrade", "2.0")
    again = host.carry("upgrade", "2.0", order_id="again")
    assert (again.code, again.current_version) == ("RolledBack", "1.0")
    assert "rolled back on this host recently" in again.message
    object.__setattr__(host.installation, "clock", lambda: time.time() + 25 * 3600)
    assert "exit code 3" in host.carry("upgrade", "2.0", order_id="later").message


def test_f15_an_order_or_the_host_policy_ends_a_quarantine(shop: Shop, host: Host) -> None:
    """An order with `tries_again`, or a policy with fewer hours."""
    shop.add("1.0")
    shop.add("2.0", health=3)
    host.carry("install", "1.0")
    host.carry("upgrade", "2.0")
    report = host.carry("upgrade", "2.0", tries_again=True)
    assert (report.code, report.stage) == ("RolledBack", "back")
    host.write_policy("held_back_hours = 1\n", "host")
    host.carry("upgrade", "2.0", tries_again=True)
    object.__setattr__(host.installation, "clock", lambda: time.time() + 1.5 * 3600)
    assert host.carry("upgrade", "2.0").stage == "back"


def test_an_unhealthy_first_install_leaves_nothing(shop: Shop, host: Host) -> None:
    """The host is as empty as before."""
    shop.add("1.0", health=1)
    report = host.carry("install", "1.0")
    assert (report.code, report.current_version) == ("RolledBack", "")
    assert not host.shim.exists()
    assert host.version() == ""


HANGS = '#!/bin/sh\nif [ "{health}" = 0 ]; then echo "{package} {version}"; else sleep 300 & wait; fi\n'


def test_f10_a_hanging_health_command_is_killed_with_all_it_started(shop: Shop, host: Host) -> None:
    """The whole process tree ends, the old version runs, and the report says by a code of its own that time was up."""
    shop.add("1.0", client=HANGS)
    shop.add("2.0", client=HANGS, health=1, seconds=1)
    host.carry("install", "1.0")
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert "within 1 s" in report.message
    assert report.details["reason"] == "TimedOut"
    assert printed_by(host.shim, "hello") == "courier 1.0"
    marker = str(host.folder).encode()
    left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if marker in _read(p)]
    assert left == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


# --- The gate -------------------------------------------------------------------------------------------------------


def test_the_shim_becomes_the_client(shop: Shop, host: Host) -> None:
    """Same process id, exit code and signals."""
    shop.add("1.0")
    host.carry("install", "1.0")
    with subprocess.Popen([host.shim, "pid"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.read()) == process.pid
    assert subprocess.run([host.shim, "exit", "42"], check=False).returncode == 42
    flag = host.root / "flag"
    flag.touch()
    with subprocess.Popen([host.shim, "hold", flag], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM


def test_f38_a_run_that_starts_during_the_switch_waits_for_it(shop: Shop, host: Host) -> None:
    """In the shim, and then runs on the version that is current."""
    shop.add("1.0")
    host.carry("install", "1.0")
    with host.closed_gate():
        process = subprocess.Popen([host.shim, "hello"], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
    assert process.communicate(timeout=30)[0] == "1.0 hello\n"


def test_a_run_that_waited_uses_the_new_versions_program(shop: Shop, host: Host) -> None:
    """Which may be at another path than when the run began to wait."""
    shop.add("1.0", folder="data-1.0/bin")
    shop.add("2.0", folder="data-2.0/bin")
    host.carry("install", "1.0")
    with host.closed_gate():
        process = subprocess.Popen([host.shim, "hello"], stdout=subprocess.PIPE, text=True)
        time.sleep(0.2)
        copy = host.shim.read_bytes()
    process.communicate(timeout=30)
    assert host.carry("upgrade", "2.0").outcome == "succeeded"
    assert host.shim.read_bytes() == copy
    assert printed_by(host.shim, "hello") == "2.0 hello"


@contextlib.contextmanager
def a_running_backup(host: Host) -> Iterator[Path]:
    """Run a backup until the flag file that is yielded is removed."""
    flag = host.root / "flag"
    flag.touch()
    with subprocess.Popen([host.shim, "hold", flag], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        began = process.stdout.readline().split()[-1]
        try:
            yield flag
            flag.unlink(missing_ok=True)
            assert process.stdout.read() == f"done {began}\n"
        except BaseException:
            process.kill()
            raise
    assert process.returncode == 0


def test_a_client_that_must_be_idle_is_never_interrupted(shop: Shop, host: Host) -> None:
    """F35: out of time the upgrade gives up, and everything is as it was."""
    shop.add("1.0", switch="idle")
    shop.add("2.0", switch="idle")
    host.carry("install", "1.0")
    with a_running_backup(host):
        report = host.carry("upgrade", "2.0", timeout_seconds=LONG_ENOUGH)
        assert (report.code, report.current_version) == ("BackupRunning", "1.0")
    assert printed_by(host.shim, "hello") == "1.0 hello"
    assert host.carry("upgrade", "2.0").outcome == "succeeded"


def test_a_running_backup_keeps_its_version(shop: Shop, host: Host) -> None:
    """`anytime`: the upgrade does not wait, and the backup does not notice."""
    shop.add("1.0")
    shop.add("2.0")
    host.carry("install", "1.0")
    with a_running_backup(host):
        assert host.carry("upgrade", "2.0").current_version == "2.0"


def test_a_second_order_for_the_package_is_refused(shop: Shop, host: Host) -> None:
    """One transaction per package and host."""
    shop.add("1.0")
    host.carry("install", "1.0")
    with open(host.folder / "lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        report = host.carry("uninstall")
    assert (report.code, report.current_version) == ("UpgradeInProgress", "1.0")


def test_settings_reach_the_host_and_stay(shop: Shop, host: Host) -> None:
    """An order with settings changes them, one without does not, and an uninstall removes them."""
    shop.add("1.0")
    host.carry("install", "1.0", settings={"most_cores": 2, "https": True})
    file = host.folder / "settings.json"
    assert json.loads(file.read_text()) == {"most_cores": 2, "https": True}
    shop.add("2.0")
    host.carry("upgrade", "2.0")
    (package,) = host.carry("status").details["packages"]
    assert package["settings"] == {"most_cores": 2, "https": True}
    shop.add("3.0")
    host.carry("upgrade", "3.0", settings={"most_cores": 4})
    assert json.loads(file.read_text()) == {"most_cores": 4}
    host.carry("uninstall")
    assert not file.exists()
