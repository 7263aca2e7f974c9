"""backfleet-host doctor: each broken state is broken on a real host with a real server, and named with what to do."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backfleet.certificates import prepare_certificates
from backfleet_host.agent import doctor
from backfleet_host.agent.doctor import examine
from backfleet_host.files import is_locked
from backfleet_host.layout import Places, policy_folder
from host.test_command_line import backfleet_host
from journeys.installation import Host, Installation, wait_for
from mounts import mounted
from name_service import silent_name_service


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("server"))
    try:
        made.start()
        made.enrol(1)
        made.install("1.0")
        yield made
    finally:
        made.close()


@pytest.fixture
def host(server: Installation) -> Host:
    return server.hosts[0]


def findings(host: Host, code: int) -> dict[str, dict[str, Any]]:
    done = backfleet_host("doctor", "--root", host.root, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return {each["Code"]: each for each in json.loads(done.stdout)["Findings"]}


@contextmanager
def replaced(path: Path, content: bytes | None) -> Iterator[None]:
    """Have another content in a file, or no file, for as long as the block lasts."""
    before, mode = (path.read_bytes(), path.stat().st_mode) if path.exists() else (None, 0o600)
    path.unlink(missing_ok=True)
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode & 0o755)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        if before is not None:
            path.write_bytes(before)
            path.chmod(mode)


def test_a_healthy_host_is_said_to_be_so(host: Host) -> None:
    """In lines for people too. A unit is missing where systemd runs: that is a note."""
    found = findings(host, 0)
    assert {each["Severity"] for each in found.values()} <= {"Ok", "Note"}
    assert found["Package courier"]["Found"] == "1.0"
    lines = backfleet_host("doctor", "--root", host.root).stdout
    assert f"ok   Identity: {host.instance_id} of {host.installation.https}\n" in lines


def test_a_folder_without_an_identity_is_not_enrolled(tmp_path: Path) -> None:
    done = backfleet_host("doctor", "--root", tmp_path)
    assert (done.returncode, "is not enrolled; run `backfleet-host enrol` first" in done.stdout) == (1, True)


def test_what_is_broken_on_a_host_is_found_with_what_to_do(host: Host) -> None:
    """Keys, authority, root, policy, drift: each alone, and put right again."""
    places = Places(host.root)
    cases: list[tuple[Path, bytes | None, str, str, str]] = [
        (places.key, None, "Key", "cannot be read", "--new-identity"),
        (places.authority, b"no certificate", "Server", "ca.pem cannot be used", "tls/ca.pem"),
        (places.trusted_root, None, "Trust", "no release can be verified", "enrol"),
        (places.trusted_root, root_until(-1), "Trust", "ends on", "newer one"),
        (policy_folder(host.root) / "host.toml", b"nonsense = 1\n", "Policy", "nonsense", "host.toml"),
    ]
    for path, content, code, text, advice in cases:
        with replaced(path, content):
            found = findings(host, 1)[code]
        assert (found["Severity"], text in found["Found"], advice in found["Advice"]) == ("Error", True, True), found
    places.key.chmod(0o644)
    try:
        found = findings(host, 1)["Key"]
    finally:
        places.key.chmod(0o600)
    assert f"chmod go-rwx {places.key}" in found["Advice"]
    with replaced(places.trusted_root, root_until(30)):
        assert findings(host, 3)["Trust"]["Severity"] == "Warning"


def root_until(days: int) -> bytes:
    ends = datetime.now(UTC) + timedelta(days=days)
    return json.dumps({"signed": {"expires": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}}).encode()


def test_a_changed_client_is_a_warning(host: Host) -> None:
    """With what was changed."""
    shim = host.root / "bin" / "courier"
    with replaced(shim, b"#!/bin/sh\necho mine\n"):
        found = findings(host, 3)["Package courier"]
    assert f"changed since its last order: {shim} is not our shim" in found["Found"]


def test_an_agent_that_does_not_run_is_an_error(host: Host) -> None:
    host.stop()
    try:
        found = findings(host, 1)["Agent"]
    finally:
        host.start()
        wait_for(lambda: is_locked(Places(host.root).lock), 30)
    assert "gets no orders" in found["Found"]
    assert f"backfleet-host service --root {host.root}" in found["Advice"]


def with_server(host: Host, address: str) -> bytes:
    return json.dumps({**json.loads(Places(host.root).identity.read_text()), "server": address}).encode()


@pytest.mark.parametrize(
    ("address", "text"),
    [
        pytest.param("nowhere.invalid:8443", "the name does not resolve", id="no such name"),
        pytest.param("127.0.0.1:1", "refused", id="nothing there"),
    ],
)
def test_a_server_that_is_not_reached_is_an_error(host: Host, address: str, text: str) -> None:
    """Within seconds."""
    began = time.monotonic()
    with replaced(Places(host.root).identity, with_server(host, address)):
        found = findings(host, 1)["Server"]
    assert text in found["Found"]
    assert time.monotonic() - began < 30


def test_a_server_with_the_certificate_of_another_is_an_error(host: Host, tmp_path: Path) -> None:
    """An authority that this host was not enrolled with."""
    other = prepare_certificates(tmp_path, ["localhost"], now=datetime.now(UTC)).authority
    with replaced(Places(host.root).authority, other.read_bytes()):
        found = findings(host, 1)["Server"]
    assert "does not have the certificate that it must have" in found["Found"]


def test_clocks_that_differ_are_named(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backfleet_host.agent.protocol.server._now", lambda: datetime.now(UTC) + timedelta(hours=1))
    found = {each.code: each for each in examine(host.root, datetime.now(UTC))}["Clock"]
    assert (found.severity, "timedatectl" in found.found) == ("Warning", True)


def test_a_server_that_is_silent_ends_the_question(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name service may be, for a minute."""
    monkeypatch.setattr(doctor, "ANSWER_SECONDS", 0.05)
    with silent_name_service(monkeypatch):
        (found,) = doctor.check_server(Places(host.root), "fleet.example.com:8443")
    assert "has not answered within 0.05 s" in found.found


