"""The agent as a unit of a real systemd: orders outlive it and are found again after stops and power cuts."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import machine as machines
from backfleet_host.agent.setup.systemd_unit import _write_watchdog, unit_name, watchdog_name
from backfleet_host.contract import read_output
from backfleet_host.layout import Places
from host.agent.conftest import acting_program, actions, order, until
from host.agent.gateway import Gateway
from machine import Machine

pytestmark = pytest.mark.skipif(bool(machines.why_not()), reason=machines.why_not())

UNIT = """
[Service]
ExecStart={python} -c "{starter}" {root}
Restart=no
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def machine(tmp_path: Path, places: Places, source: Path) -> Iterator[Machine]:
    """A machine whose agent is a unit that starts with it, with the acting upgrader."""
    program = acting_program(source, tmp_path / "program")
    path = [str(program), str(Path(__file__).resolve().parents[3])]
    starter = (
        f"import sys; sys.path[:0] = {path!r}; from pathlib import Path; from host.agent.quick_timings import QUICK;"
        "from backfleet_host.agent.running import run;"
        "sys.exit(run(Path(sys.argv[1]), allow_shell=False, timings=QUICK))"
    )
    with machines.switched_on(tmp_path / "machine", [places.root, program]) as machine:
        machine.unit("agent.service", UNIT.format(python=sys.executable, starter=starter, root=places.root))
        machine.systemctl("daemon-reload")
        machine.systemctl("enable", "--now", "agent.service")
        yield machine


def begun(places: Places, gateway: Gateway) -> bool:
    """Hand out an order; return whether it has begun in time."""
    gateway.hand_out("t-1", order("waits"), kick=False)
    return until(lambda: actions(places) == ["carry u-1"])


@pytest.mark.parametrize("how", ["stop", "restart"])
def test_f01_f04_an_order_outlives_the_unit_it_came_from(
    machine: Machine, places: Places, gateway: Gateway, how: str
) -> None:
    """systemd ends everything in the control group of the unit. The order has a scope of its own, and finishes."""
    assert begun(places, gateway), machine.log.read_text()
    scopes = machine.systemctl("list-units", "--type=scope", "--no-legend", "--plain")
    assert "backfleet-t-1" in scopes
    machine.systemctl(how, "agent.service")
    assert "backfleet-t-1" in machine.systemctl("list-units", "--type=scope", "--no-legend", "--plain")
    (places.root / "go").touch()
    machine.systemctl("start", "agent.service")
    assert gateway.end_of("t-1").query["exitCode"] == "0"
    assert actions(places) == ["carry u-1"]
    report = read_output(b"".join(one.body for one in gateway.reports_about("t-1")).decode())[1]
    assert report is not None
    assert report.outcome == "succeeded"
    assert until(lambda: "backfleet-t-1" not in machine.systemctl("list-units", "--type=scope", "--no-legend"))


def test_f78_the_agent_starts_by_itself_after_a_power_cut(machine: Machine, places: Places, gateway: Gateway) -> None:
    """The unit starts, the order is recovered, the server learns what the host runs."""
    assert begun(places, gateway)
    machine.power_off()
    machine.boot()
    end = gateway.end_of("t-1")
    assert (end.name, end.query["exitCode"]) == ("finish", "1")
    assert actions(places) == ["carry u-1", "recover u-1"]


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ("/opt/backfleet", "backfleet-host.service"),
        ("/srv/host-1", r"backfleet-host-srv-host\x2d1.service"),
        ("/srv/my hosts/é%", r"backfleet-host-srv-my\x20hosts-\xc3\xa9\x25.service"),
    ],
)
def test_each_root_has_a_unit_of_its_own(root: str, name: str) -> None:
    """With a name that systemd accepts."""
    assert unit_name(Path(root)) == name


@pytest.fixture
def bare(tmp_path: Path, places: Places, program: Path) -> Iterator[Machine]:
    """A machine with an enrolled root and the host program as one file."""
    with machines.switched_on(tmp_path / "machine", [places.root, program.parent]) as machine:
        yield machine


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The one-file program, as hosts get it."""
    folder = tmp_path / "a folder with $igns & blanks"
    folder.mkdir()
    built = Path(__file__).resolve().parents[4] / "tools" / "build_host_program.py"
    subprocess.run([sys.executable, built, folder / "backfleet-host"], check=True, capture_output=True)
    return folder / "backfleet-host"


def test_the_agent_becomes_a_unit_that_runs_after_every_start(
    bare: Machine, places: Places, gateway: Gateway, program: Path
) -> None:
    """`service` makes it, again without harm, and `--remove` removes it; the power may fail meanwhile."""
    words = [sys.executable, program, "service", "--root", places.root]
    for _ in range(2):
        done = bare.run(*words)
        assert done.returncode == 0, done.stderr
    (unit,) = [path.name for path in bare.units.glob("backfleet-host-*.service")]
    assert f"{unit} runs" in done.stdout
    assert bare.systemctl("is-active", unit) == "active"
    gateway.wait_for(lambda: gateway.opened >= 1)
    before = gateway.opened
    bare.power_off()
    bare.boot()
    assert until(lambda: bare.systemctl("is-active", unit) == "active")
    gateway.wait_for(lambda: gateway.opened > before)
    assert bare.run(*words, "--remove").returncode == 0
    assert bare.systemctl("is-active", unit) == "inactive"
    assert list(bare.units.glob("backfleet-host-*.service")) == []
    gone = bare.run(*words, "--remove")
    assert (gone.returncode, gone.stderr.startswith("backfleet-host: there is no unit")) == (1, True)


@pytest.mark.parametrize("lost", ["verified", "previous"])
def test_each_line_of_the_watchdog_runs_whatever_the_other_does(
    bare: Machine, places: Places, tmp_path: Path, lost: str
) -> None:
    """Its links are files that may be lost: what one leads to must do the work then."""
    package, name = places.root / "backfleet-host", "backfleet-host-odd.service"
    for version in ("1.0", "2.0"):
        program = package / "versions" / version / "bin" / "backfleet-host"
        program.parent.mkdir(parents=True)
        program.write_text(f'import pathlib, sys; pathlib.Path("{places.root}", sys.argv[1]).touch(); sys.exit(1)\n')
    (package / "verified").symlink_to("versions/2.0")
    (package / "previous").symlink_to("versions/1.0")
    _write_watchdog(name, [sys.executable, str(program)], places.root, bare.units)
    (package / lost).unlink()
    bare.systemctl("daemon-reload")
    bare.systemctl("start", watchdog_name(name, "service"))
    done = [verb for verb in ("watchdog", "late-rollback") if (places.root / verb).exists()]
    assert done == ["late-rollback" if lost == "verified" else "watchdog"]
    assert bare.systemctl("is-failed", watchdog_name(name, "service")) != "failed"
