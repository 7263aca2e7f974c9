"""`backfleet serve` as an administrator sees it: the first start, later starts, the end, and mistakes."""

import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography import x509

from journeys.installation import LONG

LONGEST_STOP = 60.0  # seconds from SIGTERM to the end: the contract is 10, on a machine that has time for it

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a server with further arguments. Servers that still run are killed at the end."""
    running: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
        listen = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"]
        process = subprocess.Popen(
            [sys.executable, "-m", "backfleet.cli", "serve", "--data", str(tmp_path / "data"), *listen, *arguments],
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


def ready(process: "subprocess.Popen[str]") -> dict[str, str]:
    """Return the ready line."""
    assert process.stdout is not None
    found: dict[str, str] = json.loads(process.stdout.readline())
    return found


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Return exit code and stderr."""
    _, problems = process.communicate(timeout=LONG)
    return process.returncode, problems


def get(address: str, **more: Any) -> urllib3.BaseHTTPResponse:
    """Make one request, on a connection that is closed after it."""
    with urllib3.PoolManager(**more) as pool:
        return pool.request("GET", address, retries=False)


def content_of(folder: Path) -> dict[str, bytes]:
    """Return every file but the database, whose pages may move, and serving.json."""
    kept = {path for path in folder.rglob("*") if path.is_file() and path.name != "serving.json"}
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept if ".db" not in path.name}


def test_names_that_the_name_service_knows_are_added_while_it_serves(start: Start, tmp_path: Path) -> None:
    """It is asked beside the start, which waits for nothing: here it answers only after the server is ready."""
    asked, answers = tmp_path / "asked", tmp_path / "answers"
    patch = tmp_path / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(
        "import pathlib, socket, time\n"
        "def slow(name=''):\n"
        f"    pathlib.Path({str(asked)!r}).touch()\n"
        f"    while not pathlib.Path({str(answers)!r}).exists(): time.sleep(0.05)\n"
        "    return 'slow.example'\n"
        "socket.getfqdn = slow\n"
    )
    line = ready(start(PYTHONPATH=os.pathsep.join([str(patch), *filter(None, [os.environ.get("PYTHONPATH")])])))
    until_true(asked.exists)
    file = tmp_path / "data" / "tls" / "server.pem"
    assert "slow.example" not in names_in(file.read_text())
    answers.touch()
    until_true(lambda: "slow.example" in names_in(file.read_text()))
    host, port = line["https"].removeprefix("https://").rsplit(":", 1)
    until_true(lambda: "slow.example" in names_in(ssl.get_server_certificate((host, int(port)))))
    assert get(f"{line['https']}/healthz", ca_certs=str(tmp_path / "data" / "tls" / "ca.pem")).status == 200


def names_in(pem: str) -> list[str]:
    found = x509.load_pem_x509_certificate(pem.encode()).extensions
    return found.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)


def until_true(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_first_start_makes_everything_and_says_where_it_listens(start: Start, tmp_path: Path) -> None:
    """One line on stdout when both listeners accept; only its owner can read the key."""
    line = ready(start())
    assert line["event"] == "ready"
    data = tmp_path / "data"
    admin = json.loads((data / "admin.json").read_text())
    assert set(admin) == {
        "account_id", "access_key_id", "access_key_secret", "http_endpoint", "https_endpoint", "ca_file"
    }  # fmt: skip
    assert (admin["http_endpoint"], admin["https_endpoint"]) == (line["http"], line["https"])
    for secret in (data, data / "admin.json", data / "keys", *(data / "keys").iterdir(), data / "backfleet.db"):
        assert not stat.S_IMODE(secret.stat().st_mode) & 0o077, secret
    assert get(f"{line['http']}/healthz").status == 200
    assert get(f"{line['https']}/readyz", ca_certs=admin["ca_file"]).json()["status"] == "ready"


def test_a_later_start_changes_nothing(start: Start, tmp_path: Path) -> None:
    """Keys, account and authority stay; only the addresses are written again."""
    first = start()
    ready(first)
    first.terminate()
    assert ended(first)[0] == 0
    before = content_of(tmp_path / "data")
    second = start()
    line = ready(second)
    assert content_of(tmp_path / "data") == before
    assert json.loads((tmp_path / "data" / "serving.json").read_text())["https_endpoint"] == line["https"]


@pytest.mark.parametrize(
    ("number", "has_parent"),
    [(signal.SIGTERM, "true"), (signal.SIGINT, "true"), (signal.SIGHUP, "false")],
    ids=["SIGTERM", "Ctrl-C", "SIGHUP"],
)
def test_a_signal_stops_it_though_a_client_holds_a_connection(
    start: Start, number: signal.Signals, has_parent: str
) -> None:
    """With exit code 0 within ten seconds; a half request does not delay it. A parent restarts it after SIGHUP."""
    process = start(BACKFLEET_HOLD_LISTENERS=has_parent)
    address = ready(process)["http"].removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1]))) as held:
        held.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        time.sleep(0.2)
        began = time.monotonic()
        process.send_signal(number)
        code, problems = ended(process)
    assert (code, time.monotonic() - began < LONGEST_STOP) == (0, True), problems
    assert "Traceback" not in problems


