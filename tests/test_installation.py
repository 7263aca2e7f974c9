"""`backfleet serve` refuses to begin where a half is missing, where another has the folder, and on a full disk."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import urllib3

from backfleet.cli._credentials import _local
from journeys.installation import wait_for
from mounts import mounted, remount
from warm_server import COLD, WarmServer

Serve = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def serve(data: Path) -> Iterator[Serve]:
    """Return a function that starts a server. Those that still run are killed at the end."""
    running: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, folder: Path = data) -> "subprocess.Popen[str]":
        listen = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"]
        process = WarmServer(
            [*COLD, "serve", "--data", str(folder), *listen, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"BACKFLEET_HOLD_LISTENERS": "false"},
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def ready(process: "subprocess.Popen[str]") -> str:
    """Return the plain address of a server that has started."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, ended(process)
    return str(json.loads(line)["http"])


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, problems = process.communicate(timeout=60)
    return process.returncode, problems


def made(serve: Serve) -> None:
    """Make an installation, and stop it."""
    process = serve()
    ready(process)
    process.terminate()
    assert ended(process)[0] == 0


def drop_database(data: Path) -> None:
    for file in data.glob("backfleet.db*"):
        file.unlink()


def empty_database(data: Path) -> None:
    drop_database(data)
    (data / "backfleet.db").touch()


def drop_keys(data: Path) -> None:
    shutil.rmtree(data / "keys")


def drop_one_key(data: Path) -> None:
    (data / "keys" / "secrets.key").unlink()


def drop_authority(data: Path) -> None:
    shutil.rmtree(data / "tls")


def make_newer(data: Path) -> None:
    with sqlite3.connect(data / "backfleet.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(drop_database, "backfleet.db is missing or empty. Bring it back", id="the database is missing"),
        pytest.param(empty_database, "backfleet.db is missing or empty. Bring it back", id="the database is empty"),
        pytest.param(drop_keys, "the database is in use, and", id="the keys are missing"),
        pytest.param(drop_one_key, "keys/secrets.key is missing. Bring keys and tls back", id="one key is missing"),
        pytest.param(drop_authority, "tls/ca.pem is missing", id="the authority is missing"),
        pytest.param(make_newer, "a newer version of Backfleet made it", id="the database is newer"),
    ],
)
def test_a_half_of_an_installation_is_refused(
    serve: Serve, data: Path, change: Callable[[Path], None], message: str
) -> None:
    """In one line that says what is missing and what to do; nothing is made in its place."""
    made(serve)
    change(data)
    before = {path for path in data.rglob("*") if not path.name.startswith(".")}
    code, problems = ended(serve())
    assert (code, message in problems, "Traceback" in problems) == (1, True, False), problems
    assert problems.count("\n") == 1
    after = {path for path in data.rglob("*") if not path.name.startswith(".")}
    assert {path for path in after - before if "db-" not in path.name} == set()


def test_a_second_server_on_one_data_folder_is_refused(serve: Serve, data: Path) -> None:
    """What the first wrote down stays. Once that has ended, however, another may begin."""
    first = serve()
    address = ready(first)
    code, problems = ended(serve())
    assert (code, "another `backfleet serve` has the data folder" in problems) == (1, True), problems
    assert json.loads((data / "serving.json").read_text())["http_endpoint"] == address
    first.kill()
    first.wait(20)
    ready(serve())


def test_a_second_server_on_the_same_ports_names_the_folder_first(serve: Serve, data: Path, tmp_path: Path) -> None:
    """Another port would not help it; one in a folder of its own is told of the port."""
    port = ready(serve()).rpartition(":")[2]
    for folder, found in (
        (data, f"another `backfleet serve` has the data folder {data}"),
        (tmp_path / "other", f"127.0.0.1:{port}"),
    ):
        words = ["serve", "--data", folder, "--http", f"127.0.0.1:{port}", "--https", "127.0.0.1:0"]
        held = {name: value for name, value in os.environ.items() if name != "BACKFLEET_HOLD_LISTENERS"}
        second = subprocess.run(
            [*COLD, *map(str, words)], check=False, capture_output=True, text=True, timeout=60, env=held
        )
        assert (second.returncode, found in second.stderr, second.stderr.count("\n")) == (1, True, 1), second.stderr


