"""backfleet audit: shown, filtered, exported."""

import json

import pytest

from cli.conftest import Cli


def test_calls_are_shown_newest_first(cli: Cli) -> None:
    """With the caller, the address and the result."""
    cli("task", "show", "t-none")
    shown = cli("audit").stdout.splitlines()
    assert shown[0].split() == ["TIME", "(UTC)", "WHO", "FROM", "CALL", "RESULT"]
    assert "TaskNotFound" in next(line for line in shown if "DescribeTask" in line)
    found = json.loads(cli("audit", "--event", "DescribeTask", "--limit", "1", "--json").stdout)
    assert [event["requestParameters"] for event in found] == [{"TaskId": "t-none"}]
    assert json.loads(cli("audit", "--user", "nobody", "--json").stdout) == []
    assert json.loads(cli("audit", "--denied", "--until", "2026-01-01", "--since", "2025-01-01", "--json").stdout) == []


def test_the_export_has_every_event_once(cli: Cli) -> None:
    """Oldest first, one line each, over several pages."""
    for _ in range(3):
        cli("user", "list")
    lines = [json.loads(line) for line in cli("audit", "--jsonl").stdout.splitlines()]
    ids = [event["eventId"] for event in lines]
    assert len(ids) == len(set(ids)) >= 3
    times = [event["eventTime"] for event in lines]
    assert times == sorted(times)


@pytest.mark.parametrize("arguments", [["--since", "yesterday"], ["--until", "7"], ["--since", "2026-13-01"]])
def test_a_malformed_time_is_refused(cli: Cli, arguments: list[str]) -> None:
    """One clear error, and nothing on stdout."""
    found = cli("audit", *arguments)
    assert (found.exit_code, "is not a time; write" in found.stderr, found.stdout) == (1, True, "")
