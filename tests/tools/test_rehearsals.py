"""The rehearsals of the host program's upgrade, for a few: no host is stranded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import machine as machines

REHEARSE = Path(__file__).parents[2] / "bench" / "rehearse.py"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(bool(machines.why_not()), reason=machines.why_not())
def test_a_few_rehearsals_strand_no_host() -> None:
    """With a fault each, on two hosts."""
    words = ["--rehearsals", "4", "--hosts", "2", "--seed", "1"]
    done = subprocess.run([sys.executable, REHEARSE, *words], capture_output=True, text=True, check=False, timeout=880)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout)
    assert (facts["rehearsals"], facts["stranded"]) == (4, [])


def test_rehearsals_of_nothing_are_refused() -> None:
    """They would find that all is well."""
    words = [sys.executable, REHEARSE, "--rehearsals", "0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, "--rehearsals" in done.stderr) == (2, True)
