"""The one file that runs on managed hosts: the same every time, pure, and whole by itself."""

import base64
import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from backfleet_host.contract import Order, read_output
from host.agent.conftest import until
from host.agent.gateway import CODE, Gateway

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_host_program", PROJECT / "tools" / "build_host_program.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def program(builder: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("program") / "backfleet-host.pyz"
    builder.build(file)
    return file


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(tmp_path / "gateway") as gateway:
        yield gateway


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """With a Python that has nothing of ours."""
    return subprocess.run(
        list(map(str, words)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )


def bare_python() -> str:
    """The interpreter without this environment's packages."""
    return str(getattr(sys, "_base_executable", sys.executable))


def test_the_same_sources_give_the_same_bytes(builder: ModuleType, program: Path, tmp_path: Path) -> None:
    """Byte for byte: its hash can be written into a command, and checked by anyone."""
    other = tmp_path / "other.pyz"
    assert builder.build(other) == builder.hashlib.sha256(program.read_bytes()).hexdigest()
    assert other.read_bytes() == program.read_bytes()
    assert list(tmp_path.iterdir()) == [other]


def test_what_is_inside(program: Path) -> None:
    """Python source, shims and licences, no dates, no tests; it starts as a program does."""
    assert program.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    assert program.stat().st_mode & 0o777 == 0o755
    with zipfile.ZipFile(program) as packed:
        names = [name for name in packed.namelist() if not name.endswith("/")]
        assert {entry.date_time for entry in packed.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert names == sorted(names)
    shims = {name for name in names if name.startswith("backfleet_host/shim/binaries/")}
    assert {name.rsplit(".", 1)[-1] for name in names if "dist-info" not in name and name not in shims} == {"py"}
    assert "backfleet_host/shim/binaries/linux-amd64" in shims
    read = "from backfleet_host.upgrader.host.native_shim import template; print(len(template('linux-amd64')))"
    words = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = [{str(program)!r}]; {read}"]
    committed = PROJECT / "src" / "backfleet_host" / "shim" / "binaries" / "linux-amd64"
    output = subprocess.run(words, env={}, capture_output=True, text=True, check=True).stdout
    assert int(output) == committed.stat().st_size
    assert not [name for name in names if "/tests/" in name or name.endswith((".so", ".pyc"))]
    assert {"backfleet_host/__main__.py", "backfleet_host/upgrader/__init__.py", "tuf/ngclient/updater.py"} <= set(
        names
    )
    assert [name for name in names if name.startswith("tuf-") and "LICENSE" in name]


def test_it_needs_nothing_else(program: Path) -> None:
    """No site packages, no environment."""
    done = run(bare_python(), "-I", "-S", program, "--version")
    assert (done.returncode, done.stdout) == (0, "0.1.0\n"), done.stderr


def test_every_part_is_found_in_it(program: Path) -> None:
    """What is only needed on the way, too: some of its packages lack the file that marks a package."""
    wanted = "tuf.ngclient, securesystemslib.signer, urllib3, websocket, backfleet_host.agent.execution.orders"
    done = run(bare_python(), "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(program)!r}); import {wanted}")
    assert done.returncode == 0, done.stderr


def test_an_old_python_is_reported_before_anything_else(builder: ModuleType, program: Path) -> None:
    """In words that any Python can read: the version found, the version needed, what to do."""
    with zipfile.ZipFile(program) as packed:
        first = packed.read("__main__.py").decode()
    asked = max(builder.least_python(package) for package in builder.installed(builder.read_pins(builder.REQUIREMENTS)))
    assert f"sys.version_info < {max(asked, (3, 9))}" in first
    old = first.replace(str(max(asked, (3, 9))), "(99, 0)")
    done = run(bare_python(), "-I", "-S", "-c", old)
    assert done.returncode == 1
    assert "backfleet-host needs Python" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "f'" not in first
    assert 'f"' not in first


def test_a_tampered_package_is_not_packed(builder: ModuleType, tmp_path: Path) -> None:
    """Every file must be what its installer wrote."""
    info = tmp_path / "thing-1.0.dist-info"
    info.mkdir()
    (tmp_path / "thing.py").write_text("x = 1\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"thing.py,sha256={'A' * 43},6\n")
    (package,) = builder.importlib.metadata.distributions(path=[str(tmp_path)])
    with pytest.raises(builder.CannotBuild, match=r"thing\.py is not what its installer wrote"):
        dict(builder.files_of(package))


def test_it_enrols_runs_and_carries_out_an_order(program: Path, gateway: Gateway, tmp_path: Path) -> None:
    """Under a bare Python; the agent goes on from its own copy, and the file may be replaced meanwhile."""
    root = tmp_path / "root"
    moving = tmp_path / "backfleet-host"
    moving.write_bytes(program.read_bytes())
    words = ["--server", gateway.address, "--ca", gateway.ca, "--activation-id", "act-1", "--activation-code", CODE]
    done = run(bare_python(), moving, "enrol", *words, "--root", root)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "log").open("w") as log:
        agent = subprocess.Popen(
            [bare_python(), str(moving), "run", "--root", str(root)], stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert agent.stdout is not None
        assert json.loads(agent.stdout.readline())["event"] == "running", (tmp_path / "log").read_text()
        moving.write_bytes(b"replaced")
        order = Order("u-1", "status", "rclone")
        gateway.hand_out("t-1", order.as_command())
        end = gateway.end_of("t-1", 30)
        report = read_output(end.body.decode())[1]
        assert report is not None
        assert (report.outcome, report.details["packages"]) == ("succeeded", [])
        (copy,) = (root / "agent" / "program").iterdir()
        assert (copy / "backfleet_host" / "__main__.py").exists()
        assert [line for line in gateway.registered["mi-test0001"] if line == "publicKey"]
        assert base64.b64decode(gateway.registered["mi-test0001"]["publicKey"]).startswith(b"-----BEGIN PUBLIC KEY")
    finally:
        agent.terminate()
        assert agent.wait(10) == 0
        assert agent.stdout is not None
        agent.stdout.close()
    assert until(lambda: not list(root.glob("agent/tasks/*/output")))
