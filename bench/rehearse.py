"""Rehearsals: the host program is upgraded again and again under faults, and hosts that are stranded are counted.

    .venv/bin/python bench/rehearse.py [--seed 13] [--rehearsals 500] [--hosts 6] [--faults "full disk,reboot"]

It needs root and a C compiler. Each host is a machine of its own with a real systemd, whose agent runs from the
package. A rehearsal offers a version: a good one, one whose agent crashes, hangs or does not reach the server, or one
that crashes once it was kept. A host is upgraded to it, and suffers a fault at a random moment; `journeys.host_faults`
has them. Then a host that has not exactly one agent, connected to the server, with no order open, within the limit is
stranded. The exit code is 1 if one was. A seed draws the same faults every time, though not to the moment.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT / "src"), str(PROJECT / "tests")]

import machine as machines  # noqa: E402
from backfleet.cli._client import CallFailed  # noqa: E402
from backfleet_host.agent.setup.systemd_unit import watchdog_name  # noqa: E402
from backfleet_host.layout import HOST_PACKAGE  # noqa: E402
from journeys import host_programs  # noqa: E402
from journeys.host_faults import FAULTS, Clocks, Strike  # noqa: E402
from journeys.installation import Installation  # noqa: E402
from journeys.self_upgrading import UNIT, SelfUpgradingHost, hosts_moved_over  # noqa: E402

PROOF_SECONDS = {"": 40, "later": 40, "crashes": 10, "hangs": 10, "is alone": 10}  # of versions; bad ones need no time
KINDS = ("", "crashes", "hangs", "is alone", "later")  # how a version is; "" = good
VERSIONS = ("", "", "", "", "crashes", "hangs", "is alone", "later")  # of a rehearsal, each as often
WEIGHTS = {"kill upgrader": 2, "file lost": 2, "file lost with the power": 2}  # of faults; of the others 1
MOMENT = (0.0, 14.0)  # seconds after the order at which the fault comes
AWAY = (1.0, 20.0)  # seconds for which a fault lasts that ends by itself
DISK = "size=96m"  # of a host
RESOLVE_SECONDS = 480.0  # until a host must be in order: two checks of the watchdog and a rollback on a busy machine
WATCHDOG_SECONDS = 30.0
AGAIN_SECONDS = 1.0
BEFORE = f"{HOST_PACKAGE}/previous"
WATCHDOG = watchdog_name(UNIT, "service")


@dataclass
class Counts:
    """What happened."""

    rehearsals: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)  # files
    stranded: list[str] = field(default_factory=list)
    slowest: float = 0.0  # seconds from the end of a fault until its host was in order

    def as_json(self) -> dict[str, Any]:
        """Return it for people and programs."""
        counted = {"versions": self.versions, "faults": self.faults, "ends": self.ends, "lost": self.lost}
        whole = {name: dict(sorted(each.items())) for name, each in counted.items()}
        return {"rehearsals": self.rehearsals, "stranded": self.stranded, **whole, "slowest": round(self.slowest)}


@dataclass(frozen=True)
class Rehearsal:
    """One upgrade of one host, and what happens to it."""

    host: SelfUpgradingHost
    version: str
    kind: str  # of the version
    fault: str
    moment: float  # seconds after the order
    strike: Strike


class Rehearsals:
    """A run: a server, its hosts, and what came of them."""

    def __init__(
        self, server: Installation, hosts: list[SelfUpgradingHost], clocks: Clocks, seed: int, faults: list[str]
    ) -> None:
        self.server, self.hosts, self.counts = server, hosts, Counts()
        self._seed, self._begun, self._clocks, self._faults = seed, 0, clocks, faults
        self._offered: set[str] = set()
        self._counting, self._stopping, self._offering = threading.Lock(), threading.Lock(), threading.Lock()

    def run(self, most: int, until: float) -> None:
        """Rehearse on all hosts at once until there were so many, or until this moment, in monotonic seconds."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            for done in [pool.submit(self._rehearse_again, host, most, until) for host in self.hosts]:
                done.result()

    def _rehearse_again(self, host: SelfUpgradingHost, most: int, until: float) -> None:
        drawn = random.Random(f"{self._seed} {host.root.name}")  # noqa: S311 - it draws no keys
        for turn in itertools.count(2):
            with self._counting:
                self._begun += 1
                if self._begun > most or time.monotonic() > until:
                    return
            kind = drawn.choice(VERSIONS)
            version = f"{turn}.{KINDS.index(kind)}"
            with self._offering:
                if version not in self._offered:
                    self._until_answered(lambda: self._offer(version, kind))  # noqa: B023 - called at once
                    self._offered.add(version)
            fault, moment, away = drawn.choice(self._faults), drawn.uniform(*MOMENT), drawn.uniform(*AWAY)
            strike = Strike(host, version, away, drawn, self._clocks, self._stopping)
            self._rehearse(Rehearsal(host, version, kind, fault, moment, strike))
            with self._counting:
                print(json.dumps(self.counts.as_json()), file=sys.stderr, flush=True)

    def _offer(self, version: str, kind: str) -> bool:
        host_programs.PROOF_SECONDS = PROOF_SECONDS[kind]
        try:
            host_programs.offer(self.server, version, UNIT, kind)
        except CallFailed as problem:
            if "exist" not in str(problem.answer).lower():  # it was stored, and the answer was lost
                raise
        return True

    def _rehearse(self, one: Rehearsal) -> None:
        host = one.host
        words = {"InstanceIds": [host.instance_id], "PackageName": HOST_PACKAGE, "ReleaseVersion": one.version}
        task = str(self._until_answered(lambda: self.server.call("UpgradeBackupClients", **words))["TaskId"])
        time.sleep(one.moment)
        what = FAULTS[one.fault](one.strike)
        began = time.monotonic()
        found = self._in_order(host, task)
        is_alone = what.startswith(BEFORE)  # what would roll a version back that was kept is what was lost
        if not found and one.kind == "later" and host.link("current") == one.version and not is_alone:
            (host.root / f"broken-{one.version}").touch()
            host.machine.systemctl("restart", UNIT)
            found = self._in_order(host, task, but_for=one.version)
        (host.root / f"broken-{one.version}").unlink(missing_ok=True)
        with self._counting:
            self.counts.rehearsals += 1
            self.counts.versions[one.kind or "good"] += 1
            self.counts.faults[one.fault] += 1
            at = "at the new version" if host.link("current") == one.version else "at the old version"
            self.counts.ends[f"{one.kind or 'good'}: {at}"] += 1
            self.counts.ends[f"{one.fault}, {one.kind or 'good'}: {at}"] += 1
            if one.fault.startswith("file"):
                self.counts.lost[re.sub(r"(versions|tasks|program|downloads|facts)/[^/ ]+", r"\1/*", what)] += 1
            self.counts.slowest = max(self.counts.slowest, time.monotonic() - began)
            if found:
                text = f"{host.root.name} to {one.version} ({one.kind}), {one.fault} {what}: {found}"
                self.counts.stranded.append(text)

    def _in_order(self, host: SelfUpgradingHost, task: str, but_for: str = "") -> str:
        """Wait until a host is in order, and return ""; or what is not in order after RESOLVE_SECONDS.

        The watchdog runs every WATCHDOG_SECONDS: more often than by its timer.
        """
        until, poked = time.monotonic() + RESOLVE_SECONDS, time.monotonic()
        while found := self._what_is_open(host, task, but_for):
            if time.monotonic() > until:
                return found
            if time.monotonic() > poked + WATCHDOG_SECONDS:
                host.machine.systemctl("start", "--no-block", WATCHDOG)
                poked = time.monotonic()
            time.sleep(AGAIN_SECONDS)
        return ""

    def _what_is_open(self, host: SelfUpgradingHost, task: str, but_for: str) -> str:
        if host.link("current") in ("", but_for):
            return f"current leads to {host.link('current') or 'nothing'}"
        if not host.link("verified"):
            return "verified leads to nothing: the next loss would be the second one"
        if (host.folder / "journal").exists():
            return "an order is open on the host"
        if self._until_answered(lambda: self.server.task(task))["Description"] == "created":
            return "its task is not over"
        agents = host.agents()
        if agents != 1:
            return f"{agents} agents run"
        return "" if self._until_answered(host.is_connected, falsy=True) else "it is not connected"

    def _until_answered(self, call: Callable[[], Any], *, falsy: bool = False) -> Any:
        """Call as a careful caller does: again while there is no answer."""
        until = time.monotonic() + RESOLVE_SECONDS
        while True:
            with contextlib.suppress(CallFailed, OSError):
                found = call()
                if found or falsy:
                    return found
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.5)


