"""F12: every effect of every kind of order: the power fails before it, half-way through it, after it, and again.

In a small fake host for all of it; test_power_cuts.py kills real processes at a sample of these instants.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader.transaction import outcome, switching
from host.upgrader.scenarios import (
    BY_ID,
    RICHEST,
    SCENARIOS,
    WHOLE,
    Ending,
    Hosts,
    Instant,
    Scenario,
    after_a_cut,
    after_another,
    check_end,
    check_works,
    cut,
    few,
    hosts_in,
    instants,
    instants_of,
    ordered,
    some,
    told_of,
)
from host.upgrader.small_host import PACKAGE, SmallHost, Trouble, counted, hearing, suffering

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=str)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with hosts_in(tmp_path) as made:
        yield made


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on this host gets better by itself."""
    monkeypatch.setattr(switching, "LEFTOVERS_SECONDS", 0.0)
    monkeypatch.setattr(outcome, "UNDO_PAUSE_SECONDS", 0.0)


# --- Undisturbed ----------------------------------------------------------------------------------------------------


@every_scenario
def test_undisturbed_it_ends_as_the_table_says(scenario: Scenario, hosts: Hosts) -> None:
    host = hosts(scenario)
    before = host.picture()
    check_end(scenario, host, before, ordered(scenario, host), scenario.ending)


@every_scenario
def test_no_change_is_made_outside_an_effect(scenario: Scenario, hosts: Hosts) -> None:
    """So that no instant is missing here: each system call that changes a disk belongs to one. Locks are none."""
    host, trouble = hosts(scenario), Trouble()
    outside: list[str] = []
    with suffering(trouble), hearing(lambda call: None if trouble.is_within else outside.append(call)):
        ordered(scenario, host)
    assert len(trouble.effects) >= 4
    assert [call for call in outside if not call.startswith("program") and Path(call).name not in LOCKS] == []


LOCKS = ("lock", "gate", "running")


# --- The power fails ------------------------------------------------------------------------------------------------


@every_scenario
def test_the_power_fails_at_any_instant(scenario: Scenario, hosts: Hosts) -> None:
    """A working client before recovery; afterwards what the crash table says, whoever comes first."""
    before = hosts(scenario).picture()
    for instant in instants_of(hosts, scenario):
        host = hosts(scenario)
        with told_of(instant):
            assert cut(instant, lambda: ordered(scenario, host))  # noqa: B023 - called at once
            check_works(scenario, host)
            outcome = after_a_cut(scenario, host)
            if instant.at % 2:
                host.carry("recover", order_id="r-1")
            check_end(scenario, host, before, ordered(scenario, host), outcome)


