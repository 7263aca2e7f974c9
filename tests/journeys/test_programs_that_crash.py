"""A host program that orders bring, and that crashes in the middle of one, gives way to the one before (0130)."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from backfleet.carriers import Bootstrap
from backfleet.carriers.bootstrap import command_for
from backfleet_host.contract import STAGES, read_instead
from journeys.host_programs import program as version_of
from journeys.installation import LONG, processes_of, wait_for
from journeys.test_other_agents import order, run, start
from journeys.test_programs_of_other_agents import Sending, brought, carried, changed, program, sending, server

__all__ = ["sending", "server"]  # fixtures
pytestmark = pytest.mark.slow
FOLDER = "backfleet_host/upgrader/transaction"
STEP = "        self.state.stage = stage\n"
RECOVERY = "    attempt = resume_attempt("
STARTING = "    places, order = Places(Path(root)), "
CRASHES = {
    "killed": "__import__('os').kill(__import__('os').getpid(), 9)",
    "exits": "__import__('os')._exit(3)",
    "raises": "raise RuntimeError('nobody foresaw this')",
}
SHORT = 12  # seconds of an order that hangs
REPEATS = 5  # of an order that is lost, by the server


def crashing(version: str, how: str, step: str, *, recovers: bool = False) -> bytes:
    """Return a host program that crashes in this step of an order, and as it finds out what became of the order."""
    in_step = f"        if stage == {step!r}:\n            {CRASHES[how]}\n{STEP}"
    changes = {f"{FOLDER}/attempt.py": (STEP, in_step)}
    if not recovers:
        changes[f"{FOLDER}/recovery.py"] = (RECOVERY, f"    {CRASHES[how]}\n{RECOVERY}")
    return changed(version_of(version), changes)


def repeated(folder: Path, bootstrap: Bootstrap, number: int, version: str) -> tuple[Any, str]:
    """Send an order as a server does: again while no report comes. Return the report, and the last output."""
    content = command_for(order(number, version), bootstrap)
    for _ in range(1 + REPEATS):
        _, report, output = run(folder, content)
        if report is not None:
            return report, output
    raise AssertionError(f"no report came: {output}")


def hanging(version: str, step: str) -> bytes:
    """Return a host program that never ends this step of an order, nor the look at what became of one."""
    hangs = "__import__('signal').pause()"
    return changed(
        version_of(version),
        {
            f"{FOLDER}/attempt.py": (STEP, f"        if stage == {step!r}:\n            {hangs}\n{STEP}"),
            f"{FOLDER}/recovery.py": (RECOVERY, f"    {hangs}\n{RECOVERY}"),
            "backfleet_host/agent/timings.py": ("order_grace: float = 900.0", "order_grace: float = 1.0"),
            "backfleet_host/agent/execution/bootstrap.py": ("RECOVERIES = 3", "RECOVERIES = 0"),
        },
    )


def marks(folder: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in brought(folder).iterdir() if path.name[:2] in ("be", "cr"))


@pytest.mark.parametrize("step", [step for step in STAGES if step not in ("admit", "back")])
@pytest.mark.parametrize("how", ["killed", "exits"])
def test_a_program_that_dies_in_an_order_gives_way_to_the_one_before(
    sending: Sending, tmp_path: Path, how: str, step: str
) -> None:
    """That one finds out what the order left, and carries the next ones out, until a program comes that works."""
    good = sending(program("1.0"))
    carried(tmp_path, good, 1, "1.0", "install")
    bad = sending(crashing("2.0", how, step))
    report, output = repeated(tmp_path, bad, 2, "2.0")
    assert report.current_version == ("2.0" if step in ("prove", "commit") else "1.0"), output
    assert f"{bad.program_sha256[:16]} does not work there" in read_instead(output)
    assert f"{good.program_sha256[:16]} from before was used: it crashed in the middle of order u-2" in read_instead(
        output
    )
    assert not (tmp_path / "root" / "courier" / "journal").exists()
    assert "from before was used" in read_instead(carried(tmp_path, bad, 3, "3.0"))
    assert marks(tmp_path) == ["crashed"]
    mended = sending(program("3.0"))
    assert read_instead(carried(tmp_path, mended, 4, "4.0")) == ""


@pytest.mark.parametrize("step", ["check", "switch", "prove"])
def test_a_program_that_hangs_in_an_order_is_ended_and_gives_way(sending: Sending, tmp_path: Path, step: str) -> None:
    """It holds the package's lock until its time is over. What it left is recovered, and the order carried out."""
    good = sending(program("1.0"))
    carried(tmp_path, good, 1, "1.0", "install")
    bad = sending(hanging("2.0", step))
    code, report, output = run(tmp_path, command_for(order(2, "2.0", seconds=SHORT), bad))
    assert (code, report) == (1, None), output
    assert marks(tmp_path) == ["began"]
    wait_for(lambda: not processes_of(tmp_path / "root"), LONG)
    report, output = repeated(tmp_path, bad, 2, "2.0")
    assert report.current_version == ("2.0" if step == "prove" else "1.0"), output
    assert "from before was used: it crashed in the middle of order u-2" in read_instead(output)
    carried(tmp_path, bad, 3, "3.0")


