"""What somebody put beside the program, such as `rclone.conf`, is there after an order, or the order is refused."""

import os
import shutil
import socket
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader.host import native_shim

Host = Any
Shop = Any

# A client that reads its configuration beside itself, as rclone does.
CLIENT = """#!/bin/sh
case "$1" in
  version) echo "{package} {version}"; exit {health} ;;
  *) echo "{version} $(cat "$(dirname "$0")/courier.conf")" ;;
esac
"""


@pytest.fixture
def configured(shop: Shop, host: Host) -> Host:
    """Return a host with 1.0, whose configuration stands beside its program."""
    for version in ("1.0", "2.0", "3.0"):
        shop.add(version, client=CLIENT)
    assert host.carry("install", "1.0").outcome == "succeeded"
    beside(host, "1.0").write_text("mine")
    beside(host, "1.0").chmod(0o640)
    return host


def beside(host: Host, version: str, name: str = "bin/courier.conf") -> Path:
    return Path(host.folder / "versions" / version / name)


def runs(host: Host) -> str:
    return subprocess.run([host.shim, "x"], capture_output=True, text=True, check=True).stdout.strip()


def test_a_configuration_beside_the_program_is_there_after_upgrades(configured: Host) -> None:
    """With its mode, its owner and its time, and the report says so."""
    if os.geteuid() == 0:
        os.chown(beside(configured, "1.0"), 12, 34)
    was = beside(configured, "1.0").stat()
    report = configured.carry("upgrade", "2.0")
    assert (report.outcome, report.details["carried"]) == ("succeeded", ["bin/courier.conf"])
    assert runs(configured) == "2.0 mine"
    now = beside(configured, "2.0").stat()
    for name in ("st_mode", "st_uid", "st_gid", "st_mtime_ns"):
        assert getattr(now, name) == getattr(was, name)
    assert configured.carry("upgrade", "3.0").outcome == "succeeded"
    assert runs(configured) == "3.0 mine"
    assert configured.leftovers() == []


def test_what_was_changed_meanwhile_goes_back_too(shop: Shop, configured: Host) -> None:
    """The version before has an older copy."""
    configured.write_policy("allows_downgrade = true\n")
    configured.carry("upgrade", "2.0")
    beside(configured, "2.0").write_text("newer")
    assert configured.carry("upgrade", "1.0", order_id="u-back").outcome == "succeeded"
    assert runs(configured) == "1.0 newer"


def test_folders_links_and_their_modes_are_carried(configured: Host) -> None:
    """Not what Python makes again, and no socket."""
    folder = beside(configured, "1.0", "etc")
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text("deep")
    folder.chmod(0o710)
    (folder / "link").symlink_to("deep/file")
    (folder.parent / "__pycache__").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
    report = configured.carry("upgrade", "2.0")
    assert report.details["carried"] == ["etc", "bin/courier.conf"]
    new = beside(configured, "2.0", "etc")
    assert ((new / "link").read_text(), new.stat().st_mode & 0o777) == ("deep", 0o710)
    assert not (new.parent / "__pycache__").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_link_of_another_user_leads_nowhere(configured: Host, tmp_path: Path) -> None:
    """What is in his folder is copied, and what a link points to is not."""
    (tmp_path / "secret").write_text("secret")
    folder = beside(configured, "1.0", "cache")
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    os.chown(folder, 65534, 65534)
    assert configured.carry("upgrade", "2.0").outcome == "succeeded"
    new = beside(configured, "2.0", "cache")
    assert new.stat().st_uid == 65534
    assert (new / "link").is_symlink()


