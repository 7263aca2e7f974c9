"""A client that runs as a service: stopped, switched, started, watched. With real processes."""

import contextlib
import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader.host import shim
from backfleet_host.upgrader.host.processes import from_tree
from host.upgrader.conftest import LONG_ENOUGH

Host = Any
Shop = Any

SERVICE = {"start": ["courier", "start"], "stop": ["courier", "stop"], "ready": ["courier", "ready"], "seconds": 3}

# Behaviour is a word in the text: the version that hangs, dies or never gets ready says so in BEHAVIOUR.
DAEMON = """#!/bin/sh
alive() {{ pid=$(cat STATE/pid 2>/dev/null) && [ -n "$(tr -d '\\0' 2>/dev/null < /proc/$pid/cmdline)" ]; }}
case "$1" in
  version) echo "{package} {version}"; exit {health} ;;
  serve) echo {version} >> STATE/served; while :; do sleep 0.05; done ;;
  start)
    case BEHAVIOUR in
      refuses) echo "no"; exit 1 ;;
      hangs) setsid sh -c 'sleep 321' & sleep 321 ;;
      dies) exit 0 ;;
      dumb) "$0" serve < /dev/null > /dev/null 2>&1 & echo $! > STATE/dumb; exit 0 ;;
    esac
    "$0" serve < /dev/null > /dev/null 2>&1 & echo $! > STATE/pid ;;
  stop) alive && kill $pid; exit 0 ;;
  ready) [ ! -e STATE/dazed ] || sleep 60; alive ;;
  idle) [ ! -e STATE/busy ] ;;
  *) echo "{version} $*" ;;
esac
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    folder.mkdir()
    yield folder
    if (folder / "pid").exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int((folder / "pid").read_text()), signal.SIGKILL)


def daemon(state: Path, behaviour: str = "serves") -> str:
    return DAEMON.replace("STATE", str(state)).replace("BEHAVIOUR", behaviour)


def run(host: Host, word: str) -> int:
    return subprocess.run([host.folder / "current" / "bin" / "courier", word], check=False).returncode


def served(state: Path) -> list[str]:
    """Return the versions that began to serve, in order."""
    time.sleep(0.1)
    return (state / "served").read_text().split()


@pytest.fixture
def serving(shop: Shop, host: Host, state: Path) -> Host:
    """Return a host whose 1.0 serves."""
    shop.add("1.0", client=daemon(state), service=SERVICE, switch="idle")
    assert host.carry("install", "1.0").outcome == "succeeded"
    assert run(host, "ready") != 0  # an install starts nothing: that is the administrator's to decide
    run(host, "start")
    return host


def test_f39_a_service_is_stopped_and_started_on_the_new_version(shop: Shop, serving: Host, state: Path) -> None:
    """And the report says for how many seconds nothing served."""
    shop.add("2.0", client=daemon(state), service=SERVICE, switch="idle")
    report = serving.carry("upgrade", "2.0")
    assert (report.outcome, report.current_version) == ("succeeded", "2.0")
    assert 0 < report.details["service_down_seconds"] < 5
    assert served(state) == ["1.0", "2.0"]
    assert from_tree(serving.folder / "versions" / "1.0") == []
    assert from_tree(serving.folder / "versions" / "2.0") == [int((state / "pid").read_text())]


def test_a_service_that_was_stopped_stays_stopped(shop: Shop, serving: Host, state: Path) -> None:
    """Its administrator had a reason."""
    run(serving, "stop")
    time.sleep(0.1)
    shop.add("2.0", client=daemon(state), service=SERVICE, switch="idle")
    assert serving.carry("upgrade", "2.0").current_version == "2.0"
    assert served(state) == ["1.0"]


@pytest.mark.parametrize(
    ("behaviour", "health", "expected"),
    [
        pytest.param("refuses", 0, "start ended with exit code 1", id="the start fails"),
        pytest.param("hangs", 0, "did not end within 3 s", id="F10 the start hangs"),
        pytest.param("dies", 0, "not ready within 3 s", id="it is never ready"),
        pytest.param("dumb", 0, "not ready within 3 s", id="it lives and is never ready"),
        pytest.param("serves", 1, "exit code 1", id="it serves and is unhealthy"),
    ],
)
def test_f23_the_old_version_serves_again_after_a_rollback(
    shop: Shop, serving: Host, state: Path, behaviour: str, health: int, expected: str
) -> None:
    """Started if it is down, restarted if it is not; everything that a hanging start began has ended."""
    shop.add("2.0", client=daemon(state, behaviour), service=SERVICE, switch="idle", health=health)
    report = serving.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert expected in report.message
    assert served(state)[-1] == "1.0"
    assert run(serving, "ready") == 0
    assert from_tree(serving.folder / "versions" / "2.0") == []
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if _read(p) == b"sleep\x00321\x00"]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_no_backup_is_killed_with_a_service_that_does_not_stop(shop: Shop, serving: Host, state: Path) -> None:
    """A backup through the shim runs from the same tree, and is not part of the service."""
    text = daemon(state, "dumb").replace("*) echo", 'hold) echo began; sleep "$2"; echo done ;;\n  *) echo')
    shop.add("2.0", client=text, service=SERVICE)
    began: list[subprocess.Popen[str]] = []
    current = serving.folder / "current"

    def say(line: str) -> None:
        if '"prove"' in line or ('"back"' in line and not began and current.resolve().name == "2.0"):
            held = f"exec 9<{serving.folder}/running; {serving.shim} hold 6"
            with serving.passing_the_gate() as given:  # as after a crash, when the gate is open
                began.append(subprocess.Popen(["sh", "-c", held], stdout=subprocess.PIPE, text=True, **given))
            time.sleep(0.5)

    serving.progress = type("Say", (list,), {"append": staticmethod(say)})()
    report = serving.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    (backup,) = began
    assert backup.communicate(timeout=20)[0] == "began\ndone\n"
    assert backup.returncode == 0
    assert from_tree(serving.folder / "versions" / "2.0") == []


def test_f35_an_anytime_service_is_drained_all_the_same(shop: Shop, serving: Host, state: Path) -> None:
    """Stopping it would end the backup inside it."""
    with_idle = {**SERVICE, "idle": ["courier", "idle"]}
    for version in ("1.1", "2.0"):
        shop.add(version, client=daemon(state), service=with_idle, switch="anytime")
    assert serving.carry("upgrade", "1.1").outcome == "succeeded"
    (state / "busy").touch()
    assert serving.carry("upgrade", "2.0", timeout_seconds=LONG_ENOUGH).code == "BackupRunning"
    assert served(state) == ["1.0", "1.1"]
    (state / "busy").unlink()
    assert serving.carry("upgrade", "2.0").current_version == "2.0"


@pytest.mark.parametrize("switch", ["anytime", "idle"])
def test_a_service_that_was_stopped_while_the_order_waited_stays_stopped(
    shop: Shop, serving: Host, state: Path, switch: str
) -> None:
    """Its administrator stopped it while the order waited for a backup inside it."""
    with_idle = {**SERVICE, "idle": ["courier", "idle"]}
    for version in ("1.1", "2.0"):
        shop.add(version, client=daemon(state), service=with_idle, switch=switch)
    assert serving.carry("upgrade", "1.1").outcome == "succeeded"
    (state / "busy").touch()

    def stop_it() -> None:
        time.sleep(2.5)
        run(serving, "stop")
        time.sleep(0.3)
        (state / "busy").unlink()

    administrator = threading.Thread(target=stop_it)
    administrator.start()
    report = serving.carry("upgrade", "2.0")
    administrator.join()
    assert (report.outcome, report.current_version) == ("succeeded", "2.0"), report
    assert served(state) == ["1.0", "1.1"]


def test_f35_a_backup_inside_the_service_is_waited_for(shop: Shop, serving: Host, state: Path) -> None:
    """Out of time nothing is touched: the service was never stopped."""
    with_idle = {**SERVICE, "idle": ["courier", "idle"]}
    shop.add("1.1", client=daemon(state), service=with_idle, switch="idle")
    assert serving.carry("upgrade", "1.1").outcome == "succeeded"
    pid = (state / "pid").read_text()
    (state / "busy").touch()
    shop.add("2.0", client=daemon(state), service=with_idle, switch="idle")
    report = serving.carry("upgrade", "2.0", timeout_seconds=LONG_ENOUGH)
    assert (report.code, report.current_version) == ("BackupRunning", "1.1")
    assert (state / "pid").read_text() == pid
    assert run(serving, "ready") == 0
    (state / "busy").unlink()
    assert serving.carry("upgrade", "2.0").current_version == "2.0"


def test_f03_two_generations_never_serve_at_once(shop: Shop, serving: Host, state: Path) -> None:
    """A process that outlives its service is named, and nothing is upgraded beside it."""
    worker = subprocess.Popen([(serving.folder / "versions" / "1.0" / "bin" / "courier"), "serve"])
    try:
        shop.add("2.0", client=daemon(state), service=SERVICE, switch="idle")
        report = serving.carry("upgrade", "2.0")
        assert (report.code, report.current_version) == ("HostBusy", "1.0")
        assert f"process {worker.pid} still runs from 1.0" in report.message
        assert run(serving, "ready") == 0
        assert worker.poll() is None
    finally:
        worker.kill()
        worker.wait()
    assert serving.carry("upgrade", "2.0").current_version == "2.0"


SYSTEMCTL = """#!/bin/sh
echo "$*" >> STATE/asked
case "$1" in
  show) [ -e STATE/active ] && echo ActiveState=active || echo ActiveState=inactive ;;
  start) readlink ROOT/courier/current >> STATE/started; touch STATE/active ;;
  stop) rm -f STATE/active ;;
