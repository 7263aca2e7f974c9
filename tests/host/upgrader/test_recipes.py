"""The real programs: restic and borg from Debian packages with their built-in recipes, and rsync's daemon as a service.

A daemon that takes backups: rsync, because its Debian package is one program that runs from any folder, with one
library beside it (bacula-fd needs plug-ins and libraries of other packages at fixed paths). borg's Debian package does
not run from a folder by itself: with the packages it needs and a line that finds them it does, on the Python of its
Debian. rclone from its wheel is the demo. Packages come once by apt-get; where there is none, these tests are skipped.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.contract import Order, Report
from backfleet_host.upgrader import carry_out_on, platform_here

Host = Any
Shop = Any

CACHE = Path(__file__).resolve().parents[3] / ".cache" / "debs"
pytestmark = [pytest.mark.slow]


def debian_package(name: str) -> Path:
    """The package's file, fetched once; a test without it is skipped."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if not list(CACHE.glob(f"{name}_*.deb")) and shutil.which("apt-get"):
        subprocess.run(["apt-get", "download", "-qq", name], cwd=CACHE, capture_output=True, timeout=60, check=False)
    found = sorted(CACHE.glob(f"{name}_*.deb"))
    if not found:
        pytest.skip(f"the Debian package {name} cannot be had here")
    return found[-1]


def carry(host: Host, kind: str, package: str, version: str) -> Report:
    order = Order(f"u-{time.monotonic_ns()}", kind, package, version, platform_here(), 30)
    return carry_out_on(host.site, order, lambda line: None)


def test_restic(shop: Shop, host: Host, tmp_path: Path) -> None:
    """With a sample that is backed up, restored and compared by both versions; the shim is restic."""
    package = debian_package("restic")
    version = package.name.split("_")[1].split("-")[0]
    shop.offer(package, "restic", version, "deb", None)
    assert carry(host, "install", "restic", version).outcome == "succeeded"

    repository = tmp_path / "repository"
    restic = [host.root / "bin" / "restic", "--no-cache", "-r", repository]
    environment = os.environ | {"RESTIC_PASSWORD": "test"}
    subprocess.run([*restic, "init", "-q"], env=environment, check=True, capture_output=True)
    host.words(
        f"""
[[sample]]
backup = ["restic", "--no-cache", "-q", "-r", "{repository}", "backup", "{{sample}}"]
restore = ["restic", "--no-cache", "-q", "-r", "{repository}", "restore", "latest", "--target", "{{restored}}"]
environment = {{RESTIC_PASSWORD = "test"}}
""",
        "restic",
    )
    # Debian has one version: the same program under another name, as far as its version goes.
    health = {"command": ["restic", "version"], "expect": f"restic {version}"}
    shop.offer(package, "restic", f"{version}.1", "deb", {"bin": ["usr/bin/restic"], "health": health})
    report = carry(host, "upgrade", "restic", f"{version}.1")
    assert (report.outcome, report.details) == ("succeeded", {}), report.message
    snapshots = subprocess.run([*restic, "snapshots"], env=environment, check=True, capture_output=True, text=True)
    assert "2 snapshots" in snapshots.stdout
    subprocess.run([*restic, "check", "--read-data"], env=environment, check=True, capture_output=True)


BORG_LAUNCHER = """#!/bin/sh
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
PYTHONPATH=$here/packages LD_LIBRARY_PATH=$here/libraries exec /usr/bin/python3 -S "$here/program/borg" "$@"
"""


