"""What the doctor says of a server's answers."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from backfleet.cli import main
from backfleet.cli._client import Client
from backfleet.cli._doctor import (
    check_agents,
    check_backups,
    check_changes,
    check_clock,
    check_host_program,
    check_reports,
)
from backfleet.clock import utc_now


@pytest.mark.parametrize(
    ("server", "healthy", "text"),
    [
        pytest.param({"ConnectedInstances": 3, "DeafInstances": 0}, True, "3 connected", id="all connected"),
        pytest.param({"ConnectedInstances": 2, "DeafInstances": 1}, False, "1 send heartbeats but have no", id="deaf"),
        pytest.param({}, True, "an unknown number connected", id="an older server"),
    ],
)
def test_agents_without_a_connection_are_reported(server: dict[str, Any], healthy: bool, text: str) -> None:
    """They run, and cannot be notified of work."""
    found = check_agents(server)
    assert found.healthy is healthy
    assert text in found.text


@pytest.mark.parametrize(
    ("server", "healthy", "text"),
    [
        pytest.param({"ClockSkewMilliseconds": 120_000}, False, "120 s ahead of that of its database", id="ahead"),
        pytest.param({"ClockSkewMilliseconds": -7_200_000}, False, "7200 s behind that of its", id="behind"),
        pytest.param({"ClockSkewMilliseconds": -40}, True, "differ by 0.0 s", id="right"),
        pytest.param({}, True, "differ by 0.0 s", id="an older server"),
    ],
)
def test_a_server_whose_clock_is_off_is_reported(server: dict[str, Any], healthy: bool, text: str) -> None:
    """With what to do."""
    found = check_clock(server)
    assert (found.healthy, text in found.text) == (healthy, True)
    assert healthy or "timedatectl" in found.text


def test_backups_that_did_not_begin_are_reported() -> None:
    """With where to see them. An older server keeps no runs."""
    assert [check_backups(server).healthy for server in ({}, {"OverdueBackups": 0}, {"OverdueBackups": 2})] == [
        True,
        True,
        False,
    ]
    assert "of 2 client(s)" in check_backups({"OverdueBackups": 2}).text


@pytest.mark.parametrize(
    ("server", "healthy"),
    [
        pytest.param({"HostProgramSha256": "ab" * 32}, True, id="it is there"),
        pytest.param({"HostProgramSha256": ""}, False, id="it was not built"),
        pytest.param({}, True, id="an older server"),
    ],
)
def test_a_server_without_a_host_program_is_reported(server: dict[str, Any], healthy: bool) -> None:
    """No host can enrol or be upgraded there."""
    found = check_host_program(server)
    assert found.healthy is healthy
    assert healthy or "make host-program" in found.text


@pytest.mark.parametrize(
    ("server", "healthy"),
    [({"ChangedClients": 0}, True), ({"ChangedClients": 2}, False), pytest.param({}, True, id="an older server")],
)
def test_clients_whose_files_or_modes_were_changed_are_reported(server: dict[str, Any], healthy: bool) -> None:
    """With where to read what it is."""
    found = check_changes(server)
    assert found.healthy is healthy
    assert healthy or "2 client(s) differ" in found.text


def test_a_task_is_shown_with_what_a_rolled_back_version_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Line by line, and nothing in it moves the cursor."""
    item = {"instanceId": "mi-1", "toVersion": "2.0", "evidence": "Traceback\n  OSError: \x1b[2Jno repository"}
    task = {"Name": "n", "Description": "completed", "Progress": -1, "Result": json.dumps([item, {"evidence": ""}])}
    monkeypatch.setattr(Client, "call", lambda *_, **__: task)
    environment = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "k", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s"}
    done = CliRunner().invoke(main, ["task", "show", "t-1", "--endpoint", "http://127.0.0.1:1"], env=environment)
    assert done.exit_code == 0, done.output
    assert "mi-1: what 2.0 printed before it was rolled back\n  Traceback\n    OSError: \\x1b[2Jno" in done.output


def test_no_code_is_made_that_no_host_could_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line to paste would fail on the host."""
    called = []

    def call(_client: Any, _product: str, action: str, **_parameters: Any) -> dict[str, Any]:
        called.append(action)
        return {"RegionId": "r", "AgentAddress": "a:1", "AuthoritySha256": "", "HostProgramSha256": ""}

    monkeypatch.setattr(Client, "call", call)
    environment = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "k", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s"}
    done = CliRunner().invoke(main, ["activation", "create", "--endpoint", "http://127.0.0.1:1"], env=environment)
    assert (done.exit_code, called) == (1, ["DescribeServer"])
    assert "the server has no host program" in done.stderr
    assert "curl" not in done.output


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
    now = utc_now()
    for name in names:
        (tmp_path / name).write_bytes(b"{}")
        os.utime(tmp_path / name, (now.timestamp() - minutes * 60 - 5,) * 2)
    found = check_reports(tmp_path, now)
    assert found.healthy is healthy
    assert text in found.text