@contextlib.contextmanager
def _small_disks() -> Iterator[Callable[[Path], None]]:
    """Give a function that mounts a small disk on a folder; they are gone afterwards."""
    mounted: list[Path] = []

    def mount(folder: Path) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", folder], check=True)
        mounted.append(folder)

    try:
        yield mount
    finally:
        for folder in mounted:
            subprocess.run(["umount", "-l", folder], check=False)


def main() -> int:
    """Run the rehearsals, print what came of them, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--rehearsals", type=int, default=500)
    parser.add_argument("--hosts", type=int, default=6)
    parser.add_argument("--faults", default="", help="only these, with commas between")
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no round after so many")
    asked = parser.parse_args()
    if asked.hosts < 1 or asked.rehearsals < 1:
        parser.error("--hosts and --rehearsals must be more than 0")
    if machines.why_not():
        parser.error(f"no machines can be made here: {machines.why_not()}")
    unknown = set(filter(None, asked.faults.split(","))) - set(FAULTS)
    if unknown:
        parser.error(f"no such faults: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    faults = asked.faults.split(",") if asked.faults else [name for name in FAULTS for _ in range(WEIGHTS.get(name, 1))]
    os.environ["BACKFLEET_DELTA_MEGABYTES"] = "0"  # making them takes more time than all else
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="bf-") as short,
        _small_disks() as mount,
        tempfile.TemporaryDirectory(prefix="bf-clocks-") as beside,
    ):
        clocks = Clocks(Path(beside))

        def prepare(root: Path) -> Sequence[tuple[Path, Path]]:
            mount(root)
            return clocks.share(root)

        with hosts_moved_over(Path(short), asked.hosts, prepare) as (server, hosts):
            rehearsals = Rehearsals(server, hosts, clocks, asked.seed, faults)
            rehearsals.run(asked.rehearsals, began + asked.minutes * 60)
    facts = {"seed": asked.seed, "seconds": round(time.monotonic() - began), "hosts": asked.hosts}
    print(json.dumps({**facts, **rehearsals.counts.as_json()}, indent=1))
    return 1 if rehearsals.counts.stranded else 0


if __name__ == "__main__":
    sys.exit(main())
