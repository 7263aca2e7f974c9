"""The command line of a managed host, as people and scripts meet it: real processes, exit codes, one clear line."""

import array
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from host.agent.gateway import CODE, Gateway
from journeys.installation import LONG, wait_for
from mounts import mounted, remount

SOURCE = Path(__file__).resolve().parents[2] / "src"


def backfleet_host(*words: object, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "backfleet_host", *map(str, words)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **variables},
    )


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(tmp_path / "gateway") as gateway:
        yield gateway


def enrol_words(gateway: Gateway, root: Path) -> list[object]:
    return ["enrol", "--server", gateway.address, "--ca", gateway.ca, "--activation-id", "act-1", "--root", root]


@pytest.mark.parametrize("way", ["word", "variable", "stdin"])
def test_enrol_reads_the_code_from_an_option_the_environment_or_standard_input(
    gateway: Gateway, tmp_path: Path, way: str
) -> None:
    """On standard input no other user can read it."""
    words = enrol_words(gateway, tmp_path / "root")
    words += {"word": ["--activation-code", CODE], "stdin": ["--activation-code", "-"], "variable": []}[way]
    variables = {"BACKFLEET_ACTIVATION_CODE": CODE} if way == "variable" else {}
    done = backfleet_host(*words, "--name", "host-1", stdin=f"{CODE}\n" if way == "stdin" else "", **variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("enrolled as mi-test0001; now start the agent: backfleet-host service --root ")
    assert CODE not in done.stdout + done.stderr
    again = backfleet_host(*words, stdin=f"{CODE}\n", **variables)
    assert (again.returncode, again.stdout) == (0, done.stdout)  # so that the pasted line goes on to `service`
    assert "already enrolled" in again.stderr
    assert again.stderr.count("\n") == 1


HALF = ["enrol", "--ca", "f", "--activation-id", "a"]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="nothing"),
        pytest.param(["fly"], id="an unknown verb"),
        pytest.param(["enrol"], id="enrol without words"),
        pytest.param(["run", "--shell"], id="an unknown option"),
        pytest.param(["run", "--allow"], id="half an option"),
        pytest.param([*HALF, "--server", "x:y", "--activation-code", "c"], id="a port that is none"),
        pytest.param([*HALF, "--server", "x:1"], id="no code"),
        pytest.param([*HALF, "--server", "x:1", "--activation-code", "-"], id="an empty code"),
    ],
)
def test_wrong_arguments_exit_with_2_and_show_the_usage(words: list[str]) -> None:
    """No traceback."""
    done = backfleet_host(*words)
    assert done.returncode == 2
    assert "usage: backfleet-host" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_refused_enrolment_exits_with_1_and_one_line(gateway: Gateway, tmp_path: Path) -> None:
    """Nothing on standard output, nothing left on disk."""
    words = [*enrol_words(gateway, tmp_path / "root"), "--activation-code", "wrong-code"]
    done = backfleet_host(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert [line for line in done.stderr.splitlines() if "the server refuses this enrolment" in line]
    assert "wrong-code" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("verb", ["run", "recover"])
def test_a_host_that_is_not_enrolled_says_what_to_do(tmp_path: Path, verb: str) -> None:
    """And nothing is made on disk."""
    done = backfleet_host(verb, "--root", tmp_path / "root")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not enrolled; run `backfleet-host enrol` first" in done.stderr
    assert not (tmp_path / "root").exists()


def test_status_shows_the_host_and_changes_nothing(gateway: Gateway, tmp_path: Path) -> None:
    """Before and after enrolment, for people and for programs."""
    root = tmp_path / "root"
    before = backfleet_host("status", "--root", root, "--json")
    assert before.returncode == 0
    assert json.loads(before.stdout)["agent"]["enrolled"] is False
    assert not root.exists()
    backfleet_host(*enrol_words(gateway, root), "--activation-code", CODE)
    status = json.loads(backfleet_host("status", "--root", root, "--json").stdout)
    assert status["agent"]["instance_id"] == "mi-test0001"
    assert status["agent"]["running"] is False
    assert status["packages"] == []
    assert "instance   mi-test0001" in backfleet_host("status", "--root", root).stdout


def test_names_and_messages_from_elsewhere_are_escaped(gateway: Gateway, tmp_path: Path) -> None:
    """They could move the cursor, or pretend to be another line."""
    root = tmp_path / "root"
    name = "web\x1b[2J\u202e\nagent      running"
    backfleet_host(*enrol_words(gateway, root), "--activation-code", CODE, "--name", name)
    shown = backfleet_host("status", "--root", root).stdout
    assert "web\\x1b[2J\\u202e\\nagent      running" in shown
    assert shown.count("agent      ") == 2
    assert json.loads(backfleet_host("status", "--root", root, "--json").stdout)["agent"]["name"] == name


def test_recover_without_anything_to_recover_succeeds(gateway: Gateway, tmp_path: Path) -> None:
    """Exit code 0."""
    backfleet_host(*enrol_words(gateway, tmp_path / "root"), "--activation-code", CODE)
    done = backfleet_host("recover", "--root", tmp_path / "root")
    assert (done.returncode, done.stdout) == (0, "nothing to recover\n")
    assert json.loads(backfleet_host("recover", "--root", tmp_path / "root", "--json").stdout) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_upon_a_signal(gateway: Gateway, tmp_path: Path, number: int) -> None:
    """One JSON line when connected, logs on standard error, exit code 0."""
    root = tmp_path / "root"
    backfleet_host(*enrol_words(gateway, root), "--activation-code", CODE)
    agent = subprocess.Popen(
        [sys.executable, "-m", "backfleet_host", "run", "--root", str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert agent.stdout is not None
    line = agent.stdout.readline()
    assert json.loads(line) == {"event": "running", "instance_id": "mi-test0001", "mode": "restricted"}
    assert json.loads(backfleet_host("status", "--root", root, "--json").stdout)["agent"]["running"] is True
    second = backfleet_host("run", "--root", root)
    assert second.returncode == 1
    assert "another agent already runs" in second.stderr
    agent.send_signal(number)
    out, err = agent.communicate(timeout=30)
    assert (agent.returncode, out) == (0, "")
    assert "restricted mode: only orders for backup clients are accepted" in err
    assert "Traceback" not in err


def test_an_interrupted_enrolment_prints_one_line(gateway: Gateway, tmp_path: Path) -> None:
    """Ctrl-C: no traceback, exit code 130."""
    words = [*enrol_words(gateway, tmp_path / "root"), "--activation-code", "-"]
    enrolling = subprocess.Popen(
        [sys.executable, "-m", "backfleet_host", *map(str, words)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert enrolling.stdin is not None
    with_code = enrolling.stdin
    with_code.write("half a code")
    with_code.flush()
    wait_for(lambda: not unread_bytes(with_code), LONG)  # it waits for the other half
    enrolling.send_signal(signal.SIGINT)
    _, err = enrolling.communicate(timeout=30)
    assert (enrolling.returncode, err) == (130, "backfleet-host: interrupted\n")
    assert not (tmp_path / "root").exists()


def unread_bytes(pipe: IO[str]) -> int:
    """Return how many bytes of a pipe its reader has not taken yet."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def test_help_lists_every_command() -> None:
    """`carry-out` is for the agent alone and is not listed."""
    done = backfleet_host("--help")
    assert done.returncode == 0
    for verb in ("enrol", "service", "run", "status", "recover"):
        assert f"\n    {verb}" in done.stdout
    assert "carry-out" not in done.stdout


@pytest.mark.parametrize("words", [[], ["--remove"]], ids=["made", "removed"])
def test_a_service_without_systemd_says_what_to_do(gateway: Gateway, tmp_path: Path, words: list[str]) -> None:
    """One line, and nothing is written."""
    enrolled = backfleet_host(*enrol_words(gateway, tmp_path / "root"), "--activation-code", CODE)
    assert enrolled.returncode == 0
    done = backfleet_host("service", "--root", tmp_path / "root", *words)
    assert done.returncode == 1
    assert done.stderr.startswith("backfleet-host: this host has no systemd; let whatever starts its services run")
    assert done.stderr.count("\n") == 1


def test_a_service_of_a_host_that_is_not_enrolled_is_refused(tmp_path: Path) -> None:
    done = backfleet_host("service", "--root", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "not enrolled" in done.stderr


def test_status_is_shown_on_a_read_only_root(gateway: Gateway, tmp_path: Path) -> None:
    """It writes nothing, and says whether the agent runs, with a lock file or without."""
    root = tmp_path / "root"
    with mounted(root, "size=8m"):
        backfleet_host(*enrol_words(gateway, root), "--activation-code", CODE)
        lock = root / "agent" / "lock"
        for exists in (True, False):
            if exists:
                lock.touch()
            else:
                remount(root, "rw")
                lock.unlink()
            remount(root, "ro")
            done = backfleet_host("status", "--json", "--root", root)
            assert (done.returncode, done.stderr) == (0, "")
            assert json.loads(done.stdout)["agent"]["running"] is False
            assert lock.exists() == exists
