"""A version that crashes whenever it is started: the way to the next one does not lead through it."""

from pathlib import Path
from typing import Any

import pytest

from host.upgrader.conftest import CLIENT

Host = Any
Shop = Any


@pytest.mark.parametrize("kind", ["upgrade", "roll-back"])
def test_f86_a_version_that_crashes_at_every_start_is_left_for_another(
    shop: Shop, host: Host, tmp_path: Path, kind: str
) -> None:
    """It was healthy when it came. Orders are carried out by a process that needs nothing of the client."""
    crashing = tmp_path / "crashing"
    shop.add("1.0")
    shop.add("2.0", client=CLIENT.replace("#!/bin/sh\n", f"#!/bin/sh\n[ -e {crashing} ] && kill -SEGV $$\n"))
    shop.add("3.0")
    assert host.carry("install", "1.0").outcome == "succeeded"
    assert host.carry("upgrade", "2.0").outcome == "succeeded"
    crashing.touch()
    goal = "3.0" if kind == "upgrade" else "1.0"
    report = host.carry(kind, goal)
    assert (report.outcome, report.code, report.current_version) == ("succeeded", "", goal), report
    assert host.leftovers() == []
