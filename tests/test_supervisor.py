"""A server without systemd: its parent holds the listeners while the serving process is away."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux the server has a parent")

SECONDS = 300.0  # for a start: on a machine that is busy with other tests it takes a minute and more

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a server; servers that still run are killed at the end."""
    running: list[subprocess.Popen[str]] = []

    def begin(**environment: str) -> "subprocess.Popen[str]":
        listen = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"]
        process = subprocess.Popen(
            [sys.executable, "-m", "backfleet.cli", "serve", "--data", str(tmp_path / "data"), *listen],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def ready(process: "subprocess.Popen[str]") -> Any:
    """Return the next ready line."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def children(process: "subprocess.Popen[str]") -> list[int]:
    """Return its serving processes."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def state_of(pid: int) -> str:
    """Return the letter of its state, see proc(5); empty for a process that is no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def until(true: Callable[[], Any]) -> Any:
    """Return what becomes true soon."""
    end = time.monotonic() + SECONDS
    while not (found := true()):
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.02)
    return found


class Caller(threading.Thread):
    """Asks again and again, each time on a new connection, and notes every failure."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address, self.failures, self.answers, self.over = address, [], 0, threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            try:
                with urllib3.PoolManager() as pool:
                    pool.request("GET", f"{self.address}/healthz", retries=False, timeout=SECONDS)
                self.answers += 1
            except urllib3.exceptions.NewConnectionError as problem:
                self.failures.append(repr(problem))
            except urllib3.exceptions.HTTPError:
                pass  # it was being answered when the process died
            time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP], ids=["a crash", "a restart"])
def test_no_connection_is_refused_while_the_server_is_down(start: Start, how: signal.Signals) -> None:
    """They wait, and the next process answers them."""
    server = start()
    line = ready(server)
    (first,) = children(server)
    caller = Caller(line["http"])
    caller.start()
    try:
        until(lambda: caller.answers > 3)
        os.kill(first if how is signal.SIGKILL else server.pid, how)
        assert ready(server) == line
        answered = caller.answers
        until(lambda: caller.answers > answered + 3)
    finally:
        caller.over.set()
        caller.join()
    assert caller.failures == []
    assert children(server) != [first]


def test_a_connection_made_while_the_server_is_down_is_served_after(start: Start) -> None:
    """The serving process is stopped and then killed: nothing answers until the next one."""
    server = start()
    host, _, port = ready(server)["http"].removeprefix("http://").rpartition(":")
    (first,) = children(server)
    os.kill(first, signal.SIGSTOP)
    until(lambda: state_of(first) == "T")  # a process that is still being stopped may accept the connection
    with socket.create_connection((host, int(port)), timeout=SECONDS) as waits:
        waits.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        os.kill(first, signal.SIGKILL)
        assert waits.recv(12) == b"HTTP/1.1 200"


def test_a_signal_to_stop_ends_both(start: Start) -> None:
    """With exit code 0, also while a restart is awaited."""
    server = start()
    ready(server)
    (child,) = children(server)
    server.terminate()
    assert server.wait(SECONDS) == 0
    assert not Path(f"/proc/{child}").exists()


def test_the_serving_process_does_not_outlive_its_parent(start: Start) -> None:
    """Killed together: the port is free for the next start."""
    server = start()
    ready(server)
    (child,) = children(server)
    server.kill()
    server.wait()
    until(lambda: state_of(child) in ("", "Z"))


def test_a_server_that_never_began_to_serve_is_not_started_again(start: Start, tmp_path: Path) -> None:
    """Its message and its exit code are those of the command."""
    (tmp_path / "data").write_text("a file")
    server = start()
    _, problems = server.communicate(timeout=SECONDS)
    assert server.returncode == 1
    assert "cannot be used" in problems
    assert "starting it again" not in problems


def test_a_server_that_crashes_again_and_again_is_started_ever_later(start: Start) -> None:
    """Each pause is twice as long as the one before."""
    server = start()
    for _ in range(3):
        ready(server)
        (child,) = until(lambda: children(server))
        os.kill(child, signal.SIGKILL)
    ready(server)
    server.terminate()
    _, problems = server.communicate(timeout=SECONDS)
    messages = [json.loads(line)["message"] for line in problems.splitlines() if "starting it again" in line]
    assert [text.rpartition(" in ")[2] for text in messages] == ["0.2 s", "0.4 s", "0.8 s"]


def test_without_the_parent_the_server_serves_by_itself(start: Start) -> None:
    """`hold_listeners = false`, as under another supervisor."""
    server = start(BACKFLEET_HOLD_LISTENERS="false")
    ready(server)
    assert children(server) == []
