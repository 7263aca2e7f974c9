"""Runs that start while an order is carried out: they wait where they must, and every wait here has a limit."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.contract import Report
from backfleet_host.upgrader.host.shim import UNVERIFIED

Host = Any
Shop = Any
Run = subprocess.Popen[str]

LIMIT = 30.0  # seconds for what takes a moment
LONG_ENOUGH = 1.0  # seconds in which a run that does not wait has ended for certain


class Runs:
    """Runs of the client through its shim. None outlives the test."""

    def __init__(self, shim: Path) -> None:
        self.shim = shim
        self.started: list[Run] = []

    def start(self, *words: object) -> Run:
        """Start a run."""
        self.started.append(subprocess.Popen([self.shim, *map(str, words)], stdout=subprocess.PIPE, text=True))
        return self.started[-1]

    def hold(self, flag: Path) -> Run:
        """Start a run that lasts as long as there is a file; return once it has begun."""
        flag.touch()
        run = self.start("hold", flag)
        assert run.stdout is not None
        assert run.stdout.readline().startswith("holding")
        return run

    def end(self) -> None:
        """Kill what is left."""
        for run in self.started:
            run.kill()
            run.communicate()


class Upgrade(threading.Thread):
    """An order that is carried out beside the test."""

    def __init__(self, host: Host, version: str, timeout_seconds: int) -> None:
        super().__init__(daemon=True)
        self._carry = lambda: host.carry("upgrade", version, timeout_seconds=timeout_seconds)
        self._report: Report | None = None
        self.start()

    def run(self) -> None:
        self._report = self._carry()

    def report(self) -> Report:
        """Return its report; fail if it does not end."""
        self.join(LIMIT)
        assert self._report is not None, f"the order did not end within {LIMIT:.0f} s"
        return self._report


def output_of(run: Run, what: str) -> str:
    """Return what a run printed since; fail if it does not end."""
    try:
        return run.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        pytest.fail(f"{what} did not end within {LIMIT:.0f} s")


def is_waiting(run: Run) -> bool:
    """Return whether a run has not ended in a time in which it would have."""
    try:
        run.wait(LONG_ENOUGH)
    except subprocess.TimeoutExpired:
        return True
    return False


def wait_for(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"{what} did not happen within {LIMIT:.0f} s")
        time.sleep(0.02)


@pytest.fixture
def runs(host: Host) -> Iterator[Runs]:
    """Return runs that end with the test, whatever it finds."""
    made = Runs(host.shim)
    yield made
    made.end()


# A client whose new version is verified for as long as the test wants.
SLOW = """#!/bin/sh
if [ "$1" = version ] && [ {{version}} != 1.0 ]; then
  touch {begun}
  while [ ! -e {go} ]; do sleep 0.02; done
fi
[ "$1" != version ] || {{{{ echo "{{package}} {{version}}"; exit {{health}}; }}}}
echo "{{version}} $*"
"""


@pytest.mark.parametrize("switch", ["anytime", "idle"])
@pytest.mark.parametrize(("health", "runs_then"), [(0, "2.0"), (9, "1.0")])
def test_f38_a_run_that_starts_during_the_trial_waits_at_the_gate(
    shop: Shop, host: Host, runs: Runs, tmp_path: Path, switch: str, health: int, runs_then: str
) -> None:
    """The marker is there for an upgrade that was cut off: without it, the closed gate alone makes the run wait."""
    begun, go = tmp_path / "begun", tmp_path / "go"
    client = SLOW.format(begun=begun, go=go)
    shop.add("1.0", client=client, switch=switch)
    shop.add("2.0", client=client, switch=switch, health=health, seconds=60)
    host.carry("install", "1.0")
    upgrade = Upgrade(host, "2.0", timeout_seconds=60)
    wait_for(begun.exists, "the trial of 2.0")
    (host.folder / UNVERIFIED).unlink()
    run = runs.start("hello")
    waited = is_waiting(run)
    go.touch()
    report = upgrade.report()
    assert waited, "a run did not wait for a version that is not verified"
    assert (report.current_version, report.code) == (runs_then, "" if health == 0 else "RolledBack")
    assert output_of(run, "the run that waited") == f"{runs_then} hello\n"


def test_f36_f37_runs_that_start_during_a_drain_are_held_and_then_run(
    shop: Shop, host: Host, runs: Runs, tmp_path: Path
) -> None:
    """Also on a host that is never idle: new runs wait behind the running one, and run after the switch."""
    shop.add("1.0", switch="idle")
    shop.add("2.0", switch="idle")
    host.carry("install", "1.0")
    first = runs.hold(tmp_path / "flag")
    upgrade = Upgrade(host, "2.0", timeout_seconds=int(LIMIT))
    held = _first_that_waits(runs)
    queued = [held, *(runs.start("hello") for _ in range(2))]
    assert all(map(is_waiting, queued)), "a run started during the drain was not held"
    (tmp_path / "flag").unlink()
    assert output_of(first, "the running backup") == "done 1.0\n"
    assert [output_of(run, "a run that was held") for run in queued] == ["2.0 hello\n"] * 3
    report = upgrade.report()
    assert (report.outcome, report.current_version) == ("succeeded", "2.0"), report.message


def _first_that_waits(runs: Runs) -> Run:
    """Start runs until one is held: before the gate is closed they run on the old version."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        run = runs.start("hello")
        if is_waiting(run):
            return run
        assert output_of(run, "a run before the drain") == "1.0 hello\n"
    pytest.fail(f"no run was held within {LIMIT:.0f} s, so a host that is never idle would never be upgraded")