@pytest.mark.parametrize("step", ["check", "stage", "prove"])
def test_an_error_that_nobody_foresaw_is_reported_and_the_next_order_goes_to_the_one_before(
    sending: Sending, tmp_path: Path, step: str
) -> None:
    good = sending(program("1.0"))
    carried(tmp_path, good, 1, "1.0", "install")
    bad = sending(crashing("2.0", "raises", step))
    code, report, output = run(tmp_path, command_for(order(2, "2.0"), bad))
    assert (code, report.outcome, report.current_version) == (1, "failed", "1.0"), output
    assert (report.details["crashed"], "nobody foresaw this" in report.message) == (True, True)
    assert "it crashed in the middle of order u-2" in read_instead(carried(tmp_path, bad, 3, "2.0"))


def test_a_program_that_dies_once_and_mends_it_gives_way_too(sending: Sending, tmp_path: Path) -> None:
    """What it left is recovered by itself at once; only the next order goes to another one."""
    good = sending(program("1.0"))
    carried(tmp_path, good, 1, "1.0", "install")
    bad = sending(crashing("2.0", "killed", "switch", recovers=True))
    code, report, output = run(tmp_path, command_for(order(2, "2.0"), bad))
    assert (code, report.outcome, report.current_version) == (1, "failed", "1.0"), output
    assert "it crashed in the middle of order u-2" in read_instead(carried(tmp_path, bad, 3, "2.0"))


def test_a_program_that_dies_before_it_begins_is_tried_twice(sending: Sending, tmp_path: Path) -> None:
    """Its agent may have killed it once, in its first moment."""
    good = sending(program("1.0"))
    carried(tmp_path, good, 1, "1.0", "install")
    change = {"backfleet_host/agent/execution/bootstrap.py": (STARTING, f"    {CRASHES['exits']}\n{STARTING}")}
    bad = sending(changed(version_of("2.0"), change))
    content = command_for(order(2, "2.0"), bad)
    for _ in range(2):
        assert run(tmp_path, content)[:2] == (3, None)
    assert "it crashed in the middle of order u-2" in read_instead(carried(tmp_path, bad, 2, "2.0"))


def test_without_another_one_a_program_that_crashes_gets_the_order(sending: Sending, tmp_path: Path) -> None:
    """And fails by itself, as long as nothing better comes."""
    bad = sending(crashing("2.0", "killed", "check"))
    for number in (1, 2):
        code, report, output = run(tmp_path, command_for(order(number, "1.0", "install"), bad))
        assert (code, report, read_instead(output)) == (1, None, "")
    assert read_instead(carried(tmp_path, sending(program("3.0")), 3, "1.0", "install")) == ""


def test_an_agent_that_kills_its_shell_makes_no_program_bad(sending: Sending, tmp_path: Path) -> None:
    """The order goes on, and ends well; its mark goes, and the same program gets the next one."""
    good = sending(program("1.0"))
    carried(tmp_path, good, 1, "1.0", "install")
    other = sending(program("2.0"))
    process = start(tmp_path, command_for(order(2, "2.0"), other))
    output = brought(tmp_path) / "u-2.out"
    wait_for(lambda: output.exists() and output.stat().st_size > 0, LONG)  # else it kills the order in its first moment
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not processes_of(tmp_path / "root"), LONG)
    assert marks(tmp_path) == []
    assert read_instead(carried(tmp_path, other, 3, "3.0")) == ""
