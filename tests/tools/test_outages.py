"""The run under outages, small and short; and what it looks for is found."""

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

OUTAGES = Path(__file__).parents[2] / "bench" / "outages.py"
MEMBERS = {"mi-1": {"ClientId": "c-1", "Ring": "canary"}, "mi-2": {"ClientId": "c-2", "Ring": "early"}}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_rollout_under_outages_moves_everybody_once() -> None:
    """PostgreSQL hangs and ends, NATS is away, replicas are killed, clocks jump; a bad release halts meanwhile."""
    words = ["--hosts", "60", "--away", "5", "--soak", "10"]
    done = subprocess.run([sys.executable, OUTAGES, *words], capture_output=True, text=True, check=False, timeout=1780)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_over_too_few_hosts_is_refused() -> None:
    """Rings would be empty, and nothing would be seen."""
    done = subprocess.run([sys.executable, OUTAGES, "--hosts", "5"], capture_output=True, text=True, check=False)
    assert (done.returncode, "--hosts" in done.stderr) == (2, True)


def out_of_turn(*events: tuple[int, str, str, str]) -> list[str]:
    """Return what the run would say of these events: time, what, name, change."""
    spec = spec_from_file_location("outages", OUTAGES)
    assert spec is not None
    assert spec.loader is not None
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    names = ("TimeMilliseconds", "What", "Name", "Change")
    found: list[str] = module.out_of_turn(MEMBERS, [dict(zip(names, event, strict=True)) for event in events])
    return found


def test_rings_in_their_order_are_in_turn() -> None:
    """A ring and its first order are of one decision, whichever is written first."""
    assert not out_of_turn(
        (1, "member", "c-1", "upgrading"),
        (1, "ring", "canary", "running"),
        (2, "member", "c-1", "succeeded"),
        (2, "ring", "canary", "finished"),
        (2, "member", "c-2", "upgrading"),
        (2, "ring", "early", "running"),
    )


def test_a_ring_that_began_early_is_found() -> None:
    """The canary had not ended."""
    assert out_of_turn((1, "ring", "canary", "running"), (2, "ring", "early", "running")) == [
        "early began before canary ended"
    ]


def test_an_order_that_left_before_its_ring_is_found() -> None:
    """It was decided earlier than the ring was."""
    assert out_of_turn((1, "member", "c-2", "upgrading"), (2, "ring", "early", "running"))[0] == (
        "c-2 of early moved before its ring began"
    )