def test_servers_of_parts_share_a_folder_and_have_a_file_each(serve: Serve, data: Path) -> None:
    """The command line finds the one that answers the API."""
    api = ready(serve("--only", "openapi,workers"))
    ready(serve("--only", "agents,downloads"))
    assert {path.name for path in data.glob("serving*")} == {
        "serving-openapi+workers.json", "serving-agents+downloads.json"
    }  # fmt: skip
    assert _local(data)["http_endpoint"] == api


def test_a_start_with_a_clock_that_is_ahead_does_no_lasting_harm(
    serve: Serve, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the clock is right its certificate is valid again, and the audit trail and the nonces are there."""

    def rows() -> list[int]:
        with closing(sqlite3.connect(data / "backfleet.db")) as connection:
            counted = ("SELECT count(*) FROM audit_events", "SELECT count(*) FROM nonces")
            return [connection.execute(query).fetchone()[0] for query in counted]

    with monkeypatch.context() as changed:
        process = serve()
        changed.setenv("BACKFLEET_ENDPOINT", ready(process))
        done = subprocess.run(
            [sys.executable, "-m", "backfleet.cli", "activation", "create", "--data", str(data)],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        process.terminate()
        assert ended(process)[0] == 0
    before = rows()
    assert min(before) > 0
    for shift in (500 * 86_400, 0):
        monkeypatch.setenv("BACKFLEET_CLOCK_SHIFT", str(shift))
        process = serve()
        assert process.stdout is not None
        https = json.loads(process.stdout.readline())["https"]
        if not shift:
            with urllib3.PoolManager(ca_certs=str(data / "tls" / "ca.pem")) as pool:
                assert pool.request("GET", f"{https}/healthz", retries=False, timeout=20).status == 200
        process.terminate()
        assert ended(process)[0] == 0
    assert all(now >= then for now, then in zip(rows(), before, strict=True))


@pytest.mark.parametrize("size", ["size=64k", "size=700k", "nr_inodes=4", "nr_inodes=12"])
def test_a_full_disk_is_a_sentence(serve: Serve, tmp_path: Path, size: str) -> None:
    """Not a traceback, whichever file was to be written when it came up. With space, the next start goes on."""
    with mounted(tmp_path / "disk", size) as disk:
        code, problems = ended(serve(folder=disk / "data"))
        assert (code, "full" in problems, "Traceback" in problems) == (1, True, False), problems
        assert problems.count("\n") == 1
        remount(disk, "size=64m,nr_inodes=1000")
        process = serve(folder=disk / "data")
        ready(process)
        process.terminate()
        assert ended(process)[0] == 0


@pytest.mark.parametrize("is_first", [True, False])
def test_a_read_only_disk_is_a_sentence(serve: Serve, tmp_path: Path, is_first: bool) -> None:
    """At the first start and at any other."""
    with mounted(tmp_path / "disk", "size=64m") as disk:
        folder = disk / "data"
        folder.mkdir()
        if not is_first:
            process = serve(folder=folder)
            ready(process)
            process.terminate()
            ended(process)
        remount(disk, "ro")
        code, problems = ended(serve(folder=folder))
    assert (code, "read-only" in problems.lower(), "Traceback" in problems) == (1, True, False), problems
    assert problems.count("\n") == 1


def test_a_locked_database_at_the_start_is_a_sentence(serve: Serve, data: Path) -> None:
    """As another program leaves it that works on the file."""
    made(serve)
    with sqlite3.connect(data / "backfleet.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        code, problems = ended(serve())
    other.close()
    assert (code, "holds a lock" in problems, "Traceback" in problems) == (1, True, False), problems
    assert problems.count("\n") == 1


def test_a_running_server_says_why_it_is_not_ready(serve: Serve, data: Path) -> None:
    """A lock and a deleted file: every call would fail, though `select 1` works."""
    address = ready(serve())

    def state() -> dict[str, Any]:
        with urllib3.PoolManager() as pool:
            found: dict[str, Any] = pool.request("GET", f"{address}/readyz", retries=False, timeout=20).json()
        return found

    assert state()["status"] == "ready"
    with sqlite3.connect(data / "backfleet.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        locked = wait_for(lambda: state().get("reasons"), 30)
        other.execute("ROLLBACK")
    other.close()
    assert "somebody else holds a lock" in locked["database"]
    wait_for(lambda: state()["status"] == "ready", 30)
    (data / "backfleet.db").unlink()
    assert "deleted or replaced" in wait_for(lambda: state().get("reasons"), 30)["database"]