esac
"""


def test_a_unit_is_run_by_systemd(
    shop: Shop, host: Host, tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for systemctl, the outermost seam, records its calls."""
    program = tmp_path / "tools" / "systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL.replace("STATE", str(state)).replace("ROOT", str(host.root)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    object.__setattr__(host.installation, "systemd", tmp_path)
    for version in ("1.0", "2.0"):
        shop.add(version, service={"unit": "courier.service"})
    host.carry("install", "1.0")
    (state / "active").touch()
    assert host.carry("upgrade", "2.0").outcome == "succeeded"
    assert (state / "started").read_text() == "versions/2.0\n"
    assert "stop courier.service" in (state / "asked").read_text()


def test_a_unit_without_systemd_is_refused(shop: Shop, host: Host) -> None:
    """Before anything is downloaded."""
    object.__setattr__(host.installation, "systemd", host.root / "none")
    shop.add("1.0", service={"unit": "courier.service"})
    report = host.carry("install", "1.0")
    assert report.code == "UnsupportedPlatform"
    assert "no systemd" in report.message


@pytest.mark.parametrize("kind", ["upgrade", "uninstall"])
def test_a_service_whose_state_is_unknown_is_left_alone(shop: Shop, serving: Host, state: Path, kind: str) -> None:
    """If it counted as stopped it would never be started again."""
    shop.add("2.0", client=daemon(state), service=SERVICE)
    (state / "dazed").touch()
    report = serving.carry(kind, "2.0" if kind == "upgrade" else "")
    assert (report.code, report.current_version) == ("HostBusy", "1.0")
    assert "did not end within 3 s" in report.message
    (state / "dazed").unlink()
    assert run(serving, "ready") == 0
    assert served(state) == ["1.0"]
    assert serving.leftovers() == []


