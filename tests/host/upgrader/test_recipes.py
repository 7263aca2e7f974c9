"""docs/recipes.md as users paste it: every block, on the real programs, a real server, and a real host with its agent.

Only places differ: `/etc`, `/srv`, `/run`, `/opt/backfleet` and `/usr/local/bin` are in the host's own folder, the
daemon's port is a free one. Debian has one version of each program: the second one here is what the page calls "a
rebuild of the same version". Downloads are kept in `.cache/recipes`.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import backfleet_host
import machine as machines
from backfleet_host.contract import Order, Report, read_output
from backfleet_host.platforms import platform_here
from documents import blocks_of
from journeys.installation import Installation, free_ports, wait_for
from machine import Machine

PROJECT = Path(__file__).resolve().parents[3]
PAGE = "docs/recipes.md"
TEXT = (PROJECT / PAGE).read_text()
KEPT = PROJECT / ".cache" / "recipes"
SOURCE = Path(str(backfleet_host.__file__)).parents[1]
CARRY_OUT = Path(__file__).with_name("carry_out_order.py")
PIP = Path(sys.executable).with_name("pip")

BEGIN = "on the server: where everything is"
RELEASE, ANEW = "on the server: the release", "on the server: a rebuild of the same version"
OURS = re.compile(r"(?<![\w.}])/(?:(etc|srv|run)|opt/backfleet|usr/local(/bin))(?=/)")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # the first run downloads
from_debian = pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt-get: no Debian packages")
from_an_index = pytest.mark.skipif(not PIP.exists(), reason="no pip in this environment: no wheels")

# A block ends at its first line that fails. Nothing is downloaded twice; a download that fails is a failure.
BEFORE = """set -euo pipefail
sudo() { "$@"; }
fetched() {
  local words="${*//$HERE/}"
  local kept="$KEPT/$(printf %s "$words" | sha256sum | cut -c -16)"
  if ! [ -d "$kept" ]; then
    mkdir -p "$kept.$$"
    (cd "$kept.$$" && command "$@" >&2) || { rm -r "$kept.$$"; return 1; }
    mv -T "$kept.$$" "$kept"
  fi
  cp "$kept"/* .
}
pip() { fetched pip "$@"; }
apt-get() {
  case "$1" in
    update) : ;;
    *) fetched apt-get "$@" || { with_rights apt-get -qq update && fetched apt-get "$@"; } ;;
  esac
}
with_rights() { if [ "$(id -u)" = 0 ]; then command "$@"; else command sudo "$@"; fi; }
"""


def blocks() -> dict[tuple[str, str], str]:
    """Return the page's commands, by the first word of the section and by the comment that they begin with."""
    found = {}
    for block in blocks_of(PAGE):
        if block.language == "bash":
            title, _, text = block.text.partition("\n")
            found[re.split(r"\W", block.section, maxsplit=1)[0], title.removeprefix("# ")] = text
    return found


class Reader:
    """A user who pastes one section of the page, on the server and on a host."""

    def __init__(self, section: str, server: Installation, root: Path, folder: Path, instance: str = "") -> None:
        self.section, self.root, self.folder, self.before = section, root, folder, BEFORE
        self.here, self.port = folder / "repository", free_ports(1)[0]
        self._server, self._instance = server, instance
        self._blocks = {title: text for (name, title), text in blocks().items() if name == section}
        self._pasted: set[str] = set()
        (folder / "home").mkdir()
        self.here.mkdir()
        (root / "run").mkdir(parents=True, exist_ok=True)
        for name in ("demo", "src", "tools"):
            (self.here / name).symlink_to(PROJECT / name)
        (self.here / ".venv").symlink_to(sys.prefix)

    def paste(self, title: str, changes: dict[str, str] | None = None) -> str:
        """Paste a block, which must succeed; return what it printed."""
        return self.ended(self.begin(title, changes))

    def ended(self, block: "subprocess.Popen[str]") -> str:
        """Return what a block printed, once it has succeeded."""
        output = block.communicate()[0]
        assert block.returncode == 0, output
        return output

    def begin(self, title: str, changes: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        """Paste a block, with parts of its text changed, and return while it runs."""
        text = self._blocks[title]
        for before, after in (changes or {}).items():
            assert before in text
            text = text.replace(before, after)
        self._pasted.add(title)
        given = {"KEPT": str(KEPT), "BACKFLEET_DATA": str(self._server.data)}
        if title.startswith("on the host"):
            begins, given["HOME"] = "", str(self.folder / "home")
        else:
            begins = blocks()["", BEGIN].replace("mi-...", self._instance)
        return subprocess.Popen(
            ["bash", "-c", self.before + begins + self.placed(text)],
            env=os.environ | given, cwd=self.here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def placed(self, text: str) -> str:
        """Return the text with this host's folders, port and kind."""
        text = OURS.sub(lambda path: f"{self.root}/{path[1] or ''}".rstrip("/") + (path[2] or ""), text)
        text = text.replace("port = 873", f"port = {self.port}").replace(":873/", f":{self.port}/")
        if os.geteuid():
            text = text.replace("-o backup -g backup ", "")
            text = text.replace("uid = backup", f"uid = {os.geteuid()}")
            text = text.replace("gid = backup", f"gid = {os.getegid()}")
        return text.replace("linux-amd64", platform_here())

    def unpasted(self) -> set[str]:
        """Return the rest of the section."""
        return set(self._blocks) - self._pasted

    @property
    def shim(self) -> Path:
        """The shim that users run."""
        return self.root / "bin" / self.section

    def report(self) -> dict[str, Any]:
        """Return the report of the last order, as the host wrote it."""
        output: dict[str, Any] = json.loads((self.root / self.section / "outcome.json").read_text())["report"]
        return output

    def went_well(self, version: str) -> None:
        """Return whether the last order succeeded and both versions restored the host's sample."""
        report = self.report()
        assert (report["outcome"], report["code"], report["current_version"]) == ("succeeded", "", version), report
        assert "probes_failing_before" not in report["details"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Run a server and a host with its agent."""
    made = Installation(tmp_path_factory.mktemp("installation"))
    try:
        made.start()
        made.enrol(1)
        yield made
    finally:
        made.close()


@pytest.fixture
def reader(request: pytest.FixtureRequest, server: Installation, tmp_path: Path) -> Reader:
    """Return a reader of the section that the test names."""
    (host,) = server.hosts
    return Reader(request.param, server, host.root, tmp_path, host.instance_id)


def ran(*words: str | Path, **given: str) -> str:
    """Return what a program printed; it must succeed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | given)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def upstream(package: Path) -> str:
    """Return Debian's version of a package without Debian's part."""
    return re.split(r"[-+~]", ran("dpkg-deb", "-f", package, "Version").strip())[0]


class Load(threading.Thread):
    """Runs backups through the shim, one after the other, each checked by rclone itself."""

    def __init__(self, rclone: Path, source: Path, target: str, config: str) -> None:
        super().__init__()
        self.verified, self.failures = 0, list[str]()
        self._rclone, self._source, self._target, self._config = rclone, source, target, config
        self._stopping = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._stopping.is_set():
            for word in (["copy", "--ignore-times"], ["check"]):
                words = [self._rclone, *word, self._source, self._target, "--config", self._config]
                done = subprocess.run(words, capture_output=True, text=True, check=False)
                if done.returncode:
                    self.failures.append(f"{word[0]}: {done.returncode} {done.stderr[-500:]}")
            self.verified += 1

    def stop(self) -> None:
        """Stop, once the running backup is checked."""
        self._stopping.set()
        self.join()


@from_an_index
@pytest.mark.parametrize("reader", ["rclone"], indirect=True)
def test_rclone_under_a_continuous_load(reader: Reader) -> None:
    """No backup fails or is interrupted, each is verified; a sample is restored by both versions."""
    reader.paste(RELEASE)
    log = reader.folder / "log"
    logged = f'environment = {{RCLONE_LOG_FILE = "{log}", RCLONE_LOG_LEVEL = "DEBUG", '
    reader.paste("on the host: its remote, and the checks of each version", {"environment = {": logged})
    config = str(reader.root / "etc" / "rclone" / "rclone.conf")
    source = reader.folder / "source"
    source.mkdir()
    for number in range(40):
        (source / f"file-{number}").write_bytes(os.urandom(50_000))

    stream = subprocess.Popen([reader.shim, "rcat", "store:stream", "--config", config], stdin=subprocess.PIPE)
    assert stream.stdin is not None
    stream.stdin.write(first := os.urandom(200_000))
    stream.stdin.flush()
    loads = [Load(reader.shim, source, f"store:load-{number}", config) for number in range(2)]
    try:
        wait_for(lambda: all(load.verified for load in loads), 60)
        before = [load.verified for load in loads]
        reader.paste("on the server: the next version")
        after = [load.verified for load in loads]
        assert "/versions/1.74.4/" in os.readlink(f"/proc/{stream.pid}/exe")
        wait_for(lambda: all(load.verified > count + 1 for load, count in zip(loads, after, strict=True)), 60)
    finally:
        for load in loads:
            load.stop()
        stream.stdin.close()
    assert stream.wait(30) == 0
    assert (reader.root / "srv" / "backups" / "stream").read_bytes() == first
    assert [load.failures for load in loads] == [[], []]
    assert all(count > earlier for count, earlier in zip(after, before, strict=True)), "backups went on meanwhile"

    reader.went_well("1.75.2")
    assert ran(reader.shim, "version").startswith("rclone v1.75.2\n")
    began = re.findall(r'Version "v(.+?)" starting with parameters \[\S+ "(\w+)"', log.read_text())
    assert began == [(version, word) for version in ("1.74.4", "1.75.2") for word in ("sync", "copy")]
    assert reader.unpasted() == set()


@from_debian
@pytest.mark.parametrize("reader", ["restic"], indirect=True)
def test_restic(reader: Reader) -> None:
    """A sample is backed up, restored and compared by both versions, and restic finds nothing wrong afterwards."""
    reader.paste(RELEASE)
    (package,) = (reader.here / "build" / "restic").glob("*.deb")
    assert reader.report()["current_version"] == upstream(package)
    reader.paste("on the host: a repository for samples, and the checks of each version")
    reader.paste(ANEW)

    reader.went_well(f"{upstream(package)}-2")
    given = {
        "RESTIC_REPOSITORY": str(reader.root / "srv" / "backups" / "restic-probe"),
        "RESTIC_PASSWORD_FILE": str(reader.root / "etc" / "backfleet" / "restic.password"),
    }
    assert len(list(Path(given["RESTIC_REPOSITORY"], "snapshots").iterdir())) == 2
    ran(reader.shim, "check", "--no-cache", "--read-data", **given)
    assert reader.unpasted() == set()


@from_debian
@pytest.mark.parametrize("reader", ["borg"], indirect=True)
def test_borg(reader: Reader) -> None:
    """A sample is backed up, restored and compared by both versions, and borg finds nothing wrong afterwards."""
    output = reader.paste(RELEASE)
    built = reader.here / "build" / "borg"
    (package,) = built.glob("borgbackup_*.deb")
    assert "hosts must have: glibc 2." in output
    assert "/usr/bin/python3 as here" in output
    assert f"version: borg {upstream(package)}\n" in output
    assert reader.report()["current_version"] == upstream(package)
    reader.paste("on the host: a repository for samples, and the checks of each version")
    reader.paste(ANEW)

    reader.went_well(f"{upstream(package)}-2")
    given = {
        "BORG_REPO": str(reader.root / "srv" / "backups" / "borg-probe"),
        "BORG_BASE_DIR": str(reader.root / "srv" / "backups" / "borg-home"),
        "BORG_PASSCOMMAND": f"cat {reader.root}/etc/backfleet/borg.password",
    }
    assert len(ran(reader.shim, "list", "--short", **given).split()) == 2
    ran(reader.shim, "check", "--verify-data", **given)
    assert list((reader.root / "borg" / "current").resolve().rglob("__pycache__")) == []  # the tree stays as it was
    assert reader.unpasted() == set()


class Daemon:
    """rsync's daemon on the host, as the page has it, and another machine that backs up into it."""

    def __init__(self, reader: Reader, on_the_host: list[str]) -> None:
        self.reader, self._on_the_host = reader, on_the_host
        built = reader.here / "build" / "rsync"
        (package,) = built.glob("rsync_*.deb")
        self.version = upstream(package)
        self._service = tomllib.loads((built / "rsync.toml").read_text())["service"]
        self._client = reader.folder / "another-machine"
        self._client.mkdir()
        ran("tar", "-xzf", built / "rsync.tar.gz", "-C", self._client)

    def is_idle(self) -> bool:
        """Answer as the host's idle command."""
        program, *arguments = self._service["idle"]
        command = [*self._on_the_host, str(self.reader.root / "rsync" / "current" / program), *arguments]
        return subprocess.run(command, check=False).returncode == 0

    def serving(self) -> str:
        """Return the version that answers, by the program that runs."""
        ran(self._client / "rsync", f"rsync://127.0.0.1:{self.reader.port}/backups/")
        output = ran(*self._on_the_host, "sh", "-c", f"readlink /proc/$(cat {self.reader.root}/run/rsyncd.pid)/exe")
        return output.split("/versions/")[1].split("/")[0]

    @contextlib.contextmanager
    def backup(self, name: str) -> Iterator[None]:
        """Begin a backup into the daemon that pauses, then goes on, and must succeed."""
        source = self.reader.folder / name
        source.write_bytes(os.urandom(2_000_000))
        url = f"rsync://127.0.0.1:{self.reader.port}/backups/"
        client = subprocess.Popen([self._client / "rsync", "--bwlimit=2000", source, url])
        try:
            wait_for(lambda: not self.is_idle(), 10)
            client.send_signal(signal.SIGSTOP)
            yield
            assert client.poll() is None
        finally:
            client.send_signal(signal.SIGCONT)
            code = client.wait(30)
        assert code == 0
        assert (self.reader.root / "srv" / "rsync" / name).read_bytes() == source.read_bytes()

    def stop(self) -> None:
        """Stop, once the running backup is checked."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((self.reader.root / "run" / "rsyncd.pid").read_text()), signal.SIGTERM)


CONFIGURED = "on the host: the daemon's configuration, and the checks of each version"
BY_UNIT, BY_HAND = "on the host, with systemd: the unit", "on the host, without systemd: the daemon"
# A version that takes itself for idle stands for a backup that comes between the last look and the stop.
NEVER_BUSY = {"rsync.toml >": 'rsync.toml | sed \'s/^idle = .*/idle = ["rsync", "--version"]/\' >'}


