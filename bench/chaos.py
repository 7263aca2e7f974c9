"""Chaos: the server, agents and upgraders are killed at random moments while hosts are upgraded under running backups.

    .venv/bin/python bench/chaos.py [--seed 13] [--seconds 300] [--hosts 3]

All processes are real. On every host two loops back up a small tree through the shim; each copy is compared with its
source. Again and again a new version is offered, one in four unhealthy, and all hosts are upgraded to it. Whatever was
killed is started again, as systemd would. At the end each order must be over, and each host must have one state: the
server, the link and the shim name the same version, and nothing half-made is left. The exit code is 1 if a backup
failed, ran on a version that was not verified, or a state is not definite. A seed draws the same kills every time,
though not to the moment.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT / "demo"), str(PROJECT / "src"), str(PROJECT / "tests")]

from backfleet.cli._client import CallFailed  # noqa: E402
from backfleet_host.platforms import platform_here  # noqa: E402
from backups import make_tree  # noqa: E402
from journeys.installation import PACKAGE, Host, Installation  # noqa: E402

CLIENT = """#!/bin/sh
case "$1" in
  backup) rm -rf "$3" && cp -r "$2" "$3" && diff -r "$2" "$3" && echo backed up by {version} ;;
  *) sleep 0.3; echo courier {version}; exit {health} ;;