def test_an_uninstall_stops_the_service(serving: Host, state: Path) -> None:
    """And nothing runs from its tree afterwards."""
    tree = serving.folder / "versions" / "1.0"
    assert serving.carry("uninstall").outcome == "succeeded"
    assert from_tree(tree) == []
    assert not tree.exists()


@pytest.mark.parametrize("serves", [True, False], ids=["serving", "stopped"])
def test_an_uninstall_that_fails_puts_the_service_back_as_it_was(
    serving: Host, state: Path, monkeypatch: pytest.MonkeyPatch, serves: bool
) -> None:
    """It runs again if it ran before, and only then."""
    if not serves:
        run(serving, "stop")
    write, failures = shim.write_shims, [OSError(errno.EIO, "Input/output error", str(serving.shim))]

    def fail_once(*arguments: Any, **more: Any) -> None:
        if failures:
            raise failures.pop()
        write(*arguments, **more)

    monkeypatch.setattr(shim, "write_shims", fail_once)
    report = serving.carry("uninstall")
    assert (report.outcome, report.current_version) == ("failed", "1.0")
    assert served(state) == (["1.0", "1.0"] if serves else ["1.0"])
    assert (run(serving, "ready") == 0) is serves
    assert subprocess.run([serving.shim, "hello"], capture_output=True, check=True).stdout == b"1.0 hello\n"
