"""What is wrong with a data folder and its machine: each is broken for real."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from backfleet import host_program, identity, releases
from backfleet.certificates import prepare_certificates
from backfleet.checks import Severity, in_time, named_some
from backfleet.checks.certificates import is_for
from backfleet.checks.machine import (
    check_authority,
    check_certificate,
    check_descriptors,
    check_disk,
    check_folder,
    check_host_program,
    check_keys,
    check_modes,
    check_reports,
)
from mounts import mounted

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with every key, as a first start makes it."""
    data = tmp_path_factory.mktemp("data")
    identity.Vault.open(data)
    releases.Repository.open(data)
    prepare_certificates(data, ["localhost"], now=NOW)
    (data / "admin.json").write_text("{}")
    (data / "admin.json").chmod(0o600)
    return data


def test_a_folder_as_a_start_makes_it_is_healthy(made: Path) -> None:
    found = [*check_folder(made), check_certificate(made, NOW), check_authority(made, NOW), check_reports(made, NOW)]
    assert {each.severity for each in found} == {Severity.OK}, found
    assert check_descriptors().severity is Severity.OK


def test_a_folder_that_is_not_there_is_said_to_be_made_by_the_first_start(tmp_path: Path) -> None:
    (found,) = check_folder(tmp_path / "none")
    assert (found.severity, "`backfleet serve` makes it" in found.advice) == (Severity.ERROR, True)


@pytest.mark.parametrize("name", ["keys/secrets.key", "keys/ca.key", "keys/release-snapshot.key", "tls/ca.pem"])
def test_a_key_that_is_missing_is_named(made: Path, name: str) -> None:
    moved = (made / name).rename(made / "away")
    try:
        found = check_keys(made)
    finally:
        moved.rename(made / name)
    assert (found.severity, found.subjects) == (Severity.ERROR, [str(made / name)])
    assert "backup" in found.advice


@pytest.mark.parametrize("name", ["keys/secrets.key", "keys", "admin.json"])
def test_secrets_that_others_can_read_are_named(made: Path, name: str) -> None:
    mode = (made / name).stat().st_mode
    (made / name).chmod(mode | 0o044)
    try:
        found = check_modes(made)
    finally:
        (made / name).chmod(mode)
    assert (found.severity, found.subjects) == (Severity.ERROR, [str(made / name)])
    assert f"chmod go-rwx {made / name}" in found.advice


def test_a_disk_that_is_full_or_nearly_so_is_reported(tmp_path: Path) -> None:
    """And one without inodes, on which nothing can be written either."""
    with mounted(tmp_path / "full", "size=16m") as disk:
        found = check_disk(disk)
        assert (found.severity, "full: 16 MiB free" in found.found) == (Severity.ERROR, True)
    with mounted(tmp_path / "small", "size=1g") as disk:
        assert check_disk(disk).severity is Severity.WARNING
    with mounted(tmp_path / "many", "size=3g,nr_inodes=100") as disk:
        assert check_disk(disk).severity is Severity.OK
        for number in range(98):
            (disk / str(number)).touch()
        found = check_disk(disk)
        assert (found.severity, "1 inodes free" in found.found) == (Severity.ERROR, True)


def test_a_process_near_its_limit_of_open_files_is_reported() -> None:
    program = (
        "import os, resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200));"
        "held = [os.open('/dev/null', os.O_RDONLY) for _ in range(170)];"
        "from backfleet.checks.machine import check_descriptors;"
        "print(check_descriptors().severity, check_descriptors().advice)"
    )
    # The import needs few descriptors of its own at a time.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("Error raise LimitNOFILE"), done.stderr


def test_a_certificate_whose_key_is_another_one_is_reported(made: Path) -> None:
    key = made / "keys" / "server.key"
    before = key.read_bytes()
    key.write_bytes((made / "keys" / "ca.key").read_bytes())
    try:
        found = check_certificate(made, NOW)
    finally:
        key.write_bytes(before)
    assert (found.severity, "is not the key of" in found.found) == (Severity.ERROR, True)


@pytest.mark.parametrize(
    ("days", "severity", "text"),
    [
        pytest.param(-2, Severity.ERROR, "not valid before", id="not valid yet"),
        pytest.param(380, Severity.WARNING, "in 17 days", id="near its end"),
        pytest.param(400, Severity.ERROR, "it expired on", id="expired"),
    ],
)
def test_a_certificate_outside_of_its_time_is_reported(made: Path, days: int, severity: Severity, text: str) -> None:
    found = check_certificate(made, NOW + timedelta(days=days))
    assert (found.severity, text in found.found) == (severity, True), found
    assert "restart `backfleet serve`" in found.advice


def test_a_server_without_a_host_program_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No host can enrol or be upgraded there."""
    monkeypatch.setattr(host_program, "FILE", tmp_path / "none.pyz")
    found = check_host_program()
    assert (found.severity, "make host-program" in found.found) == (Severity.ERROR, True)


@pytest.mark.parametrize(
    ("names", "minutes", "healthy", "text"),
    [
        pytest.param([], 0, True, "0 wait", id="none"),
        pytest.param(["1-a", ".lock"], 1, True, "1 wait", id="one that has just come"),
        pytest.param(["1-a", "2-b"], 7, False, "for up to 7 minutes", id="two that wait for long"),
        pytest.param([".1-a.bad"], 0, False, "1 cannot be read", id="one that cannot be read"),
    ],
)
def test_reports_that_do_not_reach_the_database_are_reported(
    tmp_path: Path, names: list[str], minutes: int, healthy: bool, text: str
) -> None:
    """The hosts have finished and the server does not know it yet."""
    (tmp_path / "reports").mkdir()
    for name in names:
        (tmp_path / "reports" / name).write_bytes(b"{}")
        os.utime(tmp_path / "reports" / name, (NOW.timestamp() - minutes * 60 - 5,) * 2)
    found = check_reports(tmp_path, NOW)
    assert (found.is_healthy, text in found.found) == (healthy, True)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("[::1]", True),
        ("10.0.0.1", False),
        ("a", False),
    ],
)
def test_a_certificate_is_for_the_names_in_it(tmp_path: Path, host: str, expected: bool) -> None:
    """In any case, with a final dot, and addresses in brackets."""
    files = prepare_certificates(tmp_path, ["localhost", "127.0.0.1", "::1"], now=NOW)
    assert is_for(x509.load_pem_x509_certificate(files.server.read_bytes()), host) is expected


def test_a_question_that_nobody_answers_ends() -> None:
    """And one that fails does so at once."""
    never = threading.Event()
    with pytest.raises(TimeoutError, match="no answer within"):
        in_time(never.wait, 0.01)
    never.set()

    def fails() -> None:
        raise OSError("no")

    failing: Callable[[], None] = fails
    with pytest.raises(OSError, match="no"):
        in_time(failing, 60)


def test_many_names_are_cut() -> None:
    assert (named_some(["a", "b"]), named_some(list("abcde"))) == ("a, b", "a, b, c and 2 more")
