"""What an administrator gave the client's command, such as restic's `setcap`, survives upgrades: with real tools."""

import grp
import json
import os
import pwd
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mounts import mounted, remount

Host = Any
Shop = Any

CAT = shutil.which("cat") or "/bin/cat"
READ_ALL = "cap_dac_read_search=ep"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setcap") is None, reason="needs root and setcap of libcap2-bin"
)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Return a folder that every user may enter: the one of pytest is its user's alone."""
    with tempfile.TemporaryDirectory(prefix="backfleet-rights-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def offer(shop: Shop, version: str, **more: Any) -> None:
    """Offer a client that is a real program: it prints files, as a backup reads them. Its file differs by version."""
    file = shop.folder / f"{version}.tar.gz"
    program = shop.folder / f"program-{version}"
    program.write_bytes(Path(CAT).read_bytes() + version.encode())
    with tarfile.open(file, "w:gz") as archive:
        info = archive.gettarinfo(str(program), "bin/courier")
        info.mode = 0o755
        with program.open("rb") as content:
            archive.addfile(info, content)
    health = {"command": ["courier", "--version"], "expect": "coreutils", "seconds": 5}
    shop.offer(file, "courier", version, "tar", {"bin": ["bin/courier"], "health": health, **more})


def program(host: Host, version: str) -> Path:
    return Path(host.folder / "versions" / version / "bin" / "courier")


def run_as(user: str, *arguments: object, groups: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    extra = [grp.getgrnam(name).gr_gid for name in groups]
    return subprocess.run(
        list(map(str, arguments)),
        user=user,
        group=pwd.getpwnam(user).pw_gid,
        extra_groups=extra,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def capabilities_of(path: Path) -> str:
    return (
        subprocess.run(["getcap", path], capture_output=True, text=True, check=True).stdout.strip().rpartition(" ")[2]
    )


def as_restic_documents(path: Path) -> None:
    """restic's manual, "Full backup without root": whoever is in a group may read everything with this program."""
    for command in (["chown", "root:backup"], ["chmod", "750"], ["setcap", "cap_dac_read_search=+ep"]):
        subprocess.run([*command, path], check=True)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a file that only root may read."""
    file = tmp_path / "secret"
    file.write_text("only for root")
    file.chmod(0o600)
    return file


@pytest.fixture
def reading(shop: Shop, host: Host) -> Host:
    """Return a host with 1.0, whose program may read everything, for the group `backup`."""
    offer(shop, "1.0")
    offer(shop, "2.0")
    offer(shop, "3.0")
    assert host.carry("install", "1.0").outcome == "succeeded"
    as_restic_documents(program(host, "1.0"))
    return host


def check_reads(host: Host, secret: Path) -> None:
    """Check that a member of the group reads the file through the shim, and nobody else can even run the program."""
    member, other = (run_as("nobody", host.shim, secret, groups=groups) for groups in (("backup",), ()))
    assert member.stdout == "only for root", member.stderr
    assert (other.returncode != 0, other.stdout) == (True, "")


def test_the_next_backup_without_root_reads_its_source(shop: Shop, reading: Host, secret: Path) -> None:
    """Through the shim, as an unprivileged user, before and after; and the report tells what was carried."""
    check_reads(reading, secret)
    report = reading.carry("upgrade", "2.0")
    assert (report.outcome, report.current_version) == ("succeeded", "2.0"), report
    check_reads(reading, secret)
    found = program(reading, "2.0").stat()
    assert (found.st_uid, grp.getgrgid(found.st_gid).gr_name, found.st_mode & 0o7777) == (0, "backup", 0o750)
    assert capabilities_of(program(reading, "2.0")) == READ_ALL
    assert report.details["rights"] == {"courier": f"root:backup 0750 {READ_ALL}"}
    assert reading.carry("status").details["packages"][0]["drift"] == []
    assert reading.carry("upgrade", "2.0").code == "AlreadyCurrent"


def test_every_retained_version_has_them(shop: Shop, reading: Host, secret: Path) -> None:
    """Over three versions and back to one that was here before; what is taken away later is taken from all."""
    reading.write_policy("allows_downgrade = true\n")
    for version in ("2.0", "3.0", "2.0"):
        assert reading.carry("upgrade", version, order_id=f"u-{version}-{os.urandom(4).hex()}").outcome == "succeeded"
        check_reads(reading, secret)
    subprocess.run(["setcap", "-r", program(reading, "2.0")], check=True)
    program(reading, "2.0").chmod(0o755)
    assert reading.carry("upgrade", "3.0", order_id="u-back").outcome == "succeeded"
    assert capabilities_of(program(reading, "3.0")) == ""
    assert run_as("nobody", reading.shim, secret).returncode == 1


def test_a_rollback_keeps_them(shop: Shop, reading: Host, secret: Path) -> None:
    shop.add("4.0", health=3)
    assert reading.carry("upgrade", "4.0").code == "RolledBack"
    check_reads(reading, secret)


def test_a_repair_keeps_them(shop: Shop, reading: Host, secret: Path) -> None:
    """The damaged program is replaced by one with the same rights."""
    content = program(reading, "1.0").read_bytes()
    program(reading, "1.0").write_bytes(content + b"damaged")  # which clears the capabilities, as any write does
    as_restic_documents(program(reading, "1.0"))
    assert reading.carry("upgrade", "1.0").details["mended"] == "1.0"
    assert program(reading, "1.0").read_bytes() == content
    check_reads(reading, secret)


def test_acls_and_attributes_of_users_are_carried(shop: Shop, reading: Host) -> None:
    """Not those that belong to the content of the file."""
    old = program(reading, "1.0")
    # A POSIX ACL with an entry for one user: version 2, then tag, permissions and id of each. Source: posix_acl_xattr.h
    entries = [(1, 7, -1), (2, 5, 4242), (4, 5, -1), (16, 5, -1), (32, 0, -1)]
    acl = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + (uid & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, bits, uid in entries
    )
    try:
        os.setxattr(old, "system.posix_acl_access", acl)
        os.setxattr(old, "user.owner", b"the backup team")
        os.setxattr(old, "trusted.mine", b"not a right")
    except OSError as problem:
        pytest.skip(f"no such attributes here: {problem}")
    report = reading.carry("upgrade", "2.0")
    new = program(reading, "2.0")
    assert report.outcome == "succeeded"
    assert os.getxattr(new, "system.posix_acl_access") == acl
    assert os.getxattr(new, "user.owner") == b"the backup team"
    assert "trusted.mine" not in os.listxattr(new)
    assert capabilities_of(new) == READ_ALL
    assert "ACL" in report.details["rights"]["courier"]


def test_rights_of_the_package_itself_are_those_of_each_release(shop: Shop, host: Host) -> None:
    """Where nobody changed anything, a release that packs another mode gets it, and nothing is reported."""
    shop.add("1.0", mode=0o755)
    shop.add("2.0", mode=0o700)
    host.write_policy('users = ["root"]\n')  # who alone can run the new one
    host.carry("install", "1.0")
    report = host.carry("upgrade", "2.0")
    assert program(host, "2.0").stat().st_mode & 0o777 == 0o500
    assert "rights" not in report.details


def test_facts_of_an_older_program_have_no_modes(shop: Shop, reading: Host, secret: Path) -> None:
    facts = reading.folder / "facts" / "1.0.json"
    known = json.loads(facts.read_text())
    for file in known["files"].values():
        file.pop("mode", None)
    facts.write_text(json.dumps(known))
    assert reading.carry("upgrade", "2.0").outcome == "succeeded"
    check_reads(reading, secret)


def test_setcap_on_the_shim_is_reported_and_goes_to_the_program(shop: Shop, host: Host, secret: Path) -> None:
    """There it has no effect. Owner, group and mode go along: else everybody could read everything."""
    offer(shop, "1.0")
    offer(shop, "2.0")
    host.carry("install", "1.0")
    as_restic_documents(host.shim)
    (drift,) = host.carry("status").details["packages"][0]["drift"]
    assert str(host.shim) in drift
    assert "no effect" in drift
    report = host.carry("upgrade", "2.0")
    assert report.details["rights"] == {"courier": f"root:backup 0750 {READ_ALL}"}
    check_reads(host, secret)
    assert capabilities_of(program(host, "1.0")) == READ_ALL
    assert capabilities_of(host.shim) == ""
    assert host.carry("status").details["packages"][0]["drift"] == []


def test_an_order_for_the_same_version_moves_them_too(shop: Shop, host: Host, secret: Path) -> None:
    offer(shop, "1.0")
    host.carry("install", "1.0")
    as_restic_documents(host.shim)
    report = host.carry("upgrade", "1.0")
    assert (report.outcome, report.code) == ("succeeded", "")
    check_reads(host, secret)
    assert host.carry("upgrade", "1.0").code == "AlreadyCurrent"


def test_a_mount_without_effect_of_capabilities_is_refused_before_the_switch(shop: Shop, host: Host) -> None:
    """`nosuid` ignores them: the next backup could not read its source."""
    offer(shop, "1.0")
    offer(shop, "2.0")
    with mounted(host.root, "size=64m") as disk:
        host.carry("install", "1.0")
        remount(disk, "nosuid")
        assert host.carry("upgrade", "2.0").outcome == "succeeded"
        as_restic_documents(program(host, "2.0"))
        offer(shop, "3.0")
        report = host.carry("upgrade", "3.0")
        assert (report.code, report.stage, report.current_version) == ("UnsupportedPlatform", "check", "2.0")
        assert report.details["reason"] == "NoSuid"
        assert "nosuid" in report.message
        assert READ_ALL in report.message
        remount(disk, "suid")
        assert host.carry("upgrade", "3.0").outcome == "succeeded"
        assert capabilities_of(program(host, "3.0")) == READ_ALL
