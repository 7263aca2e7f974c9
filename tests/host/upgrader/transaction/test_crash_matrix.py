"""F12: the power fails before, half-way through and after every effect of every kind of order, and again in recovery.

All of it on a small fake host; test_power_cuts.py kills real processes at a sample of these cut points.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.contract import Report
from backfleet_host.upgrader.transaction import outcome, switching
from host.upgrader.moments import CutPoint, Moment, Picture, moments, pictured
from host.upgrader.scenarios import (
    BY_ID,
    RICHEST,
    SCENARIOS,
    WHOLE,
    Ending,
    Hosts,
    Scenario,
    after_a_cut,
    after_another,
    check_end,
    check_works,
    cut,
    cut_points,
    cut_points_of,
    few,
    hosts_in,
    naming,
    ordered,
    some,
)
from host.upgrader.small_host import PACKAGE, SmallHost, Trouble, counted, watching_calls, with_trouble

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=str)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with hosts_in(tmp_path_factory.mktemp("hosts")) as made:
        yield made


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for what cannot change on this host."""
    monkeypatch.setattr(switching, "LEFTOVERS_SECONDS", 0.0)
    monkeypatch.setattr(outcome, "UNDO_PAUSE_SECONDS", 0.0)


# --- Undisturbed ----------------------------------------------------------------------------------------------------


@every_scenario
def test_an_undisturbed_order_ends_as_its_scenario_says(scenario: Scenario, hosts: Hosts) -> None:
    host = hosts(scenario)
    before = host.picture()
    check_end(scenario, host, before, ordered(scenario, host), scenario.ending)


@every_scenario
def test_no_change_is_made_outside_an_effect(scenario: Scenario, hosts: Hosts) -> None:
    """Every system call that changes a disk belongs to an effect, except for locks: so no cut point is missing here."""
    host, trouble = hosts(scenario), Trouble()
    outside: list[str] = []
    with with_trouble(trouble), watching_calls(lambda call: None if trouble.is_within else outside.append(call)):
        ordered(scenario, host)
    assert len(trouble.effects) >= 4
    assert [call for call in outside if not call.startswith("program") and Path(call).name not in LOCKS] == []


LOCKS = ("lock", "gate", "running")


# --- The power fails ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["all at once, to an unhealthy version", "an upgrade beside a backup"])
def test_a_moment_is_what_an_order_that_ends_there_leaves(scenario: str, hosts: Hosts) -> None:
    """Moments are taken while the order goes on; here an exception ends it."""
    made = BY_ID[scenario]
    for cut_point, moment in hosts.cut_off(made, some(cut_points_of(hosts, made), 20, scenario)):
        host = hosts(made)
        with naming(cut_point):
            assert cut(cut_point, lambda: ordered(made, host))  # noqa: B023 - called at once
            assert without_times(pictured(host.root)) == without_times(moment.picture)
            left, taken = host, hosts.at(moment)
            assert left.processes.keys() == taken.processes.keys()
            assert (left.serving, left.starts) == (taken.serving, taken.starts)


def without_times(picture: Picture) -> dict[str, tuple[int, bytes | str | None]]:
    """Leave out what differs from run to run: when an order began, how long it took, and the numbers of files."""
    return {
        name: (mode, TIMES.sub(b"", content) if isinstance(content, bytes) else content)
        for name, mode, _, content in picture
        if "outcome" not in name and "kept" not in name
    }


TIMES = re.compile(rb'"(at|until)": [0-9.]+')


@every_scenario
def test_the_power_fails_at_any_point(scenario: Scenario, hosts: Hosts) -> None:
    """The client works before recovery, and afterwards it is what the crash table says, whoever starts the recovery."""
    among = cut_points_of(hosts, scenario)
    before = hosts.before(scenario)
    for cut_point, moment in hosts.cut_off(scenario, among):
        host = hosts.at(moment)
        with naming(cut_point):
            check_works(scenario, host)
            outcome = after_a_cut(scenario, host)
            if cut_point.at % 2:
                host.carry("recover", order_id="r-1")
            check_end(scenario, host, before, ordered(scenario, host), outcome)


