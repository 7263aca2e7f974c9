"""`bring`: whatever keeps it from reaching the server is reported, since nothing else would say so."""

import base64
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.agent.execution.bootstrap import RESERVED, main, remove_old_programs
from backfleet_host.contract import Order, read_output
from host.agent.gateway import Gateway
from mounts import mounted, remount

NOW = 1_800_000_000.0
ORDER = Order("u-1", "status", "courier", timeout_seconds=2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root as the shell command leaves it."""
    (tmp_path / "root" / "agent" / "brought").mkdir(parents=True)
    return tmp_path / "root"


def bring(root: Path, server: str, authority: Path, **environment: str) -> tuple[int, Any, str]:
    """Run `bring`; return its exit code, its report, and all that it printed."""
    encoded = base64.b64encode(ORDER.as_command().encode()).decode()
    words = [sys.executable, "-m", "backfleet_host", "bring", str(root), server, str(authority), encoded]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    return done.returncode, read_output(done.stdout)[1], done.stdout + done.stderr


@pytest.mark.parametrize(
    ("server", "proxy", "message"),
    [
        pytest.param("", "https://u:hunter2@h:1", "BACKFLEET_PROXY must be", id="another kind of proxy"),
        pytest.param("", "http://u:hunter2#@127.0.0.1:9", "127.0.0.1:9", id="a proxy that is gone"),
        pytest.param("host:port", "", "HOST:PORT", id="no address"),
        pytest.param("127.0.0.1:9", "", "cannot be reached", id="no server"),
    ],
)
def test_a_server_that_cannot_be_reached_is_reported(
    gateway: Gateway, root: Path, server: str, proxy: str, message: str
) -> None:
    """As DownloadFailed, without the password of the proxy."""
    code, report, output = bring(root, server or gateway.address, gateway.ca, BACKFLEET_PROXY=proxy)
    assert (code, report.code, report.details.get("reason")) == (1, "DownloadFailed", "NotReachable"), output
    assert message in report.message
    assert "hunter2" not in output
    assert not (root / "trust").exists()


def test_a_file_that_is_no_authority_is_reported(
    gateway: Gateway, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file can be damaged like any other."""
    (tmp_path / "ca.pem").write_text("")
    encoded = base64.b64encode(ORDER.as_command().encode()).decode()
    assert main([str(root), gateway.address, str(tmp_path / "ca.pem"), encoded]) == 1
    report = read_output(capsys.readouterr().out)[1]
    assert report is not None
    assert report.code == "DownloadFailed"


@pytest.mark.parametrize(("options", "code"), [("full", "DiskFull"), ("ro", "HostBusy")])
def test_a_full_or_read_only_disk_is_reported(gateway: Gateway, root: Path, options: str, code: str) -> None:
    """Before anything is begun, with the code of what is wrong. The agent that asked has no log to look into."""
    with mounted(root / "agent", "size=2m") as disk:
        (disk / "brought").mkdir()
        if options == "full":
            (disk / "brought" / "filler").write_bytes(b"\0" * (shutil.disk_usage(disk).free))
        else:
            remount(disk, "ro")
        ended, report, output = bring(root, gateway.address, gateway.ca)
        assert (ended, report.code, report.version_known) == (1, code, False), output


def test_a_disk_that_fills_up_after_the_start_does_not_cost_the_report(gateway: Gateway, root: Path) -> None:
    """Space for it is reserved before."""
    with mounted(root / "agent", "size=2m") as disk:
        (disk / "brought").mkdir()
        assert bring(root, gateway.address, gateway.ca)[1].outcome == "succeeded"
        assert [path.suffix for path in sorted((disk / "brought").iterdir())] == [".lock", ".out"]
        (disk / "filler").write_bytes(b"\0" * (shutil.disk_usage(disk).free - RESERVED - 8192))
        assert bring(root, gateway.address, gateway.ca)[1].outcome == "succeeded"


def test_old_programs_go_and_those_that_may_still_run_stay(tmp_path: Path) -> None:
    """Each upgrade of the server leaves one. The program of this order is never among those that go."""
    ages = {"backfleet-host-own.pyz": 90, **{f"backfleet-host-{day}.pyz": day for day in range(1, 6)}}
    ages |= {"backfleet-host-7.pyz.1234": 3, "backfleet-host-8.pyz.99": 0, "u-1.out": 50, "ca.pem": 50}
    ages |= {"proven-own": 90, "proven-1": 1, "proven-5": 5}
    for name, days in ages.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (NOW - days * 86_400, NOW - days * 86_400))
    remove_old_programs(tmp_path, tmp_path / "backfleet-host-own.pyz", NOW)
    kept = {"backfleet-host-own.pyz", "backfleet-host-1.pyz", "backfleet-host-2.pyz", "backfleet-host-8.pyz.99"}
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "proven-own", "proven-1", "u-1.out", "ca.pem"}