@from_debian
@pytest.mark.parametrize("reader", ["rsync"], indirect=True)
def test_rsyncs_daemon(reader: Reader) -> None:
    """A backup into it is waited for and intact; then it is stopped, switched and started, and serves."""
    reader.paste(RELEASE, {'unit = "rsync-backups.service"\n': ""})
    reader.paste(CONFIGURED)
    reader.paste(BY_HAND)
    daemon = Daemon(reader, [])
    try:
        with daemon.backup("one"):
            upgrade = reader.begin(ANEW)
            wait_for((reader.root / "rsync" / "versions" / f"{daemon.version}-2").exists, 30)
            time.sleep(1.0)
            assert daemon.serving() == daemon.version
        reader.ended(upgrade)
        reader.went_well(f"{daemon.version}-2")
        assert daemon.serving() == f"{daemon.version}-2"
        assert reader.report()["details"]["service_down_seconds"] < 5

        assert reader.unpasted() == {BY_UNIT}
    finally:
        daemon.stop()


class OnAMachine:
    """Orders on a machine with systemd, from a server that only serves downloads."""

    def __init__(self, machine: Machine, server: Installation, root: Path) -> None:
        self.machine, self.root = machine, root
        self.downloads = f"http://127.0.0.1:{server.ports[0]}/downloads"
        self.trust_root = root / "trusted.json"
        with urllib.request.urlopen(f"{self.downloads}/metadata/1.root.json") as answer:  # noqa: S310 - our own server
            self.trust_root.write_bytes(answer.read())

    def begin(self, kind: str, version: str) -> "subprocess.Popen[str]":
        """Paste a block, with parts of its text changed, and return while it runs."""
        installation = {
            "root": str(self.root),
            "downloads": self.downloads,
            "system": "",
            "trust_root": str(self.trust_root),
        }
        order = Order(f"u-{time.monotonic_ns()}", kind, "rsync", version, platform_here(), 60).to_json()
        words = [sys.executable, str(CARRY_OUT), json.dumps(installation), json.dumps(order)]
        run = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--setenv=PYTHONPATH={SOURCE}"]
        return subprocess.Popen(self.machine.entering(*run, *words), stdout=subprocess.PIPE, text=True)

    def ended(self, order: "subprocess.Popen[str]") -> Report:
        """Return what a block printed, once it has succeeded."""
        report = read_output(order.communicate()[0])[1]
        assert report is not None
        return report