@every_scenario
def test_the_machine_is_switched_off_at_any_instant(scenario: Scenario, hosts: Hosts) -> None:
    """As above, and nothing runs any more: a service that had been stopped by us, or was to be, runs again."""
    before = hosts(scenario).picture()
    among = instants_of(hosts, scenario)
    for instant in some(among, len(among) // 4, scenario.id):
        host = hosts(scenario)
        with told_of(instant):
            assert cut(instant, lambda: ordered(scenario, host))  # noqa: B023
            ours_to_start = any('"switching"' in line or '"removing"' in line for line in host.journal())
            host.reboot()
            check_works(scenario, host)
            outcome = ending_after_reboot(scenario, host)
            if not ours_to_start and scenario.serving:
                host.serving = host.version()  # its administrator's affair, or systemd's
            check_end(scenario, host, before, ordered(scenario, host), outcome)


def ending_after_reboot(scenario: Scenario, host: SmallHost) -> Ending:
    """What stood in the way may be gone with all that ran."""
    outcome = after_a_cut(scenario, host)
    is_new = not host.journal() and not host.installation.package(PACKAGE).outcome("u-1").exists()
    return Ending(scenario.goal, "") if is_new and scenario.beside == scenario.damaged != "" else outcome


@pytest.mark.parametrize("scenario", RICHEST, ids=str)
def test_the_power_fails_twice_at_any_two_instants(scenario: Scenario, hosts: Hosts) -> None:
    """Recovery is as safe as what it recovers from."""
    before = hosts(scenario).picture()
    for first in instants_of(hosts, scenario):
        seconds = [second for second in recovery_from(first, scenario, hosts) if second.when == "before"]
        for second in some(seconds, len(seconds) // 6 + 1, f"{scenario} {first}"):
            check_both(scenario, hosts, before, first, second)


@every_scenario
def test_the_power_fails_twice_at_some_instants(scenario: Scenario, hosts: Hosts) -> None:
    """A sample of pairs."""
    before = hosts(scenario).picture()
    for first in few(instants_of(hosts, scenario), 4, scenario.id):
        for second in few(recovery_from(first, scenario, hosts), 3, f"{scenario} {first}"):
            check_both(scenario, hosts, before, first, second)


def recovery_from(first: Instant, scenario: Scenario, hosts: Hosts) -> list[Instant]:
    """The instants of what comes after the power failed there."""
    host = hosts(scenario)
    assert cut(first, lambda: ordered(scenario, host))
    return instants(counted(lambda: host, lambda it: it.carry("recover", order_id="r-1")))


def check_both(scenario: Scenario, hosts: Hosts, before: dict[str, str], first: Instant, second: Instant) -> None:
    host = hosts(scenario)
    with told_of(first, second):
        assert cut(first, lambda: ordered(scenario, host))
        outcome = after_a_cut(scenario, host)
        assert cut(second, lambda: host.carry("recover", order_id="r-1"))
        check_works(scenario, host)
        outcome = after_another(scenario, host, outcome)
        check_end(scenario, host, before, ordered(scenario, host), outcome)


# --- Torn lines -----------------------------------------------------------------------------------------------------

LINES = [
    pytest.param("order", "an upgrade", id="order"),
    pytest.param("switching", "a service with an unwell version", id="switching"),
    pytest.param("going back", "a service with an unwell version", id="going back"),
    pytest.param("proven", "a service", id="proven"),
    pytest.param("removing", "a service, uninstalled with its state", id="removing"),
    pytest.param("removing", "a service that will not stop, uninstalled", id="removing in vain"),
    pytest.param("going back", "a service that will not stop, uninstalled", id="putting back"),
]


@pytest.mark.parametrize(("line", "scenario"), LINES)
def test_a_torn_line_is_as_good_as_none(line: str, scenario: str, hosts: Hosts) -> None:
    """The deed after it was not begun. What the recovery writes after the tear counts, should it be cut off too."""
    made = BY_ID[scenario]
    before = hosts(made).picture()
    after = instant_after(line, made, hosts)
    for left in lengths_of_a_tear(after, made, hosts):
        host = torn(after, left, made, hosts)
        outcome = after_a_cut(made, host)
        seconds = instants(counted(lambda: host, lambda it: it.carry("recover", order_id="r-1")))  # noqa: B023
        with told_of(after, f"{left} bytes of it are left"):
            check_end(made, host, before, ordered(made, host), outcome)
        for second in few(seconds, 3, f"{scenario} {left}"):
            host = torn(after, left, made, hosts)
            with told_of(after, f"{left} bytes of it are left", second):
                assert cut(second, lambda: host.carry("recover", order_id="r-1"))  # noqa: B023
                ending_now = after_another(made, host, outcome)
                check_end(made, host, before, ordered(made, host), ending_now)


def instant_after(line: str, scenario: Scenario, hosts: Hosts) -> Instant:
    """The one just after this line was written."""
    done = counted(lambda: hosts(scenario), lambda host: ordered(scenario, host))
    for at, effect in enumerate(done.effects, 1):
        if effect == "append journal":
            host = hosts(scenario)
            assert cut(Instant(at, "after", effect), lambda: ordered(scenario, host))  # noqa: B023
            if json.loads(host.journal()[-1])["line"] == line:
                return Instant(at, "after", effect)
    raise AssertionError(f"{scenario} writes no such line")


def lengths_of_a_tear(after: Instant, scenario: Scenario, hosts: Hosts) -> list[int]:
    """Its first byte, some more, all but its end."""
    host = hosts(scenario)
    assert cut(after, lambda: ordered(scenario, host))
    length = len(host.journal()[-1])
    return [1, *range(9, length, 37 if not WHOLE else 1), length - 1, length]


def torn(after: Instant, left: int, scenario: Scenario, hosts: Hosts) -> SmallHost:
    """A host that has so many bytes of the line."""
    host = hosts(scenario)
    assert cut(after, lambda: ordered(scenario, host))
    journal = host.folder / "journal"
    content = journal.read_bytes()
    journal.write_bytes(content[: content[:-1].rfind(b"\n") + 1 + left])
    return host


# --- Somebody stops it ----------------------------------------------------------------------------------------------


@every_scenario
def test_it_is_stopped_at_any_instant(scenario: Scenario, hosts: Hosts) -> None:
    """Up to the switch nothing has changed; after it, it ends as if nobody had said anything."""
    before = hosts(scenario).picture()
    effects = counted(lambda: hosts(scenario), lambda host: ordered(scenario, host)).effects
    lines = [at for at, effect in enumerate(effects, 1) if effect == "append journal"]
    switch = lines[1] if len(lines) > 1 else len(effects) + 1
    for at in some(range(1, len(effects) + 1), len(effects) // 4, scenario.id):
        host = hosts(scenario)
        stopper = Stopper(at)
        with told_of(f"stopped at effect {at}, {effects[at - 1]}"):
            with suffering(stopper):
                report = ordered(scenario, host, stopping=lambda: stopper.has_stopped)  # noqa: B023
            outcome = Ending(scenario.was, "TaskCancelled", "nothing was touched") if at < switch else scenario.ending
            if at >= lines[0] and len(lines) == 1:  # it is refused before it comes to a switch
                outcome = Ending(scenario.was, report.code) if report.code == scenario.ends else outcome
            check_end(scenario, host, before, report, outcome)


class Stopper(Trouble):
    """Whoever gave the order wants it no more from this effect on."""

    has_stopped = False

    def __call__(self, when: str, effect: str, path: str) -> None:
        at, self.at = self.at, 0
        super().__call__(when, effect, path)
        self.at = at
        self.has_stopped = self.has_stopped or len(self.effects) >= at


# --- What begins meanwhile, and what comes next ---------------------------------------------------------------------

BEGINS = ["an unwell service that will not stop", "state that the new version breaks", "all at once"]


@pytest.mark.parametrize("scenario", BEGINS)
def test_a_backup_that_began_after_the_crash_is_never_ended(scenario: str, hosts: Hosts) -> None:
    """Its tree stays; where state is kept or it must be idle the recovery waits, and says so if it waited in vain."""
    made = BY_ID[scenario]
    before = hosts(made).picture()
    for instant in some([found for found in instants_of(hosts, made) if found.when == "before"], 9, scenario):
        host = hosts(made)
        with told_of(instant):
            assert cut(instant, lambda: ordered(made, host))  # noqa: B023
            backup = host.begin(host.shim_runs(), through_the_shim=True)
            outcome, waits = after_a_cut(made, host), must_wait(made, host)
            report = host.carry("recover", order_id="r-1", patience=1)
            check_works(made, host)
            assert backup in host.processes
            assert (report.code == "BackupRunning") == waits
            host.finish(backup)
            check_end(made, host, before, ordered(made, host), outcome)


def must_wait(scenario: Scenario, host: SmallHost) -> bool:
    said = [json.loads(line)["line"] for line in host.journal()]
    is_judged = "switching" in said and ("proven" not in said or "going back" in said)
    return is_judged and (scenario.idle or (host.folder / "kept" / "index.json").exists())


def test_after_a_way_back_that_failed_the_next_order_may_bring_what_is_well(hosts: Hosts) -> None:
    """Nothing is open: what the old version lacks no start can give it."""
    host = hosts(BY_ID["state broken for good"])
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RollbackFailed", "1.0")
    assert "the rollback to 1.0 failed" in report.message
    recovered = host.carry("recover")
    assert (recovered.outcome, recovered.current_version, host.leftovers()) == ("succeeded", "1.0", [])
    assert host.carry("upgrade", "2.0").code == "RolledBack"  # it is held back
    host.add("3.0")
    report: Any = host.carry("upgrade", "3.0")
    assert (report.outcome, report.current_version) == ("succeeded", "3.0")
    assert "exit code 3" in report.details["unwell_before"]