def self_contained_borg(folder: Path) -> tuple[Path, str]:
    """borg with what it needs besides Debian's Python, packed; and its version."""
    needed = ("borgbackup", "python3-msgpack", "python3-packaging", "libxxhash0")
    packages = [debian_package(name) for name in needed]
    for package in packages:
        subprocess.run(["dpkg", "-x", package, folder / "unpacked"], check=True)
    made = folder / "borg-made"
    shutil.copytree(folder / "unpacked" / "usr" / "lib" / "python3" / "dist-packages", made / "packages")
    (made / "libraries").mkdir()
    shutil.copy(next((folder / "unpacked").rglob("libxxhash.so.0")), made / "libraries" / "libxxhash.so.0")
    (made / "program").mkdir()
    shutil.copy(folder / "unpacked" / "usr" / "bin" / "borg", made / "program" / "borg")
    (made / "program" / "borg").chmod(0o644)  # the launcher is the one program
    (made / "borg").write_text(BORG_LAUNCHER)
    (made / "borg").chmod(0o755)
    if subprocess.run([made / "borg", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("this machine has not the Python that Debian's borg is made for")
    shutil.rmtree(made / "packages" / "__pycache__", ignore_errors=True)
    subprocess.run(["tar", "-czf", folder / "borg.tar.gz", "--exclude=__pycache__", "-C", made, "."], check=True)
    return folder / "borg.tar.gz", packages[0].name.split("_")[1].split("-")[0]


def test_borg(shop: Shop, host: Host, tmp_path: Path) -> None:
    """With a sample that is backed up, restored and compared by both versions; the shim is borg."""
    file, version = self_contained_borg(tmp_path)
    shop.offer(file, "borg", version, "tar", None)
    installed = carry(host, "install", "borg", version)
    assert installed.outcome == "succeeded", installed.message

    repository, home = tmp_path / "repository", tmp_path / "home"
    environment = os.environ | {"BORG_BASE_DIR": str(home), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    borg = host.root / "bin" / "borg"
    subprocess.run([borg, "init", "-e", "none", repository], env=environment, check=True, capture_output=True)
    host.words(
        f"""
[[sample]]
# sh, for the archive's name: so it is told where the version that is current stands. The shim waits behind the gate.
backup = ["/bin/sh", "-c", "borg create {repository}::sample-$$ {{sample}}"]
restore = ["/bin/sh", "-c", "cd {{restored}} && borg extract {repository}::$(borg list --last 1 --short {repository})"]
[sample.environment]
PATH = "{host.root}/borg/current:/usr/bin:/bin"
BORG_BASE_DIR = "{home}"
BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK = "yes"
""",
        "borg",
    )
    # Debian has one version: the same program under another name, as far as its version goes.
    health = {"command": ["borg", "--version"], "expect": f"borg {version}"}
    shop.offer(file, "borg", f"{version}.1", "tar", {"bin": ["borg"], "health": health})
    report = carry(host, "upgrade", "borg", f"{version}.1")
    assert (report.outcome, report.details) == ("succeeded", {}), report.message
    listed = subprocess.run([borg, "list", "--short", repository], env=environment, check=True, capture_output=True)
    assert len(listed.stdout.split()) == 2
    subprocess.run([borg, "check", "--verify-data", repository], env=environment, check=True, capture_output=True)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """How rsync's daemon is run: in Debian's words /lib/systemd/system/rsync.service does the same."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "store").mkdir()
    pid = tmp_path / "rsyncd.pid"
    (tmp_path / "rsyncd.conf").write_text(
        f"pid file = {pid}\nport = {port}\naddress = 127.0.0.1\nuse chroot = no\nlog file = {tmp_path}/log\n"
        f"[store]\npath = {tmp_path}/store\nread only = no\nuid = {os.geteuid()}\ngid = {os.getegid()}\n"
    )
    url = f"rsync://127.0.0.1:{port}/store/"
    sh = ["/bin/sh", "-c"]
    yield {
        "start": ["rsync", "--daemon", "--config", str(tmp_path / "rsyncd.conf")],
        "stop": [*sh, f"kill $(cat {pid})"],
        "ready": ["rsync", "--contimeout=2", url],
        "idle": [*sh, f'test -z "$(cat /proc/$(cat {pid})/task/*/children 2>/dev/null)"'],
        "seconds": 10,
        "url": url,
    }
    if pid.exists():
        subprocess.run(["kill", pid.read_text().strip()], check=False)


LAUNCHER = """#!/bin/sh
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
LD_LIBRARY_PATH=$here exec "$here/rsync.real" "$@"
"""


def self_contained_rsync(folder: Path) -> tuple[Path, str]:
    """rsync with the library that is not on every machine, as a folder; and its version."""
    packages = [debian_package("rsync"), debian_package("libpopt0")]
    for package in packages:
        subprocess.run(["dpkg", "-x", package, folder / "unpacked"], check=True)
    made = folder / "rsync-made"
    made.mkdir()
    shutil.copy(folder / "unpacked" / "usr" / "bin" / "rsync", made / "rsync.real")
    shutil.copy(next((folder / "unpacked").rglob("libpopt.so.0")), made / "libpopt.so.0")
    (made / "rsync").write_text(LAUNCHER)
    (made / "rsync").chmod(0o755)
    return made, packages[0].name.split("_")[1].split("-")[0]


def test_rsync_as_a_service(shop: Shop, host: Host, tmp_path: Path, daemon: dict[str, Any]) -> None:
    """`switch = "idle"`: a backup into the daemon is waited for; then it is stopped, switched, started, and serves."""
    made, version = self_contained_rsync(tmp_path)
    if subprocess.run([made / "rsync", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lacks libraries that rsync needs")
    subprocess.run(["tar", "-czf", tmp_path / "rsync.tar.gz", "-C", made, "."], check=True)
    url = daemon.pop("url")
    manifest = {
        "bin": ["rsync"],
        "switch": "idle",
        "health": {"command": ["rsync", "--version"], "expect": f"rsync +version {version}"},
        "service": daemon,
        "keeps": [str(tmp_path / "rsyncd.conf")],
    }
    for number in (version, f"{version}.1"):  # Debian has one version: the same program under another name
        shop.offer(tmp_path / "rsync.tar.gz", "rsync", number, "tar", manifest)
    installed = carry(host, "install", "rsync", version)
    assert installed.outcome == "succeeded", installed.message
    subprocess.run([host.root / "rsync" / "current" / "rsync", *daemon["start"][1:]], check=True)

    (tmp_path / "data").write_bytes(os.urandom(400_000))
    mine = made / "rsync"  # another machine's client
    backup = subprocess.Popen([mine, "--bwlimit=200", tmp_path / "data", url])  # about two seconds
    time.sleep(0.7)
    report = carry(host, "upgrade", "rsync", f"{version}.1")
    assert backup.wait(20) == 0
    assert (report.outcome, report.code) == ("succeeded", ""), report.message
    assert report.seconds > 0.5
    assert (tmp_path / "store" / "data").read_bytes() == (tmp_path / "data").read_bytes()
    subprocess.run([mine, tmp_path / "data", url], check=True)  # it serves
    served_by = os.readlink(f"/proc/{(tmp_path / 'rsyncd.pid').read_text().strip()}/exe")
    assert f"/versions/{version}.1/" in served_by
