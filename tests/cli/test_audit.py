"""backfleet audit: looked at, narrowed, exported."""

import json

import pytest

from cli.conftest import Cli


def test_calls_are_shown_the_last_one_first(cli: Cli) -> None:
    """With who, from where, and how it ended."""
    cli("task", "show", "t-none")
    told = cli("audit").stdout.splitlines()
    assert told[0].split() == ["TIME", "(UTC)", "WHO", "FROM", "CALL", "RESULT"]
    assert "TaskNotFound" in next(line for line in told if "DescribeTask" in line)
    found = json.loads(cli("audit", "--event", "DescribeTask", "--limit", "1", "--json").stdout)
    assert [event["requestParameters"] for event in found] == [{"TaskId": "t-none"}]
    assert json.loads(cli("audit", "--user", "nobody", "--json").stdout) == []
    assert json.loads(cli("audit", "--denied", "--until", "2026-01-01", "--since", "2025-01-01", "--json").stdout) == []


def test_the_export_has_every_event_once(cli: Cli) -> None:
    """The oldest first, a line each, over several pages."""
    for _ in range(3):
        cli("user", "list")
    lines = [json.loads(line) for line in cli("audit", "--jsonl").stdout.splitlines()]
    ids = [event["eventId"] for event in lines]
    assert len(ids) == len(set(ids)) >= 3
    times = [event["eventTime"] for event in lines]
    assert times == sorted(times)


@pytest.mark.parametrize("words", [["--since", "yesterday"], ["--until", "7"], ["--since", "2026-13-01"]])
def test_a_time_that_is_none(cli: Cli, words: list[str]) -> None:
    """One clear error, and nothing on stdout."""
    found = cli("audit", *words)
    assert (found.exit_code, "is no time; say" in found.stderr, found.stdout) == (1, True, "")
