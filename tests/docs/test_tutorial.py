"""The first page that a newcomer reads is pasted, block by block, into one terminal: real server, real host."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from backfleet_host.platforms import platform_here
from documents import blocks_of
from journeys.installation import free_ports, processes_of

PAGE = "docs/guides/first-upgrade.md"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    """A host is upgraded, takes back a bad version, survives the loss of the server, goes on, and leaves."""
    http, https = map(str, free_ports(2))
    script = "\n".join(block.text for block in blocks_of(PAGE))
    for there, here in (("18080", http), ("18443", https), ("linux-amd64", platform_here())):
        assert there in script
        script = script.replace(there, here)
    script = script.replace(
        "\nbackfleet doctor\n", "\nbackfleet doctor || test $? = 3\n"
    )  # this machine may have warnings
    bin_folder = Path(sys.executable).parent
    log = tmp_path / "terminal.log"
    with log.open("wb") as terminal:
        reader = subprocess.Popen(
            ["bash", "-c", f"set -euo pipefail\nPATH={bin_folder}:$PATH\n{script}"], cwd=tmp_path,
            stdin=subprocess.DEVNULL, stdout=terminal, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            code = reader.wait(360)
        finally:
            end_everything(reader, tmp_path)
    shown = log.read_text()
    assert code == 0, shown
    answers = [line for line in shown.splitlines() if line.startswith("courier 1.") and "linux" not in line]
    assert answers == [f"courier {version}" for version in ("1.0", "1.1", "1.1", "1.1", "1.3", "1.3")], shown
    assert "RolledBack" in shown
    assert "exit code 1" in shown
    left = tmp_path / "host" / "bin" / "courier"
    assert left.read_text().startswith("#!/bin/sh")
    assert f"{tmp_path}/host/courier/versions/1.3" in left.read_text()


def end_everything(reader: subprocess.Popen[bytes], folder: Path) -> None:
    """End what the reader's terminal still runs."""
    with suppress(ProcessLookupError):
        os.killpg(reader.pid, signal.SIGKILL)
    reader.wait()
    for pid in processes_of(folder):
        os.kill(pid, signal.SIGKILL)