@every_scenario
def test_the_machine_is_switched_off_at_any_point(scenario: Scenario, hosts: Hosts) -> None:
    """No process survives: a service that we had stopped, or were about to stop, runs again."""
    among = cut_points_of(hosts, scenario)
    before = hosts.before(scenario)
    for cut_point, moment in hosts.cut_off(scenario, some(among, len(among) // 4, scenario.id)):
        host = hosts.at(moment)
        with naming(cut_point):
            ours_to_start = any('"switching"' in line or '"removing"' in line for line in host.journal())
            host.reboot()
            check_works(scenario, host)
            outcome = ending_after_reboot(scenario, host)
            if not ours_to_start and scenario.serving:
                host.serving = host.version()  # its administrator's affair, or systemd's
            check_end(scenario, host, before, ordered(scenario, host), outcome)


def ending_after_reboot(scenario: Scenario, host: SmallHost) -> Ending:
    """Return the ending, where what stood in the way may have gone with all processes."""
    outcome = after_a_cut(scenario, host)
    is_new = not host.journal() and not host.installation.package(PACKAGE).outcome("u-1").exists()
    return Ending(scenario.goal, "") if is_new and scenario.beside == scenario.damaged != "" else outcome


@pytest.mark.parametrize("scenario", RICHEST, ids=str)
def test_the_power_fails_twice_at_any_two_points(scenario: Scenario, hosts: Hosts) -> None:
    """Recovery is as safe as the order itself."""
    for first, moment in hosts.cut_off(scenario, cut_points_of(hosts, scenario)):
        seconds = [second for second in recovery_from(moment, hosts) if second.when == "before"]
        check_both(scenario, hosts, (first, moment), some(seconds, len(seconds) // 6 + 1, f"{scenario} {first}"))


@every_scenario
def test_the_power_fails_twice_at_some_points(scenario: Scenario, hosts: Hosts) -> None:
    """For a sample of pairs."""
    for first, moment in hosts.cut_off(scenario, few(cut_points_of(hosts, scenario), 4, scenario.id)):
        check_both(scenario, hosts, (first, moment), few(recovery_from(moment, hosts), 3, f"{scenario} {first}"))


def recovery_from(moment: Moment, hosts: Hosts) -> list[CutPoint]:
    """Return the cut points of the recovery after a power cut at this moment."""
    return cut_points(counted(lambda: hosts.at(moment), recover))


def recover(host: SmallHost) -> Report:
    return host.carry("recover", order_id="r-1")


def check_both(scenario: Scenario, hosts: Hosts, cut_off: tuple[CutPoint, Moment], seconds: Sequence[CutPoint]) -> None:
    first, moment = cut_off
    ending = after_a_cut(scenario, hosts.at(moment))
    for second, later in moments(hosts.at(moment), recover, seconds):
        host = hosts.at(later)
        with naming(first, second):
            check_works(scenario, host)
            outcome = after_another(scenario, host, ending)
            check_end(scenario, host, hosts.before(scenario), ordered(scenario, host), outcome)


# --- Torn lines -----------------------------------------------------------------------------------------------------

LINES = [
    pytest.param("order", "an upgrade", id="order"),
    pytest.param("switching", "a service with an unhealthy version", id="switching"),
    pytest.param("going back", "a service with an unhealthy version", id="going back"),
    pytest.param("proven", "a service", id="proven"),
    pytest.param("removing", "a service, uninstalled with its state", id="removing"),
    pytest.param("removing", "a service that will not stop, uninstalled", id="removing in vain"),
    pytest.param("going back", "a service that will not stop, uninstalled", id="putting back"),
]


@pytest.mark.parametrize(("line", "scenario"), LINES)
def test_a_torn_line_counts_as_missing(line: str, scenario: str, hosts: Hosts) -> None:
    """The effect after it was not begun. What the recovery writes after the tear counts, should it be cut off too."""
    made = BY_ID[scenario]
    after, moment = cut_point_after(line, made, hosts)
    before = hosts.before(made)
    for left in lengths_of_a_tear(moment, hosts):
        host = torn(moment, left, hosts)
        outcome = after_a_cut(made, host)
        seconds = cut_points(counted(lambda: host, recover))  # noqa: B023 - called at once
        with naming(after, f"{left} bytes of it are left"):
            check_end(made, host, before, ordered(made, host), outcome)
        for second, later in moments(torn(moment, left, hosts), recover, few(seconds, 3, f"{scenario} {left}")):
            host = hosts.at(later)
            with naming(after, f"{left} bytes of it are left", second):
                ending_now = after_another(made, host, outcome)
                check_end(made, host, before, ordered(made, host), ending_now)


def cut_point_after(line: str, scenario: Scenario, hosts: Hosts) -> tuple[CutPoint, Moment]:
    """Return the cut point just after this line was written."""
    effects = enumerate(hosts.counted(scenario).effects, 1)
    appended = [CutPoint(at, "after", effect) for at, effect in effects if effect == "append journal"]
    for cut_point, moment in hosts.cut_off(scenario, appended):
        if json.loads(hosts.at(moment).journal()[-1])["line"] == line:
            return cut_point, moment
    raise AssertionError(f"{scenario} writes no such line")


def lengths_of_a_tear(moment: Moment, hosts: Hosts) -> list[int]:
    """Return the first byte, some more, all but the end."""
    length = len(hosts.at(moment).journal()[-1])
    return [1, *range(9, length, 37 if not WHOLE else 1), length - 1, length]


def torn(moment: Moment, left: int, hosts: Hosts) -> SmallHost:
    """Return a host that has so many bytes of the line."""
    host = hosts.at(moment)
    journal = host.folder / "journal"
    content = journal.read_bytes()
    journal.write_bytes(content[: content[:-1].rfind(b"\n") + 1 + left])
    return host


# --- Somebody stops it ----------------------------------------------------------------------------------------------


@every_scenario
def test_an_order_is_cancelled_at_any_point(scenario: Scenario, hosts: Hosts) -> None:
    """Before the switch nothing has changed; after it, the order ends as if it had not been cancelled."""
    effects = hosts.counted(scenario).effects
    before = hosts.before(scenario)
    lines = [at for at, effect in enumerate(effects, 1) if effect == "append journal"]
    switch = lines[1] if len(lines) > 1 else len(effects) + 1
    for at in some(range(1, len(effects) + 1), len(effects) // 4, scenario.id):
        host = hosts(scenario)
        stopper = Canceller(at)
        with naming(f"stopped at effect {at}, {effects[at - 1]}"):
            with with_trouble(stopper):
                report = ordered(scenario, host, stopping=lambda: stopper.has_stopped)  # noqa: B023
            outcome = Ending(scenario.was, "TaskCancelled", "nothing was touched") if at < switch else scenario.ending
            if at >= lines[0] and len(lines) == 1:  # it is refused before it comes to a switch
                outcome = Ending(scenario.was, report.code) if report.code == scenario.ends else outcome
            check_end(scenario, host, before, report, outcome)


class Canceller(Trouble):
    """Cancels the order from this effect on."""

    has_stopped = False

    def __call__(self, when: str, effect: str, path: str) -> None:
        at, self.at = self.at, 0
        super().__call__(when, effect, path)
        self.at = at
        self.has_stopped = self.has_stopped or len(self.effects) >= at


# --- What begins meanwhile, and what comes next ---------------------------------------------------------------------

BEGINS = ["an unhealthy service that will not stop", "state that the new version breaks", "all at once"]


@pytest.mark.parametrize("scenario", BEGINS)
def test_a_backup_that_began_after_the_crash_is_never_killed(scenario: str, hosts: Hosts) -> None:
    """Its tree stays. With preserved state, or where it must be idle, recovery waits, and reports a wait in vain."""
    made = BY_ID[scenario]
    among = [found for found in cut_points_of(hosts, made) if found.when == "before"]
    before = hosts.before(made)
    for cut_point, moment in hosts.cut_off(made, some(among, 9, scenario)):
        host = hosts.at(moment)
        with naming(cut_point):
            backup = host.begin(host.shim_runs(), through_the_shim=True)
            outcome, waits = after_a_cut(made, host), must_wait(made, host)
            report = host.carry("recover", order_id="r-1", timeout_seconds=1)
            check_works(made, host)
            assert backup in host.processes
            assert (report.code == "BackupRunning") == waits
            host.finish(backup)
            check_end(made, host, before, ordered(made, host), outcome)


def must_wait(scenario: Scenario, host: SmallHost) -> bool:
    lines = [json.loads(line)["line"] for line in host.journal()]
    is_judged = "switching" in lines and ("proven" not in lines or "going back" in lines)
    return is_judged and (scenario.idle or (host.folder / "kept" / "index.json").exists())


def test_after_a_failed_rollback_the_next_order_may_bring_a_healthy_version(hosts: Hosts) -> None:
    """No attempt is open: no start can repair the old version."""
    host = hosts(BY_ID["state broken for good"])
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RollbackFailed", "1.0")
    assert "the rollback to 1.0 failed" in report.message
    recovered = host.carry("recover")
    assert (recovered.outcome, recovered.current_version, host.leftovers()) == ("succeeded", "1.0", [])
    assert host.carry("upgrade", "2.0").code == "RolledBack"  # it is quarantined
    host.add("3.0")
    report: Any = host.carry("upgrade", "3.0")
    assert (report.outcome, report.current_version) == ("succeeded", "3.0")
    assert "exit code 3" in report.details["unwell_before"]