esac
"""
FIRST = "1.0"
LOOPS = 2  # of backups on each host
UNHEALTHY = 0.25  # of the versions
PAUSE = (0.5, 4.0)  # seconds between two kills
DOWN = (0.0, 3.0)  # seconds until what was killed is started again
KINDS = ("server", "agent", "upgrader", "upgrader", "upgrader")  # an upgrader lives for a moment only
AIM_SECONDS = 10.0  # how long a kill waits for an upgrader to be there
RESOLVE_SECONDS = 300.0  # until every order is over and every host has one state


@dataclass
class Counts:
    """What happened. Threads count together: each only adds, and under the lock."""

    kills: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)  # orders by how they ended
    backups: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, what: "Counter[str]", name: str) -> None:
        with self.lock:
            what[name] += 1

    def as_json(self) -> dict[str, Any]:
        found = {"kills": dict(self.kills), "orders": dict(self.items), "backups": dict(self.backups)}
        return {**found, "errors": self.errors[:5]}


class Chaos:
    """One run: an installation, its backups, its orders and its kills."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        # One for each thread: what one draws must not depend on the other.
        self.random, self.versions = random.Random(seed), random.Random(seed)  # noqa: S311 - they draw no keys
        self.place = Installation(folder)
        self.counts, self.over = Counts(), threading.Event()
        self.healthy = {FIRST}
        self.number = 0

    def set_up(self, hosts: int) -> None:
        """Start everything, and install the first version."""
        self.place.start()
        self.place.enrol(hosts)
        self.place.add_release(FIRST, client=CLIENT)
        ids = [host.instance_id for host in self.place.hosts]
        task = self.place.finished(self.place.call("InstallBackupClients", InstanceIds=ids)["TaskId"])
        assert task["Progress"] == 100, task

    def run(self, seconds: float) -> None:
        """Order and kill for so many seconds, under backups."""
        tree = make_tree(self.folder / "files")
        with ThreadPoolExecutor(LOOPS * len(self.place.hosts) + 1) as pool:
            loops = [
                pool.submit(self.back_up, host, tree, self.folder / f"copy-{host.root.name}-{number}")
                for host in self.place.hosts
                for number in range(LOOPS)
            ]
            orders = pool.submit(self.order_again_and_again)
            try:
                self.kill_again_and_again(time.monotonic() + seconds)
            finally:
                self.over.set()
            for done in [orders, *loops]:
                done.result()

    def back_up(self, host: Host, tree: Path, target: Path) -> None:
        """Back up through the shim again and again."""
        shim = host.root / "bin" / PACKAGE
        while not self.over.is_set():
            done = subprocess.run([shim, "backup", tree, target], capture_output=True, text=True, check=False)
            version = done.stdout.strip().rpartition(" ")[2]
            if done.returncode:
                self.counts.errors.append(f"{host.root.name}: {done.returncode}: {done.stderr[-300:]}")
            name = "failed" if done.returncode else "run" if version in self.healthy else "on an unverified version"
            self.counts.add(self.counts.backups, name)
            time.sleep(0.05)

    # --- Orders -------------------------------------------------------------------------------------------------------

    def order_again_and_again(self) -> None:
        """Offer a version and upgrade every host to it, until the time is over; then once more, to a healthy one."""
        while not self.over.is_set():
            self.upgrade(is_healthy=self.versions.random() >= UNHEALTHY)
        self.upgrade(is_healthy=True)

    def upgrade(self, *, is_healthy: bool) -> None:
        """Offer the next version, upgrade every host to it, and count how each order ended."""
        self.number += 1
        version = f"2.{self.number}"
        if is_healthy:
            self.healthy.add(version)
        self.until_answered(lambda: self.offer(version, health=0 if is_healthy else 9))
        ids = [host.instance_id for host in self.place.hosts]
        started = self.until_answered(lambda: self.place.call("UpgradeBackupClients", InstanceIds=ids))
        for status in started.get("InstanceStatuses", []):
            if not status["ValidInstance"]:
                self.counts.add(self.counts.items, status["ErrorCode"])
        if started.get("TaskId"):
            for item in self.ended(started["TaskId"])["Result"]:
                self.counts.add(self.counts.items, item["errorCode"] or "succeeded")
        if not is_healthy:
            self.until_answered(lambda: self.withdraw(version))

    def offer(self, version: str, health: int) -> bool:
        try:
            self.place.add_release(version, health=health, client=CLIENT)
        except CallFailed as problem:
            if "exist" not in str(problem.answer).lower():  # it was stored, and the answer was lost
                raise
        return True

    def withdraw(self, version: str) -> bool:
        names = {"PackageName": PACKAGE, "ReleaseVersion": version, "Platform": platform_here()}
        self.place.call("WithdrawRelease", "backfleet", **names)
        return True

    def ended(self, task_id: str) -> dict[str, Any]:
        """Wait until a task is over; return it."""
        until = time.monotonic() + RESOLVE_SECONDS
        while True:
            task: dict[str, Any] = self.until_answered(lambda: self.place.call("DescribeTask", TaskId=task_id))
            if task["Description"] != "created":
                return {**task, "Result": json.loads(task["Result"])}
            if time.monotonic() > until:
                raise TimeoutError(f"the task was not over after {RESOLVE_SECONDS:.0f} s: {task['Result']}")
            time.sleep(0.3)

    def until_answered(self, call: Callable[[], Any]) -> Any:
        """Call as a careful caller does: again while there is no answer, or the server says that it cannot now."""
        until = time.monotonic() + RESOLVE_SECONDS
        while True:
            try:
                return call()
            except (CallFailed, OSError) as problem:
                answer = getattr(problem, "answer", None)
                if (answer and "Unavailable" not in str(answer)) or time.monotonic() > until:
                    raise
                time.sleep(0.3)

    # --- Kills --------------------------------------------------------------------------------------------------------

    def kill_again_and_again(self, until: float) -> None:
        """Kill something every few seconds, and start it again."""
        while time.monotonic() < until:
            time.sleep(self.random.uniform(*PAUSE))
            kind, host = self.random.choice(KINDS), self.random.choice(self.place.hosts)
            pause = self.random.uniform(*DOWN)
            if kind == "server":
                self.place.kill()
                self.counts.add(self.counts.kills, kind)
                time.sleep(pause)
                self.place.start()
            elif kind == "agent":
                host.kill_agent()
                self.counts.add(self.counts.kills, kind)
                time.sleep(pause)
                host.start()
            elif self.kill_upgrader(host, min(until, time.monotonic() + AIM_SECONDS)):
                self.counts.add(self.counts.kills, kind)

    def kill_upgrader(self, host: Host, until: float) -> bool:
        """Kill the next upgrader of this host, a moment after it began; return False if none came in time."""
        while time.monotonic() < until:
            for pid in upgraders_of(host.root):
                time.sleep(self.random.uniform(0.0, 1.5))
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return True
            time.sleep(0.02)
        return False

    # --- States -------------------------------------------------------------------------------------------------------

    def definite_hosts(self) -> dict[str, str]:
        """Return what is not definite about each host, "" where all is; wait for it as long as it may take."""
        until = time.monotonic() + RESOLVE_SECONDS
        while True:
            known = {each["InstanceId"]: each for each in self.clients()}
            found = {host.root.name: self.what_is_open(host, known) for host in self.place.hosts}
            if not any(found.values()) or time.monotonic() > until:
                return found
            time.sleep(1.0)

    def clients(self) -> list[dict[str, Any]]:
        found = self.until_answered(
            lambda: self.place.call("DescribeBackupClients", ClientType="ECS_CLIENT", PageSize=99)
        )
        return list(found["Clients"])

    def what_is_open(self, host: Host, known: dict[str, dict[str, Any]]) -> str:
        package = host.root / PACKAGE
        try:
            shown = subprocess.run(
                [host.root / "bin" / PACKAGE], capture_output=True, text=True, timeout=20, check=False
            )
        except subprocess.TimeoutExpired:
            return "a run through the shim does not end"
        version = shown.stdout.strip().rpartition(" ")[2]
        left = [*package.rglob("*.partial"), *package.glob("journal"), *package.glob("unproven")]
        if left:
            return f"{left[0].name} is left"
        link = os.readlink(package / "current").rpartition("/")[2]
        told = known[host.instance_id]["ClientVersion"]
        if len({version, link, told}) != 1 or version not in self.healthy:
            return f"the shim runs {version or shown.stderr}, the link names {link}, the server {told}"
        return ""