@from_debian
@pytest.mark.skipif(bool(machines.why_not()), reason=machines.why_not())
def test_rsyncs_daemon_as_a_unit(tmp_path: Path) -> None:
    """On a real systemd; a backup that begins in the last moment stops the upgrade, and is intact too."""
    (root := tmp_path / "shared" / "host").mkdir(parents=True)
    server = Installation(tmp_path)
    with contextlib.ExitStack() as ending:
        ending.callback(server.close)
        server.start()
        machine = ending.enter_context(machines.switched_on(tmp_path / "machine", [tmp_path / "shared"]))
        host, reader = OnAMachine(machine, server, root), Reader("rsync", server, root, tmp_path)
        reader.paste(RELEASE, {"backfleet client install --package rsync --instance $instance --wait\n": ""})
        daemon = Daemon(reader, machine.entering())
        assert host.ended(host.begin("install", daemon.version)).outcome == "succeeded"
        reader.paste(CONFIGURED)
        reader.before += f'systemctl() {{ {shlex.join(machine.entering())} systemctl "$@"; }}\n'
        reader.paste(BY_UNIT, {"/etc/systemd/system": str(machine.units)})

        without = {"backfleet client upgrade --instance $instance --wait\n": ""}
        reader.paste(ANEW, NEVER_BUSY | without)
        reader.paste(ANEW, {"$version-2": "$version-3"} | without)
        with daemon.backup("one"):
            upgrade = host.begin("upgrade", f"{daemon.version}-2")
            wait_for((root / "rsync" / "versions" / f"{daemon.version}-2").exists, 30)
            time.sleep(1.0)
            assert daemon.serving() == daemon.version
        assert host.ended(upgrade).outcome == "succeeded"
        assert daemon.serving() == f"{daemon.version}-2"

        with daemon.backup("two"):
            report = host.ended(host.begin("upgrade", f"{daemon.version}-3"))
            assert (report.code, report.current_version) == ("HostBusy", f"{daemon.version}-2")
            assert daemon.serving() == f"{daemon.version}-2"
        assert machine.systemctl("is-active", "rsync-backups.service") == "active"
        assert reader.unpasted() == {BY_HAND}
