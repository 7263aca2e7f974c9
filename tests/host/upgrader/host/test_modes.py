"""Other users run the client and cannot replace it, whatever umask or access control list the host was set up with."""

import os
import shutil
import stat
import struct
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.files import ACLS, make_folder, set_mode
from backfleet_host.layout import Places
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.host import modes

Host = Any
Shop = Any

USER = 12345
UMASKS = [0o000, 0o002, 0o027, 0o077]
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs programs as another user")


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def set_default_acl(folder: Path) -> None:
    """Let a folder hand everything down to a user, and nothing to others: as `setfacl -d -m u:12345:rwx,o::-`."""
    entries = [
        (0x01, 7, 0xFFFFFFFF),
        (0x02, 7, USER),
        (0x04, 5, 0xFFFFFFFF),
        (0x10, 7, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    ]
    content = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(folder, ACLS[1], content)
    except OSError:
        pytest.skip("this file system has no access control lists")


def writable_by_others(root: Path) -> list[str]:
    """Return what another user could write, below a root and the root itself."""
    found = []
    for path in [root, *root.rglob("*")]:
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and (mode & 0o022 or set(os.listxattr(path)) & set(ACLS)):
            found.append(f"{path} {mode:o}")
    return found


def run_as_another(shim: Path) -> str:
    words = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", str(shim), "hello"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def enrolled(host: Host) -> None:
    """Make the folders that enrolment makes."""
    places = Places(host.root)
    make_folder(places.agent, parents_mode=0o755)
    make_folder(places.trust, mode=0o755, parents_mode=0o755)


@only_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is missing")
@pytest.mark.parametrize("umask", UMASKS, indirect=True, ids=oct)
@pytest.mark.parametrize("acl", [False, True], ids=["", "with an access control list"])
def test_another_user_runs_the_client_and_cannot_replace_it(
    shop: Shop, host: Host, public_folder: Path, umask: int, acl: bool
) -> None:
    if acl:
        set_default_acl(public_folder)
    host = type(host)(public_folder / "host", shop)
    enrolled(host)
    shop.add("1.0")
    shop.add("2.0")
    for kind, version in (("install", "1.0"), ("upgrade", "2.0")):
        assert host.carry(kind, version).outcome == "succeeded"
        assert run_as_another(host.shim) == f"{version} hello"
        assert writable_by_others(host.root) == []
        assert stat.S_IMODE(Places(host.root).agent.stat().st_mode) == 0o700
        assert [line for line in drift(host) if str(host.root) in line] == []


def drift(host: Host) -> list[str]:
    (package,) = host.carry("status").details["packages"]
    return list(package["drift"])


LOOSE, TIGHT = 0o777, 0o700


@pytest.mark.parametrize(
    ("name", "mode", "right", "expected"),
    [
        ("", LOOSE, 0o755, "other users can replace"),
        ("", 0o750, 0o755, "other users cannot run the client"),
        ("courier", LOOSE, 0o755, "other users can replace"),
        ("courier/versions", TIGHT, 0o755, "other users cannot run the client"),
        ("courier/versions/1.0", 0o775, 0o755, "other users can replace"),
        ("courier/versions/1.0/.backfleet", TIGHT, 0o755, "other users cannot run the client"),
        ("courier/gate", 0o600, 0o644, "other users cannot run the client"),
        ("courier/running", 0o666, 0o644, "other users can replace"),
        ("bin", TIGHT, 0o755, "other users cannot run the client"),
        ("bin/courier", 0o750, 0o755, "our shim, has the mode 0750, not 0755"),
        ("agent", LOOSE, 0o700, "other users can replace"),
    ],
)
def test_status_reports_a_wrong_mode_of_ours_and_the_next_order_mends_it(
    installed: Host, name: str, mode: int, right: int, expected: str
) -> None:
    enrolled(installed)
    path = installed.root / name
    path.chmod(mode)
    (line,) = [line for line in drift(installed) if line.startswith((f"{path} has", f"{path}, our"))]
    assert expected in line
    assert installed.carry("install", "1.0").outcome == "succeeded"
    assert stat.S_IMODE(path.stat().st_mode) == right
    assert drift(installed) == []


def test_status_reports_a_folder_around_the_root_that_everybody_can_write(installed: Host) -> None:
    """It is not ours to mend."""
    around = installed.root.parent
    before = around.stat().st_mode
    around.chmod(0o777)
    expected = f"{around} can be written by everybody, who can replace what is below it: chmod o-w {around}"
    assert drift(installed) == [expected]
    assert installed.carry("install", "1.0").outcome == "succeeded"
    assert stat.S_IMODE(around.stat().st_mode) == 0o777
    around.chmod(before)


def test_status_reports_a_folder_around_the_root_that_others_cannot_enter(installed: Host) -> None:
    """Only where the root serves the whole host; a root of a user's own may be his alone."""
    around, package = installed.root.parent, installed.installation.package("courier")
    around.chmod(0o700)
    expected = f"{around} cannot be entered by other users, whose backups fail: chmod o+x {around}"
    assert expected not in modes.sentences_about(installed.installation, package)
    assert expected in modes.sentences_about(replace(installed.installation, system=Path("/")), package)


@only_root
def test_status_reports_what_belongs_to_another_user(installed: Host) -> None:
    """He may have put it there while the folder around it could be written by everybody."""
    os.chown(installed.folder / "versions", USER, USER)
    assert drift(installed) == [f"{installed.folder}/versions belongs to user {USER}, who can replace what is in it"]


def test_a_mode_is_set_over_an_access_control_list(tmp_path: Path) -> None:
    set_default_acl(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    assert set(os.listxattr(tmp_path / "folder")) >= set(ACLS)
    for name, mode in (("folder", 0o755), ("folder/file", 0o640)):
        set_mode(tmp_path / name, mode)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
        assert not set(os.listxattr(tmp_path / name)) & set(ACLS)
    (tmp_path / "folder" / "next").mkdir()
    assert os.listxattr(tmp_path / "folder" / "next") == []


def test_only_what_is_wrong_is_touched(installed: Host) -> None:
    before = (installed.root / "bin").stat().st_ctime_ns
    modes.mend(installed.installation, installed.installation.package("courier"))
    assert (installed.root / "bin").stat().st_ctime_ns == before


def test_two_orders_may_make_the_same_folders_at_once(tmp_path: Path) -> None:
    """Orders for two packages on a new host."""
    for number in range(200):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(disk.make_folder, [tmp_path / str(number) / "a" / "b"] * 8))
