"""A newcomer: the README's wheel in an empty environment, then both first guides, pasted block by block from the pages.

Nothing of the checkout is in reach but what the pages say: the wheel, and the units that are copied out of it. `pip`
asks the package index for what the server needs; nothing else asks anybody outside of this machine.

Little differs from what a reader does: `make wheel` is the tool behind it, since the checkout is no one's to write to;
ports are free ones; the name of the server leads to this machine; and `doctor` may have warnings.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

import machine as machines
from backfleet_host.platforms import platform_here
from documents import PROJECT, Block, blocks_of
from journeys.installation import LONG, free_ports, processes_of
from machine import Machine

FIRST, SERVICE = "docs/guides/first-upgrade.md", "docs/guides/a-server-that-stays.md"
NAME = "backup.example.com"
VERSIONS = ("1.0", "1.1", "1.1", "1.1", "1.3")
SCRIPT = "set -euo pipefail\nexec 2>&1\n"
FOR_PIP = re.compile(r"PIP_\w+|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|\w+_proxy", re.IGNORECASE)
PYTHON = Path("/usr/bin/python3")  # one that a service may read: not below somebody's home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first block of the README, pasted: a wheel below `build`, and an environment that it is installed in."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(PROJECT / "packaging", folder / "packaging")
    (text,) = [block.text for block in blocks_of("README.md") if block.text.startswith("make wheel")]
    text, serves = re.subn(r"(bin/backfleet serve)", r"\1 --print-config", text)
    assert serves == 1
    tool = f'make() {{ test "$*" = wheel && "{sys.executable}" "{PROJECT}/tools/build_wheel.py" build; }}\n'
    paste(tool + text, folder, clean_environment())
    return folder


def clean_environment() -> dict[str, str]:
    """Return this process's variables without those that lead to the checkout or to settings."""
    left_out = ("PYTHONPATH", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in left_out and "BACKFLEET" not in name}


def paste(text: str, folder: Path, environment: dict[str, str]) -> str:
    """Paste a text into a terminal in a folder, and wait for its end; return what was shown."""
    log = folder / "terminal.log"
    with log.open("wb") as terminal:
        reader = subprocess.Popen(
            ["bash", "-c", SCRIPT + text], cwd=folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, start_new_session=True,
        )  # fmt: skip
        try:
            code = reader.wait(LONG)
        finally:
            end_everything(reader, folder)
    assert code == 0, log.read_text()
    return log.read_text()


def end_everything(reader: subprocess.Popen[bytes], folder: Path) -> None:
    """End what the reader's terminal still runs."""
    with suppress(ProcessLookupError):
        os.killpg(reader.pid, signal.SIGKILL)
    reader.wait()
    for pid in processes_of(folder):
        os.kill(pid, signal.SIGKILL)


def with_places(text: str, places: dict[str, str]) -> str:
    """Return a page's text with the reader's own values; `doctor` may have warnings, but no errors."""
    for there, here in places.items():
        text = text.replace(there, here)
    return re.sub(r"^backfleet doctor$", "backfleet doctor || test $? = 3", text, flags=re.MULTILINE)


def answers(shown: str) -> list[str]:
    """Return what the client said each time when it was run."""
    return re.findall(r"^courier (\d\.\d)$", shown, re.MULTILINE)


def test_the_first_guide_does_what_it_says(checkout: Path, tmp_path: Path) -> None:
    """A host is upgraded, takes back a bad version, survives the loss of the server, goes on, and leaves."""
    script = "\n".join(block.text for block in blocks_of(FIRST))
    http, https = map(str, free_ports(2))
    places = {"18080": http, "18443": https, "linux-amd64": platform_here()}
    assert all(there in script for there in places)
    path = f"{checkout}/backfleet/bin:{os.environ['PATH']}"
    shown = paste(with_places(script, places), tmp_path, clean_environment() | {"PATH": path})
    assert answers(shown) == [*VERSIONS, "1.3"], shown
    assert "RolledBack" in shown
    assert "exit code 1" in shown
    left = tmp_path / "host" / "bin" / "courier"
    assert left.read_text().startswith("#!/bin/sh")
    assert f"{tmp_path}/host/courier/versions/1.3" in left.read_text()


@dataclass
class Terminal:
    """Root's terminal on a machine, in the checkout."""

    machine: Machine
    checkout: Path
    places: dict[str, str]

    def paste(self, text: str, *given: str) -> str:
        """Paste a text; return what was shown."""
        script = f'export HOME=/root; cd "{self.checkout}"\n{SCRIPT}{with_places(text, self.places)}'
        done = self.machine.run("/usr/bin/env", *given, "bash", "-c", script, seconds=LONG)
        assert done.returncode == 0, done.stdout + done.stderr + self.machine.log.read_text()[-3000:]
        return done.stdout


@pytest.fixture
def terminals(checkout: Path) -> Iterator[list[Terminal]]:
    """Terminals on two machines that are up: one whose server is to listen on ports that are free here, and another."""
    http, https = map(str, free_ports(2))
    places = {"127.0.0.1:8080": f"127.0.0.1:{http}", "linux-amd64": platform_here()}
    with tempfile.TemporaryDirectory(prefix="bf-") as folder, ExitStack() as power:
        made = []
        for name in ("m1", "m2"):
            machine = Machine(Path(folder) / name, [checkout])
            for unit, port in (("backfleet-http", f"127.0.0.1:{http}"), ("backfleet-https", https)):
                (machine.units / f"{unit}.socket.d").mkdir()
                machine.unit(f"{unit}.socket.d/port.conf", f"[Socket]\nListenStream=\nListenStream={port}\n")
            power.callback(machine.power_off)
            machine.boot()
            machine.run("sh", "-c", f"echo 127.0.0.1 {NAME} >> /etc/hosts")
            made.append(Terminal(machine, checkout, places))
        yield made


def why_not() -> str:
    """Return why no service can be installed here as the page says; empty if it can."""
    needs = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    if not PYTHON.exists() or subprocess.run([PYTHON, "-c", needs], capture_output=True, check=False).returncode:
        return f"{PYTHON} is older than 3.11, or lacks venv"
    return machines.why_not()


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_a_server_of_systemd_is_installed_lost_restored_and_goes_on(terminals: list[Terminal]) -> None:
    """Two machines are its hosts. What `activation create` prints is pasted on both, as it is."""
    here, other = terminals
    blocks = list(blocks_of(SERVICE))
    (at,) = (index for index, block in enumerate(blocks) if block.example == "the line")
    given = [f"{name}={value}" for name, value in os.environ.items() if FOR_PIP.fullmatch(name)]
    shown = here.paste(joined(blocks[: at + 1]), *given)
    (line,) = (text for text in shown.splitlines() if "curl" in text and "backfleet-host" in text and " enrol " in text)
    assert f"--server {NAME}:" in line
    for terminal in (other, here):
        terminal.paste(line)
    shown = here.paste(joined(blocks[at + 1 :]))
    assert answers(shown) == list(VERSIONS), shown
    assert answers(other.paste("courier")) == ["1.3"]
    assert shown.count("RolledBack") >= 2
    assert "exit code 1" in shown
    for terminal, unit in ((here, "backfleet"), (here, "backfleet-host"), (other, "backfleet-host")):
        assert terminal.machine.systemctl("is-active", unit) == "active"
        assert terminal.machine.systemctl("is-enabled", unit) == "enabled"
    owner = here.machine.run("find", "/var/lib/backfleet", "!", "-user", "backfleet")
    assert owner.stdout == ""


def joined(blocks: list[Block]) -> str:
    return "\n".join(block.text for block in blocks)
