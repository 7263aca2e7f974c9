"""The chaos run, for a few kills: no backup fails, every order ends, every host has one state."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHAOS = Path(__file__).parents[2] / "bench" / "chaos.py"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_few_kills_fail_no_backup_and_leave_every_host_in_one_state() -> None:
    """Of server, agent and upgrader, while one host is upgraded again and again."""
    arguments = ["--seconds", "15", "--hosts", "1", "--seed", "1"]
    done = subprocess.run([sys.executable, CHAOS, *arguments], capture_output=True, text=True, check=False, timeout=380)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout)
    assert facts["kills"]  # how many there are depends on how long a loaded machine takes to start a server again
    assert facts["orders"]
    assert facts["backups"].keys() == {"run"}
    assert (facts["definite"], facts["open"], facts["errors"]) == (1, [], [])


def test_a_run_of_nothing_is_refused() -> None:
    """It would find that all is well."""
    done = subprocess.run([sys.executable, CHAOS, "--hosts", "0"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--hosts" in done.stderr