def test_f37_runs_that_were_held_run_on_the_old_version_if_the_order_gives_up(
    shop: Shop, host: Host, runs: Runs, tmp_path: Path
) -> None:
    """The running backup outlasts the order: it is not killed, and nothing waits any longer."""
    shop.add("1.0", switch="idle")
    shop.add("2.0", switch="idle")
    host.carry("install", "1.0")
    first = runs.hold(tmp_path / "flag")
    upgrade = Upgrade(host, "2.0", timeout_seconds=4)
    held = _first_that_waits(runs)
    report = upgrade.report()
    assert (report.code, report.current_version) == ("BackupRunning", "1.0")
    assert output_of(held, "a run that was held") == "1.0 hello\n"
    (tmp_path / "flag").unlink()
    assert output_of(first, "the running backup") == "done 1.0\n"


SPOILER = SLOW.replace("touch {begun}", "echo theirs > {state}; touch {begun}").replace(
    'echo "{{version}} $*"',
    'echo "holding {{version}}"; while [ -e "$2" ]; do sleep 0.02; done; echo "done {{version}}"',
)


@pytest.fixture
def spoiled(shop: Shop, host: Host, tmp_path: Path) -> Path:
    """Return state that 2.0 has spoiled once it is being verified, which fails; runs pass its gate after a second."""
    state = tmp_path / "srv" / "state"
    state.parent.mkdir()
    state.write_text("mine")
    client = SPOILER.format(begun=tmp_path / "begun", go=tmp_path / "go", state=state)
    for version, health in (("1.0", 0), ("2.0", 9)):
        shop.add(version, client=client, health=health, seconds=60, keeps=[str(state)])
    host.write_policy("wait_limit = 1\ndrain_limit = 300\n", "host")
    host.carry("install", "1.0")
    return state


def test_a_rollback_restores_state_once_a_run_that_was_let_past_the_gate_is_over(
    host: Host, runs: Runs, tmp_path: Path, spoiled: Path
) -> None:
    """Two writers at once would spoil it again."""
    upgrade = Upgrade(host, "2.0", timeout_seconds=60)
    wait_for((tmp_path / "begun").exists, "the verification of 2.0")
    runs.hold(tmp_path / "flag")
    (tmp_path / "go").touch()
    wait_for(lambda: host.version() == "1.0", "the way back")
    upgrade.join(LONG_ENOUGH)
    restored_under_it = spoiled.read_text() == "mine"
    (tmp_path / "flag").unlink()
    assert upgrade.report().code == "RolledBack"
    assert not restored_under_it
    assert spoiled.read_text() == "mine"


def test_a_rollback_that_a_long_run_keeps_from_the_state_is_finished_later(
    host: Host, runs: Runs, tmp_path: Path, spoiled: Path
) -> None:
    """It ends and names the run; the old version runs, and the next start restores the state."""
    host.write_policy("wait_limit = 1\ndrain_limit = 1\n", "host")
    upgrade = Upgrade(host, "2.0", timeout_seconds=60)
    wait_for((tmp_path / "begun").exists, "the verification of 2.0")
    run = runs.hold(tmp_path / "flag")
    (tmp_path / "go").touch()
    report = upgrade.report()
    assert (report.code, report.current_version) == ("RollbackFailed", "1.0")
    assert f"process {run.pid} " in report.message
    assert spoiled.read_text() == "theirs\n"
    assert not host.is_gate_closed()
    (tmp_path / "flag").unlink()
    output_of(run, "the run")
    assert host.carry("recover").code == "RolledBack"
    assert spoiled.read_text() == "mine"
    assert host.leftovers() == []
