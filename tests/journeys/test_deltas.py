"""Hosts that download what differs: a real server that makes deltas, real relays, real hosts, real rclone.

Deltas that are signed and wrong cannot come from such a server; tests/host/upgrader/release/test_deltas.py has them.
"""

import hashlib
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backfleet import host_program
from backfleet.carriers import Bootstrap
from backfleet.carriers.bootstrap import command_for
from backfleet_host.contract import Order
from backfleet_host.platforms import platform_here
from journeys.installation import LONG, PACKAGE, Host, Installation, wait_for
from journeys.offering_deltas import (
    NOISE,
    AtALine,
    deltas,
    figure,
    offer,
    program_without_deltas,
    relay,
    upload,
    wait_for_delta,
)
from journeys.rclone_backups import wheel
from journeys.test_other_agents import run

pytestmark = pytest.mark.slow
ZEROS = 4 << 20  # bytes of the new version that the older one does not have


@dataclass
class Offered:
    """A server with 1.0 and 2.0 of a client, and the bytes of what hosts may download."""

    server: Installation
    whole: int
    delta: int

    @property
    def delta_file(self) -> Path:
        """The file of the delta on the server's disk."""
        (found,) = (path for path in (self.server.data / "artifacts").iterdir() if path.stat().st_size == self.delta)
        return found


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offered]:
    server = Installation(tmp_path_factory.mktemp("server"))
    try:
        server.start()
        offer(server, "1.0")
        whole = offer(server, "2.0", ZEROS)
        yield Offered(server, whole, wait_for_delta(server, PACKAGE, "2.0"))
    finally:
        server.close()


@pytest.fixture
def site(offered: Offered, tmp_path: Path) -> Iterator[AtALine]:
    """Hosts at a line of their own to that server; there is none yet."""
    made = AtALine(offered.server, tmp_path)
    try:
        yield made
    finally:
        made.close()


def said(host: Host, version: str = "2.0") -> dict[str, Any]:
    """Return what a host reported of its download of a version."""
    (report,) = (one for one in host.outcomes(version) if one["outcome"] == "succeeded")
    return dict(report["details"].get("downloads", {}).get(version, {}))


def check_version_2(host: Host) -> None:
    """Check that 2.0 is there as its artifact has it, and nothing else."""
    assert host.runs() == "courier 2.0"
    tree = host.root / PACKAGE / "versions" / "2.0"
    assert (tree / "share" / "noise").read_bytes() == NOISE
    assert {path.read_bytes() for path in (tree / "share").glob("zeros-*")} == {bytes(1 << 20)}
    assert [path.name for path in (host.root / PACKAGE / "downloads").iterdir()] == []


def test_a_host_downloads_the_delta_and_the_server_counts_it(offered: Offered, site: AtALine) -> None:
    """Over its line come fewer bytes than half the artifact has, metadata and everything else included."""
    host = site.host(PACKAGE, "1.0")
    (before,) = deltas(offered.server, PACKAGE, "2.0")
    came = site.line.received
    assert site.upgraded(PACKAGE, "2.0") == ["", "2.0"]
    assert site.line.received - came < offered.whole / 2
    check_version_2(host)
    saved = offered.whole - offered.delta
    assert said(host) == {"way": "delta", "base": "1.0", "bytes": offered.delta, "saved": saved}
    (after,) = wait_for(lambda: _counted(offered.server, before["Downloads"] + 1), LONG)
    assert after["BytesSaved"] == before["BytesSaved"] + saved
    http = f"http://127.0.0.1:{offered.server.ports[0]}"
    wait_for(lambda: figure(http, "backfleet_delta_saved_bytes", package=PACKAGE) >= saved, LONG)
    assert figure(http, "backfleet_deltas", package=PACKAGE, state="made") == 1


def _counted(server: Installation, number: int) -> list[dict[str, Any]]:
    return [one for one in deltas(server, PACKAGE, "2.0") if one["Downloads"] >= number]


def test_a_relay_passes_a_delta_on_and_fetches_it_once(offered: Offered, site: AtALine, tmp_path: Path) -> None:
    """Hosts behind it have a thin line, over which the artifact never comes."""
    with relay(site.line.address, offered.server, tmp_path / "cache") as address:
        hosts = [site.host(PACKAGE, "1.0") for _ in range(2)]
        for host in hosts:
            policy = host.root / "etc" / "backfleet" / "host.toml"
            policy.parent.mkdir(parents=True, exist_ok=True)
            policy.write_text(f'relays = ["{address}"]\n')
        came = site.line.received
        ids = [host.instance_id for host in hosts]
        done = site.finished(site.call("UpgradeBackupClients", InstanceIds=ids, PackageName=PACKAGE)["TaskId"])
        assert [item["errorCode"] for item in done["Result"]] == ["", ""], done
        assert site.line.received - came < offered.whole / 2
        assert figure(address, "backfleet_relay_answers_total", kind="delta", source="server") == 1
        assert max(path.stat().st_size for path in (tmp_path / "cache").rglob("*")) < offered.whole / 2
    for host in hosts:
        check_version_2(host)
        assert said(host)["way"] == "delta"


