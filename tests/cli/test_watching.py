"""Progress as people see it: in a terminal, in a pipe, and over a server that is busy for a while."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest

from cli.one_task import OneTask

KEY = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "k", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s"}
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def task() -> Iterator[OneTask]:
    """A task on 500 hosts."""
    with OneTask() as made:
        made.items = [
            {"instanceId": f"mi-{number:020d}", "clientId": f"c-{number:020d}", "clientStatus": "UPGRADING",
             "stage": "download", "fromVersion": "1.0", "toVersion": "2.0", "errorCode": "", "message": ""}
            for number in range(500)
        ]  # fmt: skip
        yield made


def arguments(task: OneTask) -> list[str]:
    return [sys.executable, "-m", "backfleet.cli", "task", "watch", "t-1", "--endpoint", task.endpoint]


def in_a_terminal(task: OneTask, **environment: str) -> str:
    """Return all that a command writes to a terminal of 80 columns and 24 lines, until its task is over."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    running = subprocess.Popen(
        arguments(task), stdin=theirs, stdout=theirs, stderr=theirs,
        env=os.environ | KEY | {"TERM": "xterm-256color"} | environment,
    )  # fmt: skip
    os.close(theirs)
    assert task.polled.acquire(timeout=60)
    assert task.polled.acquire(timeout=60)  # the picture was drawn after the first
    task.is_over = True
    written = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how Linux says that nobody has the other side any more
            break
        if not piece:
            break
        written += piece
    os.close(ours)
    assert running.wait(60) == 0, written
    return written.decode()


@pytest.mark.parametrize(
    ("environment", "has_colours"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=["plain", "NO_COLOR"]
)
def test_progress_of_many_hosts_fits_a_small_terminal(
    task: OneTask, environment: dict[str, str], has_colours: bool
) -> None:
    """Counts instead of 500 lines; no line wraps, so that redrawing leaves nothing behind; colours only if wanted."""
    written = in_a_terminal(task, **environment)
    lines = CONTROL.sub("", written).replace("\r", "\n").split("\n")
    assert max(map(len, lines)) <= 80
    assert any("0 of 500 done" in line for line in lines)
    assert any(line.split() == ["500", "download"] for line in lines)
    assert len(lines) < 120
    assert "UpgradeBackupClientsTask: completed, 100 %" in written
    assert "and 500 that did well" in written
    assert bool(COLOUR.search(written)) is has_colours


def test_progress_in_a_pipe_is_lines_and_a_busy_server_is_reported_once(task: OneTask) -> None:
    """Without control characters; also after answers that say nothing."""
    task.items = task.items[:2]
    task.statuses = [200, 503, 502]
    with subprocess.Popen(
        arguments(task), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | KEY
    ) as running:
        for _ in range(3):
            assert task.polled.acquire(timeout=60)
        task.is_over = True
        printed, errors = running.communicate(timeout=60)
    assert running.returncode == 0, errors
    assert errors.splitlines() == [
        "The server is busy; trying again for 5 minutes", "the server answers again"
    ]  # fmt: skip
    assert printed.splitlines()[:2] == ["2 of 2 done", "UpgradeBackupClientsTask: completed, 100 %"]
    assert "\x1b" not in printed