@pytest.mark.parametrize(
    ("options", "severity", "text"),
    [
        pytest.param("size=16m", "Warning", "16 MiB free", id="little space"),
        pytest.param("size=1g,ro", "Error", "read-only", id="read-only"),
        pytest.param("size=1g,noexec", "Error", "noexec", id="nothing is executed"),
        pytest.param("size=1g,nr_inodes=2", "Error", "no inode", id="no inodes"),
    ],
)
def test_a_disk_on_which_orders_fail_is_reported(tmp_path: Path, options: str, severity: str, text: str) -> None:
    with mounted(tmp_path / "disk", options) as disk:
        if "nr_inodes" in options:
            (disk / "last").touch()
        found = doctor.check_disk(disk)
    assert (found.severity, text in found.found) == (severity, True), found


def test_an_attempt_that_was_cut_off_is_an_error_and_one_under_way_is_a_note() -> None:
    package = {"package": "p", "current": "1", "attempt_open": True, "drift": [], "failures": {}}
    cut: Callable[..., Any] = doctor._package
    now = datetime.now(UTC)
    assert cut(package, now, is_running=False).severity == "Error"
    assert cut(package, now, is_running=True).severity == "Note"


def test_a_client_that_nobody_upgrades_is_noted_adopted_and_given_back(host: Host) -> None:
    """By the command that the note names."""
    program = host.root / "bin/rclone"
    program.write_text('#!/bin/sh\n[ "$1" = version ] && echo "rclone v1.60.1"\n')
    program.chmod(0o755)
    before = program.stat().st_ino
    noted = findings(host, 0)["Package rclone"]
    assert (noted["Severity"], "backfleet-host adopt rclone" in noted["Advice"]) == ("Note", True)
    done = backfleet_host("adopt", "rclone", "--root", host.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rclone 1.60.1 is taken over" in done.stdout
    assert findings(host, 0)["Package rclone"] == {
        "Code": "Package rclone", "Severity": "Ok", "Found": "1.60.1", "Advice": "",
    }  # fmt: skip
    shown = backfleet_host("status", "--root", host.root).stdout
    assert f"rclone     1.60.1, in the place of {program}" in shown
    done = backfleet_host("give-back", "rclone", "--root", host.root)
    assert (done.returncode, done.stdout) == (0, f"{program} is what was there before\n")
    assert program.stat().st_ino == before
    refused = backfleet_host("give-back", "rclone", "--root", host.root)
    assert (refused.returncode, "there is nothing to give back" in refused.stderr) == (1, True)
    refused = backfleet_host("adopt", "restic", "--root", host.root)
    assert (refused.returncode, "no program restic was found" in refused.stderr) == (1, True)
    program.unlink()
