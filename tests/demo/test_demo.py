"""`make demo` as people run it: to the end, and with Ctrl-C in between. No process and no file is left."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # the first run downloads two large wheels


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo at work, in a terminal's session of its own, with a temporary folder that is the test's."""
    process = subprocess.Popen(
        [sys.executable, "demo/demo.py"],
        cwd=PROJECT,
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def left_by(folder: Path) -> list[str]:
    """Processes that know of this folder, and what is in it."""
    found = [entry.name for entry in folder.iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and str(folder).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().decode())
        except OSError:
            continue
    return found


def test_five_hosts_are_upgraded_under_running_backups(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    """The last line has the facts, and the exit code agrees."""
    output, problems = demo.communicate(timeout=280)
    assert demo.returncode == 0, problems
    facts = json.loads(output.splitlines()[-1])
    assert [(row["from"], row["to"]) for row in facts["hosts"]] == [("1.74.4", "1.75.2")] * 5
    assert all(row["backups_run"] > 0 and row["verified"] for row in facts["hosts"])
    assert sum(row["backups_failed"] for row in facts["hosts"]) == 0
    assert facts["left_behind"] == left_by(tmp_path) == []


@pytest.mark.parametrize(
    ("step", "times"),
    [
        pytest.param("the control plane", 1, id="as the server starts"),
        pytest.param("5 hosts enrol", 2, id="as hosts enrol, impatiently"),
        pytest.param("InstallBackupClients", 1, id="as hosts install"),
        pytest.param("UpgradeBackupClients", 2, id="as hosts upgrade under backups, impatiently"),
    ],
)
def test_ctrl_c_stops_everything(demo: subprocess.Popen[str], tmp_path: Path, step: str, times: int) -> None:
    """Once is enough, and twice does not break it."""
    assert demo.stdout is not None
    for line in demo.stdout:
        if step in line:
            break
    for _ in range(times):
        time.sleep(0.8)
        os.killpg(demo.pid, signal.SIGINT)
    _, problems = demo.communicate(timeout=60)
    assert demo.returncode == 130, problems
    assert "Interrupted" in problems
    assert left_by(tmp_path) == []
