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

from backfleet_host.agent.protocol.server import read_address
from backfleet_host.agent.protocol.signing import make_key, private_pem
from backfleet_host.agent.setup.enrolment import Wish, enrol
from backfleet_host.layout import Places
from host.agent.gateway import CODE, Gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that is up."""
    with Gateway(tmp_path / "gateway") as gateway:
        yield gateway


@pytest.fixture(scope="session")
def key_pem() -> bytes:
    """A key, made once: half a second each adds up."""
    return private_pem(make_key())


@pytest.fixture
def places(tmp_path: Path, gateway: Gateway, key_pem: bytes) -> Places:
    """A root that is enrolled with the gateway."""
    places = Places(tmp_path / "root")
    places.agent.mkdir(parents=True)
    places.key.write_bytes(key_pem)
    wish = Wish(read_address(gateway.address), gateway.ca, "act-1", CODE, "host-1")
    enrol(places, wish, mode="restricted", now=datetime.now(UTC), say=lambda text: None)
    return places


class Host:
    """Agents of one root, one after the other, as processes that can be killed."""

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
            "from pathlib import Path; from host.agent.quick import QUICK;"
            "from backfleet_host.agent.running import run;"
            "sys.exit(run(Path(sys.argv[1]), allow_shell='shell' in sys.argv, pace=QUICK))"
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
        """The line with which the agent says that it runs."""
        assert self.agent is not None
        assert self.agent.stdout is not None
        line = self.agent.stdout.readline()
        assert line, self.log.read_text()
        return dict(json.loads(line))

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End the agent; returns its exit code."""
        assert self.agent is not None
        self.agent.send_signal(number)
        code = self.agent.wait(10)
        assert self.agent.stdout is not None
        self.agent.stdout.close()
        self.agent = None
        return code

    def carrying(self) -> list[int]:
        """Processes of this root's tasks, scripts included."""
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

    def nothing_left(self) -> bool:
        """Whether no task's process lives any more."""
        return until(lambda: not self.carrying())


def until(what: Callable[[], object], seconds: float = 10.0) -> bool:
    """Whether it becomes true in time."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture(scope="session")
def source() -> Path:
    """Where the host program's source is."""
    import backfleet_host

    return Path(str(backfleet_host.__file__)).parents[1]


@contextlib.contextmanager
def host_of(places: Places, program: Path) -> Iterator[Host]:
    """A host; whatever of it still runs at the end is ended."""
    host = Host(places, program)
    try:
        yield host
    finally:
        if host.agent is not None:
            host.kill()
        for pid in host.carrying():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def host(places: Places, source: Path) -> Iterator[Host]:
    """A host with the real program."""
    with host_of(places, source) as host:
        yield host


def acting_program(source: Path, folder: Path) -> Path:
    """The real program but for its upgrader, which does what the version in the order says."""
    (folder / "backfleet_host" / "upgrader").mkdir(parents=True)
    for entry in (source / "backfleet_host").iterdir():
        if entry.name not in {"upgrader", "__pycache__"}:
            (folder / "backfleet_host" / entry.name).symlink_to(entry)
    actor = Path(__file__).with_name("acting_upgrader.py")
    (folder / "backfleet_host" / "upgrader" / "__init__.py").write_text(actor.read_text())
    return folder


@pytest.fixture
def acting_host(places: Places, source: Path, tmp_path: Path) -> Iterator[Host]:
    """A host whose upgrader is an actor."""
    with host_of(places, acting_program(source, tmp_path / "program")) as host:
        yield host
