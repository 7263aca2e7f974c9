"""F66: every effect of every kind of order fails: full, read-only or broken disks, once or from then on.

An effect fails before it began, half done, or completely done. The host is never between two versions, and once the
disk works again everything is as it should be.
"""

import errno
import os
from collections.abc import Iterator

import pytest

from backfleet_host.contract import Report
from backfleet_host.upgrader.transaction import outcome, switching
from host.upgrader.moments import CutPoint, Moment
from host.upgrader.scenarios import (
    BY_ID,
    SCENARIOS,
    Ending,
    Hosts,
    Scenario,
    after_a_cut,
    after_another,
    check_end,
    check_works,
    cut_points,
    cut_points_of,
    few,
    hosts_in,
    naming,
    ordered,
    some,
)
from host.upgrader.small_host import PACKAGE, SmallHost, Trouble, counted, with_trouble

SAYS = {
    errno.ENOSPC: ("DiskFull", "no space left"),
    errno.EDQUOT: ("DiskFull", "no space left"),
    errno.EROFS: ("HostBusy", "cannot be written"),
    errno.EIO: ("InternalError", "OSError"),
}
"""What a report may say of it: code, and part of the message."""

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
once_or_longer = pytest.mark.parametrize("lasts", [False, True], ids=["once", "from then on"])


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with hosts_in(tmp_path_factory.mktemp("hosts")) as made:
        yield made


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for what cannot change on this host."""
    monkeypatch.setattr(switching, "LEFTOVERS_SECONDS", 0.0)
    monkeypatch.setattr(outcome, "UNDO_PAUSE_SECONDS", 0.0)


@once_or_longer
@every_scenario
def test_the_disk_is_full_at_any_effect(scenario: Scenario, lasts: bool, hosts: Hosts) -> None:
    """Effects that remove something succeed all the same."""
    among = [found for found in cut_points_of(hosts, scenario, syncs=True) if found.when == "before"]
    for cut_point in among if not lasts else some(among, len(among) // 3, scenario.id):
        check_failing(scenario, hosts, cut_point, errno.ENOSPC, lasts)


@pytest.mark.parametrize("error", [errno.EDQUOT, errno.EROFS, errno.EIO], ids=lambda number: errno.errorcode[number])
@once_or_longer
@every_scenario
def test_the_disk_fails_at_some_effects(scenario: Scenario, error: int, lasts: bool, hosts: Hosts) -> None:
    """Before, half-way through or after them."""
    among = cut_points_of(hosts, scenario, syncs=True)
    for cut_point in some(among, 5, f"{scenario} {error} {lasts}"):
        check_failing(scenario, hosts, cut_point, error, lasts)


@every_scenario
def test_a_full_disk_is_reported_after_the_effect_was_made(scenario: Scenario, hosts: Hosts) -> None:
    """Completely or half: the other kinds of failure, for full disks."""
    among = [found for found in cut_points_of(hosts, scenario, syncs=True) if found.when != "before"]
    for cut_point in some(among, 5, scenario.id):
        check_failing(scenario, hosts, cut_point, errno.ENOSPC, lasts=False)


@pytest.mark.parametrize("error", list(SAYS), ids=lambda number: errno.errorcode[number])
@pytest.mark.parametrize("kind", ["an install", "an install of an unhealthy version"])
def test_half_a_shim_is_not_left_among_other_programs(kind: str, error: int, hosts: Hosts) -> None:
    """Nobody tidies up in the folder of shims: who fails to write one removes what there is of it."""
    scenario = BY_ID[kind]
    among = cut_points_of(hosts, scenario, syncs=True)
    shims = [found for found in among if found.effect == f"write .{PACKAGE}.partial" and found.when != "before"]
    for cut_point in shims:
        check_failing(scenario, hosts, cut_point, error, lasts=False)
    assert shims


def check_failing(scenario: Scenario, hosts: Hosts, cut_point: CutPoint, error: int, lasts: bool) -> None:
    before, host = hosts.before(scenario), hosts(scenario)
    with naming(f"{errno.errorcode[error]}{' from' if lasts else ''} {cut_point}"):
        with with_trouble(cut_point.trouble(OSError(error, os.strerror(error)), lasts=lasts)) as done:
            report = ordered(scenario, host)
        check_works(scenario, host)
        if LEFT in report.message:
            check_left(host, report)
            return
        check_report(scenario, host, report, error, lasts)
        outcome = after_another(scenario, host, Ending(host.version(), report.code))
        check_end(scenario, host, before, ordered(scenario, host), outcome, excused(done, cut_point, lasts=lasts))


def check_report(scenario: Scenario, host: SmallHost, report: Report, error: int, lasts: bool) -> None:
    """Check that the report is true: the order's own end, the disk's failure, or that the rollback failed too."""
    code, text = SAYS[error]
    assert report.current_version == host.version()
    assert host.locked() == []
    if report.code == "RollbackFailed":
        assert lasts or scenario.ends == "RollbackFailed"
    elif report.code != scenario.ends:
        assert (report.code, text in report.message) == (code, True)
    assert (report.outcome == "succeeded") == (report.code == "")
    if report.code not in ("", "RollbackFailed"):
        assert report.current_version == scenario.was


LEFT = "the client was removed, but its state was not"


def check_left(host: SmallHost, report: Report) -> None:
    """Check an uninstall that could not remove the state, which comes last and is not rolled back."""
    assert (report.outcome, report.code, host.version()) == ("failed", "InternalError", "")
    host.carry("recover")
    assert (host.leftovers(), host.trees(), host.facts()) == ([], set(), set())


def excused(done: Trouble, cut_point: CutPoint, *, lasts: bool) -> str:
    """Return what may have failed: settings, which another order brings again, and the memory of a failure."""
    failing = done.effects[cut_point.at - 1 :] if lasts else done.effects[max(0, cut_point.at - 4) : cut_point.at]
    touched = [word for effect in failing for word, names in EXCUSED.items() if any(name in effect for name in names)]
    return " ".join(touched)


EXCUSED = {"settings": ["settings.json"], "evidence": ["mkdir 2.0", "mkdir 1.5", "output", "reason.json"]}


@pytest.mark.parametrize("error", list(SAYS), ids=lambda number: errno.errorcode[number])
@every_scenario
def test_the_disk_fails_during_recovery(scenario: Scenario, error: int, hosts: Hosts) -> None:
    """From a power cut on, until it works again."""
    for first, moment in hosts.cut_off(scenario, few(cut_points_of(hosts, scenario), 2, f"{scenario} {error}")):
        seconds = cut_points(counted(lambda: hosts.at(moment), recover), syncs=True)  # noqa: B023 - called at once
        for second in few(seconds, 2, f"{scenario} {error} {first}"):
            with naming(first, f"{errno.errorcode[error]} from {second}"):
                check_failing_recovery(scenario, hosts, moment, second, error)


def recover(host: SmallHost) -> Report:
    return host.carry("recover", order_id="r-1")


def check_failing_recovery(scenario: Scenario, hosts: Hosts, moment: Moment, second: CutPoint, error: int) -> None:
    before, host = hosts.before(scenario), hosts.at(moment)
    outcome = after_a_cut(scenario, host)
    was_open = bool(host.journal())
    with with_trouble(second.trouble(OSError(error, os.strerror(error)), lasts=True)) as done:
        report = recover(host)
    check_works(scenario, host)
    if LEFT in report.message:
        check_left(host, report)
        return
    assert report.current_version == host.version()
    outcome = after_another(scenario, host, Ending(host.version(), report.code) if was_open else outcome)
    check_end(scenario, host, before, ordered(scenario, host), outcome, excused(done, second, lasts=True))
