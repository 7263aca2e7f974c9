"""Debian packages: what is in them, and both installed, upgraded and purged on a machine with a real systemd."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import build_debian
import machine as machines
import write_man_pages
from backfleet import VERSION
from journeys.installation import free_ports, wait_for
from machine import Machine

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb: not a Debian"),
]
LATER = "0.9.9"
UNITS = ("backfleet.service", "backfleet-http.socket", "backfleet-https.socket")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("debian")
    return [build_debian.build_server(folder), build_debian.build_host(folder)]


@pytest.fixture(scope="module")
def later(packages: list[Path]) -> list[Path]:
    """Return both packages as a later version, which says so."""
    made = []
    for file in packages:
        tree = file.parent / f"later-{file.stem}"
        subprocess.run(["dpkg-deb", "-R", file, tree], check=True)
        control = tree / "DEBIAN/control"
        control.write_text(control.read_text().replace(f"Version: {VERSION}\n", f"Version: {LATER}\n"))
        for metadata in tree.rglob("backfleet-*.dist-info/METADATA"):
            metadata.write_text(metadata.read_text().replace(f"\nVersion: {VERSION}\n", f"\nVersion: {LATER}\n"))
        made.append(file.parent / f"{tree.name}.deb")
        subprocess.run(["dpkg-deb", "-Znone", "-b", tree, made[-1]], check=True, capture_output=True)
    return made


def test_every_command_has_a_man_page_that_roff_accepts(tmp_path: Path) -> None:
    """From the command lines themselves; nothing in a help text is taken for a request."""
    pages = write_man_pages.pages()
    assert {"backfleet.1", "backfleet-client.1", "backfleet-serve.1", "backfleet-host.8"} <= pages.keys()
    assert "prepare" in pages["backfleet-host.8"]
    requests = {line.split()[0] for page in pages.values() for line in page.splitlines() if line.startswith((".", "'"))}
    assert requests <= {".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".I"}


def test_what_is_in_the_packages(packages: list[Path]) -> None:
    """Everything that runs, nothing of tests, and no address of an index."""
    server, host = (
        subprocess.run(["dpkg-deb", "-c", file], check=True, capture_output=True, text=True).stdout for file in packages
    )
    for needed in (
        "site-packages/backfleet/backfleet-host.pyz", "site-packages/backfleet/storage/migrations/env.py",
        "./lib/systemd/system/backfleet.service", "man1/backfleet-client.1.gz", "bash-completion/completions/backfleet",
        "vendor-completions/_backfleet", "./etc/backfleet/server.env", "site-packages/sqlalchemy/__init__.py",
    ):  # fmt: skip
        assert needed in server, needed
    assert "-rw------- root/root" in next(line for line in server.splitlines() if line.endswith("server.env"))
    assert not [line for line in server.splitlines() if "__pycache__" in line or "/pytest/" in line or ".pth" in line]
    for needed in (
        "./usr/bin/backfleet-host", "bash-completion/completions/backfleet-host", "vendor-completions/_backfleet-host",
        "vendor_completions.d/backfleet-host.fish",
    ):  # fmt: skip
        assert needed in host, needed


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("lintian") is None, reason="no lintian: tools/system_packages.sh could not install it")
@pytest.mark.parametrize("at", [pytest.param(0, id="server"), pytest.param(1, id="host")])
def test_lintian_finds_no_error_and_no_warning(packages: list[Path], tmp_path: Path, at: int) -> None:
    """But for those that the package itself names, each below a reason."""
    own = {**os.environ, "TMPDIR": str(tmp_path)}  # what it leaves if it is interrupted goes with the test's files
    words = ["lintian", "--allow-root", "--display-info", packages[at]]
    found = subprocess.run(words, capture_output=True, text=True, check=False, env=own).stdout.splitlines()
    assert any(line.startswith("I: backfleet") for line in found)  # it has read the package
    assert [line for line in found if line.startswith(("E:", "W:"))] == []
    overrides = build_debian.COMMON_OVERRIDES + build_debian.OVERRIDES
    for paragraph in overrides.removeprefix("# ").split("\n# "):
        reason, *named = paragraph.splitlines()
        assert reason.endswith(".")
        assert named


@pytest.fixture
def machine(packages: list[Path]) -> Iterator[tuple[Machine, int]]:
    """A machine that is up, whose server is to listen on ports that are free here."""
    http, https = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="bf-") as folder:
        made = Machine(Path(folder) / "m", [packages[0].parent])
        for name, port in (("backfleet-http", f"127.0.0.1:{http}"), ("backfleet-https", str(https))):
            (made.units / f"{name}.socket.d").mkdir()
            made.unit(f"{name}.socket.d/port.conf", f"[Socket]\nListenStream=\nListenStream={port}\n")
        try:
            made.boot()
            yield made, http
        finally:
            made.power_off()


@pytest.mark.slow
@pytest.mark.skipif(bool(machines.why_not()), reason=machines.why_not())
def test_they_are_installed_upgraded_and_purged_on_a_machine(
    packages: list[Path], later: list[Path], machine: tuple[Machine, int]
) -> None:
    """The server runs after the install; a host on the same machine enrols with it.

    An upgrade to a later version keeps data and settings and restarts both; what was removed and is installed again
    goes on; a purge leaves the data.
    """
    box, http = machine

    def run(*words: str | Path) -> str:
        done = box.run(*words, seconds=200)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ready() -> bool:
        return box.run("curl", "-fs", f"http://127.0.0.1:{http}/readyz").returncode == 0

    def connected() -> bool:
        shown = json.loads(run("backfleet", "call", "DescribeServer", "--data", "/var/lib/backfleet"))
        return bool(shown["ConnectedInstances"])

    run("rm", "-f", "/usr/sbin/policy-rc.d")  # images of containers have one that lets nothing start
    run("dpkg", "-i", *packages)
    wait_for(ready, 60)
    made = json.loads(run("backfleet", "activation", "create", "--json", "--data", "/var/lib/backfleet"))
    enrol = [
        "--server",
        made["Server"],
        "--ca",
        "/var/lib/backfleet/tls/ca.pem",
        "--activation-id",
        made["ActivationId"],
    ]
    run("backfleet-host", "enrol", *enrol, "--activation-code", made["ActivationCode"])
    run("systemctl", "start", "backfleet-host")
    wait_for(connected, 60)
    before = box.systemctl("show", "-p", "MainPID", "backfleet.service")
    run("sh", "-c", "echo '# ours' >> /etc/backfleet/server.env")
    assert run("backfleet", "--version").split()[-1] == VERSION
    run("dpkg", "-i", *later)
    assert run("backfleet", "--version").split()[-1] == LATER
    assert run("tail", "-1", "/etc/backfleet/server.env") == "# ours\n"
    wait_for(ready, 60)
    assert box.systemctl("show", "-p", "MainPID", "backfleet.service") != before
    wait_for(connected, 60)
    assert {box.systemctl("is-enabled", unit) for unit in (*UNITS, "backfleet-host")} == {"enabled"}
    run("dpkg", "--remove", "backfleet")
    assert {box.systemctl("is-active", unit) for unit in UNITS} == {"inactive"}
    run("dpkg", "-i", later[0])
    wait_for(ready, 60)
    wait_for(connected, 60)
    run("dpkg", "--purge", "backfleet-host", "backfleet")
    assert {box.systemctl("is-active", unit) for unit in (*UNITS, "backfleet-host")} <= {"inactive", "unknown"}
    gone = box.run("ls", "-d", "/usr/lib/backfleet", "/opt/backfleet/agent", "/usr/bin/backfleet")
    assert gone.stdout == ""
    run("test", "-d", "/var/lib/backfleet/keys")