@pytest.mark.parametrize("name", ["share/0", "share", "share/0/below"])
def test_what_is_in_the_way_of_the_new_release_is_refused_before_the_switch(
    shop: Shop, configured: Host, name: str
) -> None:
    """It can be neither lost nor mixed with the release."""
    shop.add("4.0", client=CLIENT, files=1)
    path = beside(configured, "1.0", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    report = configured.carry("upgrade", "4.0")
    assert (report.code, report.stage, report.current_version) == ("ManagedElsewhere", "stage", "1.0")
    assert report.details["reason"] == "InTheWay"
    assert "move it elsewhere" in report.message
    assert path.read_text() == "mine"
    shutil.rmtree(beside(configured, "1.0", "share")) if name != "share" else path.unlink()
    assert configured.carry("upgrade", "4.0", order_id="u-again").outcome == "succeeded"


def test_a_folder_that_the_new_release_has_too_gets_what_was_in_it(shop: Shop, configured: Host) -> None:
    shop.add("4.0", client=CLIENT, files=1)
    beside(configured, "1.0", "share").mkdir()
    beside(configured, "1.0", "share/mine").write_text("mine")
    assert configured.carry("upgrade", "4.0").outcome == "succeeded"
    assert beside(configured, "4.0", "share/mine").read_text() == "mine"
    assert beside(configured, "4.0", "share/0").exists()


def test_more_than_can_be_copied_while_backups_wait_is_refused(configured: Host) -> None:
    with beside(configured, "1.0", "cache").open("wb") as file:
        file.truncate(300 << 20)
    report = configured.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("ManagedElsewhere", "1.0")
    assert "more than 256 MiB" in report.message


def test_a_rollback_changes_nothing_of_it(shop: Shop, configured: Host) -> None:
    shop.add("4.0", client=CLIENT, health=3)
    assert configured.carry("upgrade", "4.0").code == "RolledBack"
    assert runs(configured) == "1.0 mine"
    assert configured.leftovers() == []


def test_a_repair_keeps_it_and_a_copy_of_what_was_edited(configured: Host) -> None:
    """Whether a file was edited or damaged cannot be known."""
    program = beside(configured, "1.0", "bin/courier")
    edited = program.read_text() + "# mine\n"
    program.chmod(0o755)
    program.write_text(edited)
    report = configured.carry("upgrade", "2.0")
    assert (report.outcome, report.details["mended"]) == ("succeeded", "1.0")
    assert runs(configured) == "2.0 mine"
    assert beside(configured, "1.0").read_text() == "mine"
    (kept,) = report.details["set_aside"]
    assert Path(kept).read_text() == edited
    assert Path(kept).parent.parent.stat().st_mode & 0o077 == 0


def test_an_edited_shim_is_copied_before_it_is_written_anew(configured: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the text form: somebody may have added a variable."""
    with monkeypatch.context() as without:
        without.setattr(native_shim, "template", lambda platform: None)
        configured.shim.unlink()
        configured.carry("upgrade", "1.0")
    text = configured.shim.read_text()
    edited = text.replace("\n", "\nexport COURIER=mine\n", 2)
    configured.shim.write_text(edited)
    report = configured.carry("upgrade", "2.0")
    assert report.outcome == "succeeded"
    (kept,) = report.details["set_aside"]
    assert Path(kept).read_text() == edited


@pytest.mark.parametrize("remove_state", [False, True])
def test_an_uninstall_keeps_a_copy_unless_state_goes_too(configured: Host, remove_state: bool) -> None:
    report = configured.carry("uninstall", remove_state=remove_state)
    assert report.outcome == "succeeded"
    kept = report.details.get("set_aside", [])
    assert [Path(path).read_text() for path in kept] == ([] if remove_state else ["mine"])


def test_what_a_backup_writes_while_an_order_runs_is_carried(shop: Shop, configured: Host) -> None:
    """Such as a token that rclone renews: it is copied again behind the closed gate."""
    configured.progress = Watching(lambda line: '"drain"' in line and beside(configured, "1.0").write_text("renewed"))
    assert configured.carry("upgrade", "2.0").outcome == "succeeded"
    assert runs(configured) == "2.0 renewed"


class Watching(list[str]):
    """Progress that acts on lines."""

    def __init__(self, act: Any) -> None:
        super().__init__()
        self._act = act

    def append(self, line: str) -> None:
        self._act(line)
        super().append(line)


def add_wheel(shop: Shop, folder: Path, version: str) -> None:
    """Offer a version as a wheel, whose folders have the version in their names."""
    name, file = f"courier_bin-{version}", folder / f"courier_bin-{version}-py3-none-any.whl"
    program = zipfile.ZipInfo(f"{name}.data/scripts/courier")
    program.external_attr = 0o755 << 16
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(program, CLIENT.format(package="courier", version=version, health=0))
        archive.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n")
        archive.writestr(
            f"{name}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: courier-bin\nVersion: {version}\n"
        )
        archive.writestr(f"{name}.dist-info/RECORD", "")
    given = {"health": {"command": ["courier", "version"], "expect": "courier {version}", "seconds": 5}}
    shop.offer(file, "courier", version, "wheel", given)


def test_what_stands_beside_a_program_stays_beside_it_where_its_folder_has_another_name(
    shop: Shop, host: Host, tmp_path: Path
) -> None:
    """A wheel has its version in the name of that folder; so upwards, and back down."""
    for version in ("1.0", "2.0"):
        add_wheel(shop, tmp_path, version)
    assert host.carry("install", "1.0").outcome == "succeeded"
    beside(host, "1.0", "courier_bin-1.0.data/scripts/courier.conf").write_text("mine")
    report = host.carry("upgrade", "2.0")
    assert report.details["carried"] == ["courier_bin-2.0.data/scripts/courier.conf"]
    assert runs(host) == "2.0 mine"
    beside(host, "2.0", "courier_bin-2.0.data/scripts/courier.conf").write_text("newer")
    assert host.carry("roll-back").outcome == "succeeded"
    assert runs(host) == "1.0 newer"