def test_a_taken_port_is_reported_before_anything_is_written(start: Start, tmp_path: Path) -> None:
    """One line, exit code 1, no data folder."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, problems = ended(start("--http", address))
    assert code == 1
    assert problems == f"backfleet: --http {address} cannot be used: Address already in use; choose another port\n"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["--http", "8080x"], 1, "--http takes HOST:PORT, not '8080x'", id="no address"),
        pytest.param(["--only", "moon"], 1, "only cannot be 'moon' (from --only)", id="no such part"),
        pytest.param(["--database-url", "nonsense"], 1, "the database cannot be used", id="no database address"),
        pytest.param(
            ["--database-url", "postgresql://u:hush@127.0.0.1:9/x"], 1, "the database cannot be used", id="no database"
        ),
        pytest.param(["--nats", "http://u:hush@h"], 1, "--nats cannot be used", id="no NATS address"),
        pytest.param(["--colour"], 2, "No such option", id="an unknown flag"),
    ],
)
def test_a_bad_argument_is_reported_in_one_line(start: Start, arguments: list[str], code: int, message: str) -> None:
    """What was found and what to do; never a traceback, never a password."""
    found, problems = ended(start(*arguments))
    assert (found, message in problems) == (code, True), problems
    assert "Traceback" not in problems
    assert "hush" not in problems


def test_a_data_folder_that_is_a_file_is_reported(start: Start, tmp_path: Path) -> None:
    """And the file stays as it is."""
    (tmp_path / "data").write_text("mine")
    code, problems = ended(start())
    assert (code, "cannot be used" in problems, "Traceback" in problems) == (1, True, False), problems
    assert (tmp_path / "data").read_text() == "mine"


def test_parts_can_be_served_apart(start: Start) -> None:
    """A process for downloads alone answers nothing else; it is ready all the same."""
    line = ready(start("--only", "downloads"))
    assert get(f"{line['http']}/downloads/metadata/timestamp.json").status == 200
    assert get(f"{line['http']}/luban/api/heart-beat").status == 404
    assert get(f"{line['http']}/readyz").status == 200


def test_metrics_are_on_the_plain_listener_only(start: Start, tmp_path: Path) -> None:
    """The agents' port shows nothing about the installation."""
    line = ready(start())
    assert b"backfleet_downloads_total" in get(f"{line['http']}/metrics").data
    assert get(f"{line['https']}/metrics", ca_certs=str(tmp_path / "data" / "tls" / "ca.pem")).status == 404


def test_the_settings_in_force_are_printed_with_their_source(start: Start, tmp_path: Path) -> None:
    """Nothing is started, and the database's password is not shown."""
    secrets = {
        "BACKFLEET_DATABASE_URL": "postgresql://u:hush@db/x",
        "BACKFLEET_NATS": "nats://u:hush@a,nats://v:hush@b",
    }
    process = start("--print-config", BACKFLEET_TASK_SECONDS="600", **secrets)
    output, _ = process.communicate(timeout=20)
    shown = json.loads(output)
    assert shown["task_seconds"] == {"value": 600, "from": "BACKFLEET_TASK_SECONDS"}
    assert shown["http"]["from"] == "--http"
    assert "hush" not in output
    assert shown["nats"]["value"] == "nats://***@a,nats://***@b"
    assert not (tmp_path / "data").exists()
