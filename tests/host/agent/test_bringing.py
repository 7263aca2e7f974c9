"""`bring`: whatever keeps it from the server is told in a report, for nobody else will tell."""

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.agent.execution.bootstrap import main
from backfleet_host.contract import Order, read_output
from host.agent.gateway import Gateway

ORDER = Order("u-1", "status", "courier")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """As the shell command leaves it."""
    (tmp_path / "root" / "agent" / "brought").mkdir(parents=True)
    return tmp_path / "root"


def bring(root: Path, server: str, authority: Path, **environment: str) -> tuple[int, Any, str]:
    """Exit code, report, and all that was said."""
    said = base64.b64encode(ORDER.as_command().encode()).decode()
    words = [sys.executable, "-m", "backfleet_host", "bring", str(root), server, str(authority), said]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    return done.returncode, read_output(done.stdout)[1], done.stdout + done.stderr


@pytest.mark.parametrize(
    ("server", "proxy", "told"),
    [
        pytest.param("", "https://u:hunter2@h:1", "BACKFLEET_PROXY must be", id="another kind of proxy"),
        pytest.param("", "http://u:hunter2#@127.0.0.1:9", "127.0.0.1:9", id="a proxy that is gone"),
        pytest.param("host:port", "", "HOST:PORT", id="an address that is none"),
        pytest.param("127.0.0.1:9", "", "cannot be reached", id="nobody there"),
    ],
)
def test_no_way_to_the_server_is_told(gateway: Gateway, root: Path, server: str, proxy: str, told: str) -> None:
    """As DownloadFailed, with the password of nobody."""
    code, report, said = bring(root, server or gateway.address, gateway.ca, BACKFLEET_PROXY=proxy)
    assert (code, report.code, report.details.get("reason")) == (1, "DownloadFailed", "NotReachable"), said
    assert told in report.message
    assert "hunter2" not in said
    assert not (root / "trust").exists()


def test_an_authority_that_is_none_is_told(
    gateway: Gateway, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a file, and may be spoilt like any other."""
    (tmp_path / "ca.pem").write_text("")
    said = base64.b64encode(ORDER.as_command().encode()).decode()
    assert main([str(root), gateway.address, str(tmp_path / "ca.pem"), said]) == 1
    report = read_output(capsys.readouterr().out)[1]
    assert report is not None
    assert report.code == "DownloadFailed"
