"""Scenarios for the crash and disk matrices: hosts, orders, how each ends undisturbed, and how after each cut point."""

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backfleet_host.contract import Report
from host.upgrader.moments import CutPoint, Moment, Picture, host_at, moments, pictured, write_picture
from host.upgrader.small_host import PACKAGE, PowerCut, SmallHost, Trouble, counted, with_trouble

WHOLE = bool(os.environ.get("BACKFLEET_WHOLE_MATRIX"))  # every instant with every error, and many pairs: eight minutes

SERVICE = {"start": [PACKAGE, "start"], "stop": [PACKAGE, "stop"], "ready": [PACKAGE, "ready"], "seconds": 1}
PROBE = f'[[probe]]\nname = "a look"\ncommand = ["{PACKAGE}", "probe"]\nexpect = "asked"\n'


@dataclass(frozen=True)
class Scenario:
    """A host, an order, and how the order ends if nothing disturbs it."""

    id: str
    ends: str = ""  # the report's code; "" is success
    because: str = ""  # part of its message
    kind: str = "upgrade"
    goal: str = "2.0"
    had: tuple[str, ...] = ("1.0",)  # versions it had, one after the other
    old: str = ""  # behaviour of 1.0
    intermediate: str | None = None  # behaviour of 1.5, if it is on the upgrade path
    new: str = ""  # behaviour of 2.0
    serving: bool = False
    keeps: bool = False
    idle: bool = False
    probes: bool = False
    damaged: str = ""  # a version whose tree is
    beside: str = ""  # a version something runs from, straight from its tree
    backing_up: str = ""  # a version a backup runs on, that came through the shim
    fetch_fails: bool = False
    removes_state: bool = False
    added: bool = False  # somebody put files into the tree of the installed version
    named_users: bool = False  # the host policy names those who run the client
    quarantines: bool = True  # a version that is rolled back

    @property
    def was(self) -> str:
        return self.had[-1] if self.had else ""

    @property
    def ending(self) -> "Ending":
        return Ending(self.was if self.ends else self.goal, self.ends, self.because)

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True)
class Ending:
    """What must be true at the end, and what the report must say."""

    version: str
    code: str
    because: str = ""


FAILS = "fails-for-others"
ADDED = ("bin/courier.conf", "cache/one")
UNHEALTHY = ("RolledBack", "exit code 3")
REFUSES = ("HostBusy", "would not")
INSTALL = {"kind": "install", "had": ()}
UNINSTALL = {"kind": "uninstall", "goal": ""}
SERVING = {"serving": True, "keeps": True}
ALL = {**SERVING, "idle": True, "probes": True, "had": ("0.9", "1.0"), "intermediate": ""}

