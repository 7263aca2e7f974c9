"""Units of a real systemd, the first process of a machine of its own: stopped, switched, started, and its power cut."""

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import backfleet_host
import machine as machines
from backfleet_host.contract import Report, read_output
from machine import Machine

Host = Any
Shop = Any

SOURCE = Path(str(backfleet_host.__file__)).parents[1]
CARRY_OUT = Path(__file__).parents[1] / "carry_out_order.py"

pytestmark = pytest.mark.skipif(bool(machines.why_not()), reason=machines.why_not())

UNIT = """
[Service]
ExecStart=ROOT/courier/current/bin/courier serve
TimeoutStopSec=10
[Install]
WantedBy=multi-user.target
"""

CLIENT = """#!/bin/sh
case "$1" in
  version) while [ -e STATE/wait-{version} ]; do sleep 0.05; done; echo "{package} {version}"; exit {health} ;;
  serve) echo {version} >> STATE/served; BEHAVIOUR; exec sleep 1000 ;;
  ready) [ "$(tail -n 1 STATE/served)" = {version} ] ;;
  *) echo "{version} $*" ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path, shop: Shop) -> Iterator[Machine]:
    """Run a machine that shares a folder with us."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "root.json").write_bytes(shop.trust_root)
    with machines.switched_on(tmp_path / "machine", [shared]) as machine:
        yield machine


class Managed:
    """The host on that machine, where orders are carried out."""

    def __init__(self, machine: Machine, host: Host, shop: Shop, shared: Path) -> None:
        host.root, self.machine, self.host, self.shop, self.shared = shared / "host", machine, host, shop, shared
        host.installation = dataclasses.replace(host.installation, root=host.root, bin=host.root / "bin")
        machine.unit("courier.service", UNIT.replace("ROOT", str(host.root)))

    def offer(self, version: str, behaviour: str = ":", **more: Any) -> None:
        """Offer a release whose service is the unit."""
        client = CLIENT.replace("STATE", str(self.shared)).replace("BEHAVIOUR", behaviour)
        self.shop.add(version, client=client, service={"unit": "courier.service", "seconds": 5}, **more)

    def command_line(self, kind: str, version: str = "", **more: Any) -> list[str]:
        """Return the command that carries an order out on the machine."""
        installation = {
            "root": str(self.host.root), "downloads": self.shop.address, "system": "",
            "trust_root": str(self.shared / "root.json"),
        }  # fmt: skip
        order = self.host.order(kind, version, **more).to_json()
        return [sys.executable, str(CARRY_OUT), json.dumps(installation), json.dumps(order)]

    def carry(self, kind: str, version: str = "", **more: Any) -> Report:
        """Carry an order out; return its report."""
        done = self.machine.run("--setenv", f"PYTHONPATH={SOURCE}", *self.command_line(kind, version, **more))
        self.host.progress.append("")  # the next order is another one
        report = read_output(done.stdout)[1]
        assert report is not None, done.stdout + done.stderr
        return report

    def served(self) -> list[str]:
        """Return the versions that began to serve, in order."""
        file = self.shared / "served"
        return file.read_text().split() if file.exists() else []

    def is_active(self) -> bool:
        return self.machine.systemctl("is-active", "courier.service") == "active"


@pytest.fixture
def managed(machine: Machine, host: Host, shop: Shop, tmp_path: Path) -> Managed:
    """Return a host with 1.0, whose unit is enabled and runs."""
    managed = Managed(machine, host, shop, tmp_path / "shared")
    managed.offer("1.0")
    assert managed.carry("install", "1.0").outcome == "succeeded"
    machine.systemctl("daemon-reload")
    machine.systemctl("enable", "--now", "courier.service")
    assert managed.is_active()
    return managed


def test_f77_a_unit_goes_on_with_the_new_version_and_stays_enabled(managed: Managed) -> None:
    """One generation after the other, each once."""
    managed.offer("2.0")
    report = managed.carry("upgrade", "2.0")
    assert (report.outcome, report.current_version) == ("succeeded", "2.0"), report
    assert managed.is_active()
    assert managed.served() == ["1.0", "2.0"]
    assert managed.machine.systemctl("is-enabled", "courier.service") == "enabled"
    assert managed.machine.systemctl("show", "-p", "NRestarts", "courier.service") == "NRestarts=0"


def test_a_unit_that_was_stopped_stays_stopped(managed: Managed) -> None:
    managed.machine.systemctl("stop", "courier.service")
    managed.offer("2.0")
    assert managed.carry("upgrade", "2.0").current_version == "2.0"
    assert not managed.is_active()
    assert managed.served() == ["1.0"]


@pytest.mark.parametrize(
    ("behaviour", "health", "restart"),
    [
        pytest.param(":", 1, "", id="the health command says no"),
        pytest.param("exit 1", 0, "", id="it dies at once"),
        pytest.param("sleep 0.3; exit 1", 0, "", id="it dies after a moment"),
        pytest.param("exit 1", 0, "Restart=always\nRestartSec=10ms\n", id="it dies until systemd gives it up"),
    ],
)
def test_f23_an_unhealthy_unit_is_rolled_back(managed: Managed, behaviour: str, health: int, restart: str) -> None:
    """The old version serves again, whatever state systemd reports for the unit."""
    unit = managed.machine.units / "courier.service"
    unit.write_text(unit.read_text().replace("[Service]\n", f"[Service]\n{restart}"))
    managed.machine.systemctl("daemon-reload")
    managed.offer("2.0", behaviour, health=health)
    report = managed.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0"), report
    assert managed.is_active()
    assert managed.served()[-1] == "1.0"


def test_an_uninstall_leaves_no_unit_running(managed: Managed) -> None:
    assert managed.carry("uninstall").outcome == "succeeded"
    assert not managed.is_active()


@pytest.mark.parametrize(("healthy", "version"), [(True, "2.0"), (False, "1.0")], ids=["well", "unhealthy"])
def test_f12_the_power_fails_while_the_new_version_is_on_trial(managed: Managed, healthy: bool, version: str) -> None:
    """At the next boot systemd starts what `current` points to; recovery then verifies it or rolls it back."""
    managed.offer("2.0", health=0 if healthy else 1)
    (managed.shared / "wait-2.0").touch()
    entering = managed.machine.entering("systemd-run", "--quiet", f"--setenv=PYTHONPATH={SOURCE}")
    subprocess.run([*entering, *managed.command_line("upgrade", "2.0")], check=True)
    until = time.monotonic() + 20
    while managed.served() != ["1.0", "2.0"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    managed.machine.power_off()
    (managed.shared / "wait-2.0").unlink()
    managed.machine.boot()
    report = managed.carry("recover")
    assert report.current_version == version, report
    assert report.code == ("" if healthy else "RolledBack")
    assert managed.is_active()
    assert managed.served()[-1] == version
    assert managed.host.leftovers() == []