@pytest.mark.parametrize("broken", ["the delta", "an old file", "an old file is gone"])
def test_what_is_not_as_it_was_costs_a_whole_download(offered: Offered, site: AtALine, broken: str) -> None:
    host = site.host(PACKAGE, "1.0")
    old = host.root / PACKAGE / "versions" / "1.0" / "share" / "noise"
    kept = offered.delta_file.read_bytes()
    try:
        if broken == "the delta":
            offered.delta_file.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        elif broken == "an old file":
            old.chmod(0o644)
            old.write_bytes(NOISE[:-1] + bytes([NOISE[-1] ^ 1]))
        else:
            old.parent.chmod(0o755)
            old.unlink()
        came = site.line.received
        assert site.upgraded(PACKAGE, "2.0") == ["", "2.0"]
    finally:
        offered.delta_file.write_bytes(kept)
    assert site.line.received - came > offered.whole
    check_version_2(host)
    found = said(host)
    assert (found["way"], found["bytes"]) == ("whole", offered.whole)
    assert found["no_delta"].startswith("from 1.0: ")


def test_a_host_program_from_before_deltas_upgrades_as_ever(offered: Offered, site: AtALine, tmp_path: Path) -> None:
    site.host_program = [sys.executable, program_without_deltas(tmp_path / "old.pyz")]
    host = site.host(PACKAGE, "1.0")
    came = site.line.received
    assert site.upgraded(PACKAGE, "2.0") == ["", "2.0"]
    assert site.line.received - came > offered.whole
    check_version_2(host)
    assert said(host) == {}


def test_a_host_with_another_agent_downloads_the_delta(offered: Offered, site: AtALine, tmp_path: Path) -> None:
    """The program that came with the order applies it."""
    program = host_program.find()
    assert program is not None, "build it: tools/build_host_program.py"
    authority = (offered.server.data / "tls" / "ca.pem").read_text()
    root = tmp_path / "root"
    bootstrap = Bootstrap(
        site.line.address, authority, hashlib.sha256(program.read_bytes()).hexdigest(), root=str(root)
    )

    def carried(number: int, kind: str, version: str) -> Any:
        content = command_for(Order(f"u-{number}", kind, PACKAGE, version, platform_here(), 600), bootstrap)
        _, report, output = run(tmp_path, content)
        assert (report.outcome, report.current_version) == ("succeeded", version), output
        return report

    carried(1, "install", "1.0")
    came = site.line.received
    downloads = carried(2, "upgrade", "2.0").details["downloads"]["2.0"]
    assert (downloads["way"], downloads["bytes"]) == ("delta", offered.delta)
    assert site.line.received - came < offered.whole / 2
    check_version_2(Host(site, root))


@pytest.mark.parametrize("point", ["delta being applied", "delta applied"])
def test_a_host_program_that_is_killed_while_it_applies_one(
    offered: Offered, site: AtALine, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """The old version runs, the order ends with a code, and the next one succeeds, by the delta."""
    host = site.host(PACKAGE, "1.0")
    host.stop()
    with monkeypatch.context() as patched:
        patched.setenv("BACKFLEET_HOST_DIE_AT", point)
        host.start()
    code, version = site.upgraded(PACKAGE, "2.0")
    assert code
    assert (version, host.runs()) == ("1.0", "courier 1.0")
    host.stop()
    host.start()
    assert site.upgraded(PACKAGE, "2.0") == ["", "2.0"]
    check_version_2(host)
    assert said(host)["way"] == "delta"


def test_a_file_system_that_is_full_while_one_is_applied_takes_the_whole(offered: Offered, site: AtALine) -> None:
    """No file may be larger than 3 MiB: the older version's content fits, and not the new one's uncompressed form."""
    limited = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20)); os.execv"
    host = site.host(PACKAGE, "1.0")
    host.stop()
    site.host_program = [sys.executable, "-c", f"{limited}(sys.executable, [sys.executable, *sys.argv[1:]])"]
    site.host_program = [*site.host_program, "-m", "backfleet_host"]
    host.start()
    assert site.upgraded(PACKAGE, "2.0") == ["", "2.0"]
    check_version_2(host)
    found = said(host)
    assert found["way"] == "whole"
    assert "File too large" in found["no_delta"]


@pytest.mark.timeout(3600)  # making it takes two minutes of processor time at the lowest priority
def test_rclone_comes_by_a_delta_directly_and_by_a_relay(tmp_path: Path) -> None:
    """1.74.4 to 1.75.2: at most 12.1 MB instead of 29."""
    old, new = (wheel(version) for version in ("1.74.4", "1.75.2"))
    server = Installation(tmp_path / "server")
    server.folder.mkdir()
    with ExitStack() as ends:
        ends.callback(server.close)
        server.start()
        for version, file in (("1.74.4", old), ("1.75.2", new)):
            upload(server, file, "rclone", version)
        delta = wait_for_delta(server, "rclone", "1.75.2", 3 * LONG)
        assert delta < 12_100_000
        for name in ("direct", "relayed"):
            (tmp_path / name).mkdir()
            site = AtALine(server, tmp_path / name)
            ends.callback(site.close)
            host = site.host("rclone", "1.74.4")
            if name == "relayed":
                address = ends.enter_context(relay(site.line.address, server, tmp_path / "cache"))
                policy = host.root / "etc" / "backfleet" / "host.toml"
                policy.parent.mkdir(parents=True, exist_ok=True)
                policy.write_text(f'relays = ["{address}"]\n')
            came = site.line.received
            assert site.upgraded("rclone", "1.75.2") == ["", "1.75.2"]
            assert site.line.received - came < 12_100_000
            tree = host.root / "rclone" / "versions" / "1.75.2"
            largest = max(tree.rglob("rclone"), key=lambda path: path.stat().st_size)
            with zipfile.ZipFile(new) as archive:
                (inside,) = (each for each in archive.namelist() if each.endswith("/scripts/rclone"))
                assert largest.read_bytes() == archive.read(inside)