SCENARIOS = [
    Scenario("an upgrade"),
    Scenario("an upgrade to an unhealthy version", *UNHEALTHY, new="unhealthy"),
    Scenario("an upgrade of what must be idle", idle=True),
    Scenario("a third version", had=("0.9", "1.0")),
    Scenario("a third version that is unhealthy", *UNHEALTHY, had=("0.9", "1.0"), new="unhealthy"),
    Scenario("a third version, while something runs from the first", had=("0.9", "1.0"), beside="0.9"),
    Scenario("an upgrade beside a backup", had=("0.9", "1.0"), backing_up="1.0"),
    Scenario("an unhealthy upgrade beside a backup", *UNHEALTHY, backing_up="1.0", new="unhealthy"),
    Scenario("an install", **INSTALL),
    Scenario("an install of an unhealthy version", *UNHEALTHY, **INSTALL, new="unhealthy"),
    Scenario("over a damaged tree", had=("2.0", "1.0"), damaged="2.0"),
    Scenario(
        "over a damaged tree to an unhealthy version", *UNHEALTHY, had=("2.0", "1.0"), damaged="2.0", new="unhealthy"
    ),
    Scenario("over a damaged tree in use", "HostBusy", "damaged", had=("2.0", "1.0"), damaged="2.0", beside="2.0"),
    Scenario("from a damaged tree", had=("0.9", "1.0"), damaged="1.0"),
    Scenario("from a damaged tree to an unhealthy version", *UNHEALTHY, damaged="1.0", new="unhealthy"),
    Scenario("what is damaged, again", goal="1.0", had=("0.9", "1.0"), damaged="1.0"),
    Scenario("a download that fails", "DownloadFailed", "network", fetch_fails=True),
    Scenario("an uninstall", **UNINSTALL, had=("0.9", "1.0")),
    Scenario("an uninstall that takes the state along", **UNINSTALL, keeps=True, removes_state=True),
    Scenario("a service", **SERVING),
    Scenario("a service that will not start", "RolledBack", "start ended", serving=True, new="will-not-start"),
    Scenario("a service with an unhealthy version", *UNHEALTHY, **SERVING, new="unhealthy breaks-state"),
    Scenario("a service that will not stop", *REFUSES, **SERVING, old="will-not-stop"),
    Scenario("a service that stops and runs on", "HostBusy", "still runs", **SERVING, old="leaves-a-worker"),
    Scenario("an unhealthy service that will not stop", *UNHEALTHY, serving=True, new="unhealthy will-not-stop"),
    Scenario("a service, uninstalled", **UNINSTALL, serving=True),
    Scenario("a service, uninstalled with its state", **UNINSTALL, **SERVING, removes_state=True),
    Scenario("a service that will not stop, uninstalled", *REFUSES, **UNINSTALL, serving=True, old="will-not-stop"),
    Scenario("state that the new version breaks", "RolledBack", "its sha256 changed", keeps=True, new="breaks-state"),
    Scenario(
        "state broken for good", "RollbackFailed", UNHEALTHY[1], old="minds-its-state", new="unhealthy breaks-state"
    ),
    Scenario("a version that was unhealthy before", old="ages"),
    Scenario("an unhealthy version after an unhealthy one", *UNHEALTHY, old="ages", new="unhealthy", quarantines=False),
    Scenario("a file beside the program", added=True),
    Scenario("a file beside the program, and an unhealthy version", *UNHEALTHY, added=True, new="unhealthy"),
    Scenario("a file beside a damaged program", added=True, damaged="1.0"),
    Scenario("a shim that another user runs", named_users=True),
    Scenario("a shim that another user cannot run", "RolledBack", "does not run for", new=FAILS, named_users=True),
    Scenario("a shim that another user never could run", old=FAILS, new=FAILS, named_users=True),
    Scenario("a host that looks for itself", probes=True),
    Scenario("a host that is not content", "RolledBack", "'a look'", probes=True, new="fails-the-probe"),
    Scenario("a host that was not content before", probes=True, old="fails-the-probe", new="fails-the-probe"),
    Scenario("over an intermediate version", intermediate=""),
    Scenario(
        "over an intermediate version to an unhealthy version",
        *UNHEALTHY,
        intermediate="",
        serving=True,
        new="unhealthy",
    ),
    Scenario("over an unhealthy intermediate version", *UNHEALTHY, **SERVING, intermediate="unhealthy"),
    Scenario(
        "over an intermediate version that will not stop",
        "RolledBack",
        "would not",
        intermediate="will-not-stop",
        serving=True,
    ),
    Scenario("all at once", **ALL),
    Scenario("all at once, to an unhealthy version", *UNHEALTHY, **ALL, new="unhealthy breaks-state"),
]
RICHEST = SCENARIOS[-2:]
BY_ID = {scenario.id: scenario for scenario in SCENARIOS}


# --- Hosts ----------------------------------------------------------------------------------------------------------


class Hosts:
    """Makes hosts of a scenario, one after the other in the same folder, each as if it were new."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "host"
        self._made: dict[str, tuple[SmallHost, Picture]] = {}
        self._counted: dict[str, Trouble] = {}
        self._before: dict[str, dict[str, str]] = {}

    def __call__(self, scenario: Scenario) -> SmallHost:
        shutil.rmtree(self._root, ignore_errors=True)
        if scenario.id not in self._made:
            host = prepared(scenario, self._root)
            host.reboot()
            self._made[scenario.id] = host, pictured(self._root)
        else:
            write_picture(self._root, self._made[scenario.id][1])
        host = SmallHost(self._root)
        host.releases = dict(self._made[scenario.id][0].releases)
        begin(scenario, host)
        if scenario.id not in self._before:
            self._before[scenario.id] = host.picture()
        return host

    def at(self, moment: Moment) -> SmallHost:
        """Make a host that is as another was at this moment."""
        shutil.rmtree(self._root, ignore_errors=True)
        return host_at(moment)

    def cut_off(self, scenario: Scenario, among: Sequence[CutPoint]) -> Iterator[tuple[CutPoint, Moment]]:
        """Let the power fail at each of these cut points of the scenario's order."""
        return moments(self(scenario), lambda host: ordered(scenario, host), among)

    def counted(self, scenario: Scenario) -> Trouble:
        """Return the effects of the scenario's order: they are the same each time."""
        if scenario.id not in self._counted:
            self._counted[scenario.id] = counted(lambda: self(scenario), lambda host: ordered(scenario, host))
        return self._counted[scenario.id]

    def before(self, scenario: Scenario) -> dict[str, str]:
        """Return what users can notice of a host before the order: it is the same each time. One was made already."""
        return self._before[scenario.id]


