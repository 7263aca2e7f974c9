"""A host without Python: the self-contained program enrols, is the agent, installs, upgrades and goes back."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import machine as machines
from journeys.installation import LONG, Installation, wait_for

PROJECT = Path(__file__).resolve().parents[2]
TOOLS = (
    "sh",
    "tail",
    "tar",
    "gzip",
    "mkdir",
    "mv",
    "rm",
    "flock",
    "sleep",
    "id",
    "readlink",
    "dirname",
    "cat",
    "uname",
)


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make host-binary` builds it."""
    if importlib.util.find_spec("PyInstaller") is None:
        pytest.fail("PyInstaller is missing: make venv")
    file = tmp_path_factory.mktemp("binary") / "backfleet-host"
    subprocess.run([sys.executable, PROJECT / "tools" / "build_host_binary.py", file], check=True, capture_output=True)
    return file


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Where no Python is to be found, and the program unpacks itself into a folder of the test's."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None, name
        (folder / name).symlink_to(found)
    return {"PATH": str(folder), "HOME": str(tmp_path), "BACKFLEET_RUNTIME": str(tmp_path / "runtime")}


@pytest.fixture
def installation(
    binary: Path, bare: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    """A server whose hosts have the self-contained program and no Python."""
    settings = [f"{name}={value}" for name, value in bare.items()]
    monkeypatch.setattr("journeys.installation.HOST_PROGRAM", ["/usr/bin/env", "-i", *settings, str(binary)])
    (tmp_path / "server").mkdir()
    made = Installation(tmp_path / "server")
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_it_says_what_it_is(binary: Path, bare: dict[str, str]) -> None:
    """It unpacks itself once, whoever starts it first."""
    started = [subprocess.Popen([binary, "--version"], env=bare, stdout=subprocess.PIPE) for _ in range(4)]
    assert {process.communicate(timeout=LONG)[0] for process in started} == {b"0.1.0\n"}
    assert len(os.listdir(bare["BACKFLEET_RUNTIME"])) == 1


def test_one_that_is_cut_off_says_so(binary: Path, bare: dict[str, str], tmp_path: Path) -> None:
    """And leaves nothing behind."""
    cut = tmp_path / "cut"
    cut.write_bytes(binary.read_bytes()[:1_000_000])
    cut.chmod(0o755)
    done = subprocess.run([cut, "--version"], env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    assert os.listdir(bare["BACKFLEET_RUNTIME"]) == []


def test_programs_of_the_host_get_no_libraries_of_this_program(binary: Path, bare: dict[str, str]) -> None:
    """What it starts has the library path that it was started with, or none."""
    text = "import os; print(os.environ.get('LD_LIBRARY_PATH'), os.environ.get('LD_LIBRARY_PATH_ORIG'))"
    for given, expected in ({}, "None None"), ({"LD_LIBRARY_PATH": "/opt/lib"}, "/opt/lib None"):
        command = [binary, "-I", "-S", "-c", text, "x"]
        done = subprocess.run(command, env=bare | given, capture_output=True, text=True, check=True, timeout=LONG)
        assert done.stdout.strip() == expected


@pytest.mark.skipif(bool(machines.why_not()), reason=machines.why_not())
def test_a_pasted_line_takes_it_where_python_is_missing(binary: Path, bare: dict[str, str], tmp_path: Path) -> None:
    """From the server's data folder, where an operator put it; systemd then runs it without any Python."""
    tools = Path(bare["PATH"])
    for name in ("curl", "sha256sum", "chmod", "systemctl", "env", "ln", "head", "cut"):
        (tools / name).symlink_to(shutil.which(name) or name)
    server = Installation(tmp_path)
    try:
        server.start()
        create = [*server.program, "activation", "create", "--count", "1", "--json", "--data", server.data]
        lines = [json.loads(subprocess.run(create, check=True, capture_output=True).stdout)["BackfleetHost"]]
        with machines.switched_on(tmp_path / "m", [tools, server.folder / "data"]) as machine:
            paste = ["/usr/bin/env", "-i", f"PATH={tools}", "HOME=/root", "/bin/sh", "-c", lines[0]]
            lacking = machine.run(*paste)
            assert lacking.returncode != 0
            assert "no Python 3.10" in lacking.stderr
            shutil.copy(binary, server.data / "backfleet-host")
            done = machine.run(*paste)
            assert done.returncode == 0, done.stderr
            wait_for(lambda: server.call("DescribeServer", "backfleet")["ConnectedInstances"] == 1, LONG)
            assert "/opt/backfleet/runtime/" in machine.systemctl("cat", "backfleet-host.service")
        (known,) = server.call("DescribeServer", "backfleet")["HostBinaries"]
        assert known["Sha256"] == hashlib.sha256(binary.read_bytes()).hexdigest()
    finally:
        server.close()


def test_one_for_another_machine_says_so(binary: Path, bare: dict[str, str], tmp_path: Path) -> None:
    """Instead of what the kernel says of a program that it cannot run; nothing is unpacked."""
    other = tmp_path / "other"
    other.write_bytes(binary.read_bytes().replace(b"\nmade_for=", b"\nmade_for=z", 1))
    other.chmod(0o755)
    done = subprocess.run([other, "--version"], env=bare, capture_output=True, text=True, check=False)
    assert (done.returncode, f"this file is for z{os.uname().machine}" in done.stderr) == (1, True), done.stderr


def test_a_host_is_installed_upgraded_and_rolled_back(installation: Installation, bare: dict[str, str]) -> None:
    """It does everything that the program does under a Python; for orders it starts itself."""
    assert subprocess.run(["sh", "-c", "command -v python3"], env=bare, check=False, capture_output=True).returncode
    installation.enrol(1)
    installation.install("1.0")
    (host,) = installation.hosts
    assert host.runs() == "courier 1.0"
    installation.add_release("2.0")
    task = installation.call("UpgradeBackupClients", InstanceIds=[host.instance_id])
    assert installation.finished(task["TaskId"])["Progress"] == 100
    assert host.runs() == "courier 2.0"
    installation.add_release("3.0", health=1)
    task = installation.call("UpgradeBackupClients", InstanceIds=[host.instance_id])
    assert installation.finished(task["TaskId"])["Result"][0]["errorCode"] == "RolledBack"
    assert host.runs() == "courier 2.0"