def upgraders_of(root: Path) -> list[int]:
    """Return the processes that carry orders out on this host."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")[:-1]
            if words and words[-1] in (b"carry", b"recover") and os.fsencode(root) in words:
                found.append(int(path.parent.name))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--hosts", type=int, default=3)
    asked = parser.parse_args()
    if asked.hosts < 1 or asked.seconds <= 0:
        parser.error("--hosts and --seconds must be more than 0")
    folder = Path(tempfile.mkdtemp(prefix="backfleet-chaos-"))
    chaos = Chaos(folder, asked.seed)
    began = time.monotonic()
    try:
        chaos.set_up(asked.hosts)
        chaos.run(asked.seconds)
        states = chaos.definite_hosts()
    except BaseException:
        print(chaos.place.log(), file=sys.stderr)
        print(json.dumps(chaos.counts.as_json()), file=sys.stderr)
        raise
    finally:
        chaos.place.close()
        shutil.rmtree(folder, onerror=_make_writable)
    definite = sum(not problem for problem in states.values())
    facts = {"seed": asked.seed, "seconds": round(time.monotonic() - began), "hosts": asked.hosts, "definite": definite}
    facts.update(chaos.counts.as_json(), open=[f"{name}: {why}" for name, why in states.items() if why])
    print(json.dumps(facts, indent=1))
    bad = chaos.counts.backups["failed"] + chaos.counts.backups["on an unverified version"]
    return 1 if bad or definite != asked.hosts else 0


def _make_writable(remove: Callable[[str], None], path: str, _problem: Any) -> None:
    """Versions on a host are read-only trees: open the folder, then remove again."""
    if os.path.exists(path):
        os.chmod(os.path.dirname(path), 0o700)
        os.chmod(path, 0o700)
        remove(path)


if __name__ == "__main__":
    sys.exit(main())
