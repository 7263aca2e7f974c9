"""A gateway, an enrolled root, and agents as real processes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backfleet_host.agent.protocol.address import read_address
from backfleet_host.agent.protocol.signing import make_key, private_pem
from backfleet_host.agent.setup.enrolment import EnrolmentOptions, enrol
from backfleet_host.contract import Order
from backfleet_host.layout import Places
from host.agent.gateway import CODE, Gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that runs."""
    with Gateway(tmp_path / "gateway") as gateway:
        yield gateway


@pytest.fixture(scope="session")
def key_pem() -> bytes:
    """A key, made once for all tests, since making one takes time."""
    return private_pem(make_key())


@pytest.fixture
def places(tmp_path: Path, gateway: Gateway, key_pem: bytes) -> Places:
    """A root that is enrolled with the gateway."""
    places = Places(tmp_path / "root")
    places.agent.mkdir(parents=True)
    places.key.write_bytes(key_pem)
    options = EnrolmentOptions(read_address(gateway.address), gateway.ca, "act-1", CODE, "host-1")
    enrol(places, options, mode="restricted", now=datetime.now(UTC), progress=lambda text: None)
    return places


class Host:
    """One agent of a root after another, as processes that can be killed."""

    def __init__(self, places: Places, program: Path) -> None:
        self.places, self._program = places, program
        self.agent: subprocess.Popen[str] | None = None
        self.log = places.root / "agent.log"

    def start(self, *words: str) -> None:
        """Start an agent."""
        path = [str(self._program), str(Path(__file__).resolve().parents[2])]
        starter = (
            f"import sys; sys.path[:0] = {path!r}; import logging;"
            "logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s');"
            "from pathlib import Path; from host.agent.quick_timings import QUICK;"
            "from backfleet_host.agent.running import run;"
            "sys.exit(run(Path(sys.argv[1]), allow_shell='shell' in sys.argv, timings=QUICK))"
        )
        with self.log.open("a") as log:
            self.agent = subprocess.Popen(
                [sys.executable, "-c", starter, str(self.places.root), *words],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": ""},
            )

    def ready(self) -> dict[str, str]:
        """Wait for the line that the agent prints once it is connected, and return it."""
        assert self.agent is not None
        assert self.agent.stdout is not None
        line = self.agent.stdout.readline()
        assert line, self.log.read_text()
        return dict(json.loads(line))

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End the agent with this signal; return its exit code."""
        assert self.agent is not None
        self.agent.send_signal(number)
        code = self.agent.wait(10)
        assert self.agent.stdout is not None
        self.agent.stdout.close()
        self.agent = None
        return code

    def task_processes(self) -> list[int]:
        """Return the ids of all processes of this root's tasks, scripts included."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            mine = self.agent is not None and int(entry.name) == self.agent.pid
            if str(self.places.root).encode() in words and state != "Z" and not mine:
                found.append(int(entry.name))
        return found

    def all_processes_end(self) -> bool:
        """Wait for the end of all processes of tasks; return whether it came in time."""
        return until(lambda: not self.task_processes())


def order(version: str = "1.0", order_id: str = "u-1") -> str:
    """Return an order as command content. The acting upgrader does what the version says."""
    return Order(order_id, "upgrade", "rclone", version, "linux-amd64").as_command()


def actions(places: Places) -> list[str]:
    """Return what the acting upgrader has done so far."""
    file = places.root / "actions"
    return file.read_text().splitlines() if file.exists() else []


def until(what: Callable[[], object], seconds: float = 10.0) -> bool:
    """Wait until `what` is true; return whether it became so in time."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture(scope="session")
def source() -> Path:
    """The folder with the source of the host program."""
    import backfleet_host

    return Path(str(backfleet_host.__file__)).parents[1]


@contextlib.contextmanager
def host_of(places: Places, program: Path) -> Iterator[Host]:
    """Give a host, and kill what still runs of it at the end."""
    host = Host(places, program)
    try:
        yield host
    finally:
        if host.agent is not None:
            host.kill()
        for pid in host.task_processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def host(places: Places, source: Path) -> Iterator[Host]:
    """A host with the real program."""
    with host_of(places, source) as host:
        yield host


def acting_program(source: Path, folder: Path) -> Path:
    """Make a host program whose upgrader does what the version in the order says; the rest of it is real."""
    (folder / "backfleet_host" / "upgrader").mkdir(parents=True)
    for entry in (source / "backfleet_host").iterdir():
        if entry.name not in {"upgrader", "__pycache__"}:
            (folder / "backfleet_host" / entry.name).symlink_to(entry)
    actor = Path(__file__).with_name("acting_upgrader.py")
    (folder / "backfleet_host" / "upgrader" / "__init__.py").write_text(actor.read_text())
    return folder


@pytest.fixture
def acting_host(places: Places, source: Path, tmp_path: Path) -> Iterator[Host]:
    """A host with the acting upgrader."""
    with host_of(places, acting_program(source, tmp_path / "program")) as host:
        yield host
