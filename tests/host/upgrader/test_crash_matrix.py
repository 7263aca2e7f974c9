"""F12: every effect of every kind of order: the power fails before it, after it, and again during recovery.

In a small fake host for all of it; test_transaction.py kills real processes at a sample of these instants.
"""

import errno
import itertools
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from host.upgrader.small_host import PACKAGE, PowerCut, SmallHost, Trouble, effects_of, suffering

SERVICE = {"start": [PACKAGE, "start"], "stop": [PACKAGE, "stop"], "ready": [PACKAGE, "ready"], "seconds": 1}


@dataclass(frozen=True)
class Scenario:
    """A host with 1.0 (or nothing), an order, and where it may end."""

    id: str
    kind: str = "upgrade"
    behaviour: str = ""  # of 2.0
    installed: bool = True
    serving: bool = False
    keeps: bool = False
    stones: bool = False
    fetch_fails: bool = False
    removes_state: bool = False

    @property
    def ends_well(self) -> bool:
        return not self.behaviour and not self.fetch_fails


SCENARIOS = [
    Scenario("an upgrade"),
    Scenario("an upgrade to an unwell version", behaviour="unwell"),
    Scenario("an install", kind="install", installed=False),
    Scenario("an install of an unwell version", kind="install", installed=False, behaviour="unwell"),
    Scenario("an uninstall", kind="uninstall"),
    Scenario("an uninstall that takes the state along", kind="uninstall", keeps=True, removes_state=True),
    Scenario("a service", serving=True, keeps=True),
    Scenario("a service that will not start", serving=True, behaviour="will-not-start"),
    Scenario("a service with an unwell version", serving=True, keeps=True, behaviour="unwell breaks-state"),
    Scenario("a service, uninstalled", kind="uninstall", serving=True),
    Scenario("state that the new version breaks", keeps=True, behaviour="breaks-state"),
    Scenario("over a stepping stone", stones=True),
    Scenario("over a stepping stone to an unwell version", stones=True, serving=True, behaviour="unwell"),
    Scenario("a download that fails", fetch_fails=True),
]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[[Scenario], SmallHost]]:
    """Hosts, each in a folder of its own that is gone when the next one is made; in memory where there is a place."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else tmp_path))
    numbers = itertools.count()

    def made(scenario: Scenario) -> SmallHost:
        number = next(numbers)
        if number:
            shutil.rmtree(folder / str(number - 1), ignore_errors=True)
        return prepared(scenario, folder / str(number))

    yield made
    shutil.rmtree(folder)


def prepared(scenario: Scenario, root: Path) -> SmallHost:
    host = SmallHost(root)
    host.state.mkdir()
    (host.state / "config").write_text("mine")
    (host.state / "config").chmod(0o640)
    more: dict[str, Any] = {"service": SERVICE} if scenario.serving else {}
    if scenario.keeps:
        more["keeps"] = [str(host.state)]
    host.add("1.0", **more)
    host.add("1.5", **more)
    host.add("2.0", scenario.behaviour, **more, upgrades_from=">=1.5" if scenario.stones else "")
    if scenario.installed:
        assert host.carry("install", "1.0").outcome == "succeeded"
    if scenario.serving:
        host.serving = "1.0"
    host.fetch_fails = scenario.fetch_fails
    return host


def ordered(scenario: Scenario, host: SmallHost) -> Any:
    version = "" if scenario.kind == "uninstall" else "2.0"
    return host.carry(scenario.kind, version, "u-1", remove_state=scenario.removes_state)


def check_works(host: SmallHost) -> None:
    """At any instant, before any recovery: whoever starts a backup gets a whole client, or none is installed."""
    if (host.root / "bin" / PACKAGE).exists():
        assert host.shim_runs() in ("1.0", "1.5", "2.0")


def check_end(scenario: Scenario, host: SmallHost, before: dict[str, str]) -> None:
    """After recovery: one definite state, told truly, nothing left lying about."""
    report = host.carry("upgrade", "2.0", "u-1") if scenario.kind == "upgrade" else ordered(scenario, host)
    assert host.leftovers() == []
    assert report.current_version == host.version() == host.shim_runs()
    done = {"uninstall": "", "install": "2.0", "upgrade": "2.0"}[scenario.kind]
    was = "1.0" if scenario.installed else ""
    assert host.version() in ((done, was) if scenario.ends_well else (was,))
    if host.version() == was:
        assert host.picture() == before
    assert report.outcome == ("succeeded" if host.version() == done != was else "failed")
    assert host.state.exists() != (scenario.removes_state and report.outcome == "succeeded")
    if scenario.serving and host.version():
        assert host.serving == host.version()
    assert host.carry("recover").outcome == "succeeded"  # no lock is held


def cuts(scenario: Scenario, fresh: Callable[[Scenario], SmallHost]) -> Iterator[tuple[int, str]]:
    effects = effects_of(lambda: fresh(scenario), lambda host: ordered(scenario, host))
    assert len(effects) >= 4
    return itertools.product(range(1, len(effects) + 1), ("before", "after"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
def test_the_power_fails_at_any_effect(scenario: Scenario, fresh: Callable[[Scenario], SmallHost]) -> None:
    """A working client before recovery; afterwards old or new, whole, nothing lying about, the report true."""
    for at, when in cuts(scenario, fresh):
        host = fresh(scenario)
        before = host.picture()
        with suffering(Trouble(at, when)) as trouble, pytest.raises(PowerCut):
            ordered(scenario, host)
        try:
            check_works(host)
            check_end(scenario, host, before)
        except AssertionError as problem:
            raise AssertionError(f"cut {when} effect {at}: {trouble.deeds[-1]}") from problem


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.kind != "install"], ids=lambda scenario: scenario.id)
def test_the_machine_is_switched_off_at_any_effect(scenario: Scenario, fresh: Callable[[Scenario], SmallHost]) -> None:
    """As above, and what was running is not: a service that ran before runs again."""
    for at, when in list(cuts(scenario, fresh))[::2]:
        host = fresh(scenario)
        with suffering(Trouble(at, when)), pytest.raises(PowerCut):
            ordered(scenario, host)
        host.serving = ""
        journal = host.folder / "journal"
        ours_to_start = journal.exists() and any(w in journal.read_text() for w in ('"switching"', '"removing"'))
        host.carry("recover", order_id="r-1")
        assert host.version() == host.shim_runs(), at
        assert host.leftovers() == [], at
        if scenario.serving and ours_to_start:
            assert host.serving == host.version(), at


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
def test_the_power_fails_again_during_recovery(scenario: Scenario, fresh: Callable[[Scenario], SmallHost]) -> None:
    """A sample of pairs of instants: recovery is as safe as what it recovers from."""
    chosen = random.Random(scenario.id)
    pairs = list(cuts(scenario, fresh))
    for at, when in chosen.sample(pairs, min(12, len(pairs))):
        for second in range(1, 40, 4):
            host = fresh(scenario)
            before = host.picture()
            with suffering(Trouble(at, when)), pytest.raises(PowerCut):
                ordered(scenario, host)
            try:
                with suffering(Trouble(second, chosen.choice(["before", "after"]))):
                    host.carry("recover", order_id="r-1")
            except PowerCut:
                check_works(host)
                check_end(scenario, host, before)
            else:
                break


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO], ids=lambda number: errno.errorcode[number])
@pytest.mark.parametrize("scenario", SCENARIOS[:9], ids=lambda scenario: scenario.id)
def test_the_disk_fails_at_any_effect(
    scenario: Scenario, error: int, lasts: bool, fresh: Callable[[Scenario], SmallHost]
) -> None:
    """F66: full, read-only or broken, once or for good: never between; and with the disk mended all is well again."""
    effects = effects_of(lambda: fresh(scenario), lambda host: ordered(scenario, host))
    for at in range(1, len(effects) + 1, 1 if error == errno.ENOSPC else 3):
        host = fresh(scenario)
        before = host.picture()
        with suffering(Trouble(at, "before", OSError(error, "as the test wished"), lasts)):
            report = ordered(scenario, host)
        try:
            check_works(host)
            assert report.outcome in ("succeeded", "failed")
            if report.outcome == "succeeded":
                assert report.current_version == host.version()
            check_mended(scenario, host, before)
        except AssertionError as problem:
            raise AssertionError(f"{effects[at - 1]} failed, {report}") from problem


def check_mended(scenario: Scenario, host: SmallHost, before: dict[str, str]) -> None:
    """The disk is well again: one more look, and the host is in a definite state."""
    host.carry("recover", order_id="r-1")
    assert host.leftovers() == []
    assert host.version() == host.shim_runs()
    done = {"uninstall": "", "install": "2.0", "upgrade": "2.0"}[scenario.kind]
    was = "1.0" if scenario.installed else ""
    assert host.version() in ((done, was) if scenario.ends_well else (was,))
    if host.version() == was:
        assert host.picture() == before
    if scenario.serving and host.version():
        assert host.serving == host.version()


@pytest.mark.parametrize("torn", range(0, 400, 37))
def test_a_torn_journal_is_read_up_to_the_tear(torn: int, fresh: Callable[[Scenario], SmallHost]) -> None:
    """Its last line is as good as none: the deed after it was not begun."""
    scenario = SCENARIOS[0]
    at = effects_of(lambda: fresh(scenario), lambda host: ordered(scenario, host)).index("append journal") + 1
    host = fresh(scenario)
    before = host.picture()
    with suffering(Trouble(at, "after")), pytest.raises(PowerCut):
        ordered(scenario, host)
    journal = host.folder / "journal"
    journal.write_bytes(journal.read_bytes()[: torn + 1])
    host.carry("recover", order_id="r-1")
    assert host.picture() == before
    assert host.leftovers() == []