@contextmanager
def hosts_in(tmp_path: Path) -> Iterator[Hosts]:
    """Make hosts in memory if there is a file system for that."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else tmp_path))
    try:
        yield Hosts(folder)
    finally:
        shutil.rmtree(folder)


def prepared(scenario: Scenario, root: Path) -> SmallHost:
    host = SmallHost(root)
    host.state.mkdir()
    (host.state / "config").write_text("mine")
    (host.state / "config").chmod(0o640)
    more: dict[str, Any] = {"service": SERVICE} if scenario.serving else {}
    more["switch"] = "idle" if scenario.idle else "anytime"
    if scenario.keeps:
        more["keeps"] = [str(host.state)]
    for version, behaviour in (("0.9", ""), ("1.0", scenario.old), ("1.5", scenario.intermediate or ""), ("2.0", "")):
        host.add(version, behaviour, **more)
    for number, version in enumerate(scenario.had):
        kind = "upgrade" if number else "install"
        if number and version < scenario.had[number - 1]:
            del host.releases[scenario.had[number - 1]]  # withdrawn: only so does a host go down; it is added again
        assert host.carry(kind, version, settings={"cores": 1}).outcome == "succeeded"
    host.add("2.0", scenario.new, **more, upgrades_from="" if scenario.intermediate is None else ">=1.5")
    if scenario.damaged:
        program = host.folder / "versions" / scenario.damaged / "share" / "help"
        program.chmod(0o644)
        program.write_text("damaged")
    if scenario.added:
        for name in ADDED:
            path = host.folder / "versions" / scenario.was / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("mine")
    if scenario.named_users:
        host.installation.etc.mkdir(parents=True)
        (host.installation.etc / "host.toml").write_text('users = ["nobody"]\n')
    if scenario.probes:
        host.installation.etc.mkdir(parents=True)
        (host.installation.etc / f"{PACKAGE}.toml").write_text(PROBE)
    return host


def begin(scenario: Scenario, host: SmallHost) -> None:
    """Start what no disk remembers: processes and the age of versions."""
    host.fetch_fails, host.aged = scenario.fetch_fails, True
    if scenario.serving:
        host.serving = scenario.was
    if scenario.beside:
        host.begin(scenario.beside)
    if scenario.backing_up:
        host.begin(scenario.backing_up, through_the_shim=True)


def ordered(scenario: Scenario, host: SmallHost, **more: Any) -> Report:
    more = {"remove_state": scenario.removes_state, "settings": {"cores": 2}, **more}
    return host.carry(scenario.kind, scenario.goal, "u-1", **more)


# --- Instants -------------------------------------------------------------------------------------------------------


def cut_points(done: Trouble, *, syncs: bool = False) -> list[CutPoint]:
    """Return the cut points at which a power cut leaves something else than at the one before.

    A `sync` changes nothing that is seen. After an effect the disk is as before the next one, unless a program ran in
    between.
    """
    found = []
    for at, (effect, calls) in enumerate(zip(done.effects, done.calls, strict=True), 1):
        if effect.startswith("sync ") and not syncs and at not in done.between:
            continue
        halves = range(1, calls) if WHOLE else [calls // 2] if calls > 1 else []
        if effect.startswith(("append ", "write ")):
            halves = [1]  # torn
        found += [CutPoint(at, "before", effect), *(CutPoint(at, "half", effect, half) for half in halves)]
        if WHOLE or syncs or at in done.between or at == len(done.effects):
            found.append(CutPoint(at, "after", effect))
    return found


def cut_points_of(hosts: Hosts, scenario: Scenario, *, syncs: bool = False) -> list[CutPoint]:
    return cut_points(hosts.counted(scenario), syncs=syncs)


def cut(cut_point: CutPoint, act: Callable[[], Any]) -> bool:
    """Act until the power fails at this cut point; return whether it did."""
    try:
        with with_trouble(cut_point.trouble()):
            act()
    except PowerCut:
        return True
    return False


@contextmanager
def naming(*what: object) -> Iterator[None]:
    """Say after which cut points an assertion failed."""
    try:
        yield
    except AssertionError as problem:
        raise AssertionError(", then ".join(map(str, what))) from problem


def some(among: Sequence[Any], most: int, seed: str) -> Sequence[Any]:
    """Return a sample that is the same in every run; everything if the whole matrix was asked for."""
    return among if WHOLE else few(among, most, seed)


def few(among: Sequence[Any], most: int, seed: str) -> Sequence[Any]:
    """Return a sample as `some`, where everything would take days: five times as many for the whole matrix."""
    most = most * 5 if WHOLE else most
    return among if len(among) <= most else random.Random(seed).sample(among, most)


# --- What must be true ----------------------------------------------------------------------------------------------


def after_a_cut(scenario: Scenario, host: SmallHost, otherwise: Ending | None = None) -> Ending:
    """Return how a cut-off order must end, by its journal and where `current` points: the crash table of docs/host.md.

    If no attempt is open, the order had not begun or was over: then it is `otherwise`.
    """
    lines = {line["line"]: line for line in map(json.loads, host.journal())}
    if "order" not in lines:
        return otherwise or scenario.ending
    if "going back" in lines:
        ending = Ending(scenario.was, lines["going back"]["code"], lines["going back"]["reason"])
        is_in_vain = scenario.ends == "RollbackFailed" and ending.code == "RolledBack"
        return scenario.ending if is_in_vain else ending
    if "proven" in lines:
        return Ending(scenario.goal, "", "finished after a crash")
    if "removing" in lines:
        return scenario.ending if scenario.ends else Ending("", "", "finished after a crash")
    if "switching" in lines and host.version() == scenario.goal != scenario.was:
        return scenario.ending if scenario.ends else Ending(scenario.goal, "", "verified after a crash")
    return Ending(scenario.was, "InternalError" if "switching" in lines else "HostBusy", "ask again")


def after_another(scenario: Scenario, host: SmallHost, first: Ending) -> Ending:
    """Return the ending as `after_a_cut`, after a recovery that was to end as `first` was cut off itself."""
    is_over = host.installation.package(PACKAGE).outcome("u-1").exists()
    return after_a_cut(scenario, host, first if is_over else None)


def check_works(scenario: Scenario, host: SmallHost) -> None:
    """Check that, even before recovery, a backup gets an intact client, or none is installed.

    And that running processes lose nothing of the tree that they run from.
    """
    if (host.root / "bin" / PACKAGE).exists() and scenario.damaged != scenario.was:
        assert host.shim_runs()
    for process in host.processes.values():
        assert (host.folder / "versions" / process.version / "bin" / "courier").exists()


def check_end(
    scenario: Scenario, host: SmallHost, before: dict[str, str], report: Report, ending: Ending, excused: str = ""
) -> None:
    """Check for one definite state, a true report and no leftovers. What is in `excused` may have failed."""
    check_report(report, ending)
    check_tidy(scenario, host)
    assert report.current_version == host.version() == ending.version
    check_outcome(scenario, host, before, report)
    if "settings" not in excused:
        assert settings_of(host) == ((1 if ending.code else 2) if host.version() else None)
    if "evidence" not in excused:
        is_rolled_back = report.code in ("RolledBack", "RollbackFailed")
        assert host.is_quarantined() == (is_rolled_back and scenario.quarantines)
    if scenario.serving:
        assert host.serving == host.version()


def check_report(report: Report, ending: Ending) -> None:
    assert (report.outcome, report.code) == ("failed" if ending.code else "succeeded", ending.code)
    assert ending.because in report.message


def check_tidy(scenario: Scenario, host: SmallHost) -> None:
    """Check that no lock is held, nothing is half-made, and only needed trees are there, each with its facts."""
    package = host.installation.package(PACKAGE)
    assert host.leftovers() == []
    assert host.locked() == []
    running = {process.version for process in host.processes.values()}
    assert host.trees() == host.facts() == {package.version(), package.version_before(), *running} - {""}
    assert (host.root / "bin" / PACKAGE).exists() == bool(host.version())
    if scenario.damaged != host.version():
        assert host.shim_runs() == host.version()


def check_outcome(scenario: Scenario, host: SmallHost, before: dict[str, str], report: Report) -> None:
    """Check that everything is of the goal, or everything is as it was."""
    succeeded = report.outcome == "succeeded"
    if scenario.added:
        assert [(host.folder / "current" / name).read_text() for name in ADDED] == ["mine", "mine"]
    assert host.state.exists() != (scenario.removes_state and succeeded)
    if succeeded:
        was = before.get("courier/previous", "") if scenario.goal == scenario.was else f"-> versions/{scenario.was}"
        after = host.picture()
        assert after.get("courier/previous", "") == (was if scenario.goal and scenario.was else "")
        assert not scenario.goal or host.damage(scenario.goal) == ""
        assert list((host.folder / "downloads").iterdir()) == []
    elif report.code != "RollbackFailed":
        assert comparable(scenario, host.picture()) == comparable(scenario, before)


def settings_of(host: SmallHost) -> int | None:
    file = host.folder / "settings.json"
    return json.loads(file.read_text())["cores"] if file.exists() else None


def comparable(scenario: Scenario, picture: dict[str, str]) -> dict[str, str]:
    """Leave out a damaged tree and the link to it: it may be gone or repaired."""
    gone = [f"courier/versions/{scenario.damaged}/"] if scenario.damaged else []
    gone += ["courier/previous"] if scenario.damaged not in ("", scenario.was) else []
    return {name: what for name, what in picture.items() if not name.startswith(tuple(gone))}
