"""Listening sockets that systemd holds while the service restarts."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

import pytest
import urllib3

from backfleet.settings import Settings
from backfleet.sockets import inherited_sockets, tell_systemd
from backfleet_host.layout import DEFAULT_ROOT
from journeys.installation import LONG

UNITS = Path(__file__).parent.parent / "packaging" / "systemd"
GUIDE = Path(__file__).parent.parent / "docs" / "guides" / "a-server-that-stays.md"
# As systemd starts a service: the listeners are descriptors 3 and 4, and the variables name this very process.
START = """
import os, sys
http, https = (int(word) for word in sys.argv[1:3])
kept = [os.dup(https), os.dup(http)]
for at, descriptor in enumerate(kept, 3):
    os.dup2(descriptor, at)
    os.set_inheritable(at, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="https:http")
os.execv(sys.executable, [sys.executable, "-m", "backfleet.cli", "serve", *sys.argv[3:]])
"""


def start(data: Path, listeners: list[socket.socket], notify: Path, *words: str) -> "subprocess.Popen[str]":
    numbers = [listener.fileno() for listener in listeners]
    for number in numbers:
        assert number > 4
    return subprocess.Popen(
        [sys.executable, "-c", START, *map(str, numbers), "--data", str(data), *words],
        pass_fds=numbers,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"NOTIFY_SOCKET": str(notify)},
    )


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


@pytest.mark.parametrize("words", [[], ["--processes", "2"]], ids=["one process", "two"])
def test_no_connection_is_refused_during_a_restart(tmp_path: Path, words: list[str]) -> None:
    """A connection between two servers waits, and the second answers it; systemd learns when each is ready, once."""
    with (
        open(os.devnull),
        open(os.devnull),
        ExitStack() as ends,
        socket.create_server(("127.0.0.1", 0)) as http,
        socket.create_server(("127.0.0.1", 0)) as https,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
    ):
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(LONG)
        address = f"http://127.0.0.1:{http.getsockname()[1]}/healthz"
        first = start(tmp_path / "data", [http, https], tmp_path / "notify", *words)
        ends.callback(end, first)
        assert systemd.recv(100) == b"READY=1"
        assert first.stdout is not None
        assert json.loads(first.stdout.readline())["https"] == f"https://127.0.0.1:{https.getsockname()[1]}"
        assert urllib3.request("GET", address, retries=False).status == 200
        first.send_signal(signal.SIGKILL)
        first.communicate(timeout=LONG)
        answers: list[int] = []
        connecting = threading.Thread(
            target=lambda: answers.append(urllib3.request("GET", address, retries=False, timeout=LONG).status)
        )
        connecting.start()
        second = start(tmp_path / "data", [http, https], tmp_path / "notify", *words)
        ends.callback(end, second)
        connecting.join(LONG)
        assert answers == [200]
        assert systemd.recv(100) == b"READY=1"
        second.terminate()
        assert systemd.recv(100) == b"STOPPING=1"
        _, problems = second.communicate(timeout=LONG)
        assert second.returncode == 0, problems


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:https"}, id="another process's"),
        pytest.param({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}, id="no number"),
        pytest.param({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}, id="none"),
    ],
)
def test_without_systemd_no_sockets_are_inherited(environment: dict[str, str]) -> None:
    """And the variables are gone from the environment, so that no child process takes the sockets for its own."""
    assert inherited_sockets(environment) == {}
    assert environment == {}
    tell_systemd("READY=1", {"NOTIFY_SOCKET": "/nowhere/at/all"})
    tell_systemd("READY=1", {})


def test_the_units_fit_together() -> None:
    """Their names match, and the service needs both sockets."""
    sockets = {path.name: path.read_text() for path in UNITS.glob("*.socket")}
    names = {re.findall(r"FileDescriptorName=(\w+)", text)[0] for text in sockets.values()}
    assert names == {"http", "https"}
    service = (UNITS / "backfleet.service").read_text()
    assert all(name in service and "Service=backfleet.service" in text for name, text in sockets.items())
    assert "Type=notify" in service


def test_the_unit_its_environment_and_the_page_name_the_same_places() -> None:
    """What an operator copies works where the page puts it, and is no host's folder."""
    unit, page = (UNITS / "backfleet.service").read_text(), GUIDE.read_text()
    program = re.findall(r"^ExecStart=(\S+)", unit, re.MULTILINE)[0]
    folder = program.removesuffix("/bin/backfleet")
    assert f"{folder}/bin/pip install build/backfleet" in page
    assert not folder.startswith(f"{DEFAULT_ROOT}/")
    environment = re.findall(r"^EnvironmentFile=-(\S+)", unit, re.MULTILINE)[0]
    assert f"packaging/systemd/server.env {environment}" in page
    named = re.findall(r"^#?BACKFLEET_([A-Z_]+)=", (UNITS / "server.env").read_text(), re.MULTILINE)
    assert {name.lower() for name in named} <= {each.name for each in fields(Settings)}
    assert "PUBLIC_HOST" in named
