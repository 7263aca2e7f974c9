"""Tasks on more hosts than one call takes: split, started once each, and what is said where a call is refused."""

import json
from typing import Any

import pytest

from backfleet.cli import _starting
from backfleet.cli._choosing import split
from backfleet.cli._client import CallFailed, CallInterrupted
from cli.fleet import Fleet, many

__all__ = ["many"]


@pytest.mark.parametrize(
    ("count", "most", "sizes"),
    [
        (0, 100, []),
        (1, 100, [1]),
        (100, 100, [100]),
        (101, 100, [50, 51]),
        (250, 100, [83, 83, 84]),
        (41, 20, [13, 14, 14]),
    ],
)
def test_ids_are_split_evenly(count: int, most: int, sizes: list[int]) -> None:
    """As few calls as possible, none with a lonely rest: a call about one unreachable host is refused as a whole."""
    ids = [f"c-{number}" for number in range(count)]
    parts = split(ids, most)
    assert [len(part) for part in parts] == sizes
    assert [each for part in parts for each in part] == ids


@pytest.fixture(scope="module")
def large(many: Fleet) -> Fleet:
    """A fleet of 230 hosts."""
    for number in range(230):
        many.add(f"node-{number}", "1.0")
    return many


def test_a_large_fleet_becomes_several_tasks(large: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a ClientToken each. The ids of all tasks are printed, also as JSON."""
    done = large.run("client", "upgrade", "--all", "--yes", "--json")
    assert done.exit_code == 0, done.output
    calls = large.calls("UpgradeBackupClients")
    assert [len(call["ClientIds"]) for call in calls] == [76, 77, 77]
    assert len({call["ClientToken"] for call in calls}) == 3
    assert len({each for call in calls for each in call["ClientIds"]}) == 230
    tasks = json.loads(done.stdout)["TaskIds"]
    assert len(tasks) == 3
    for task in tasks:
        large.env.ask("2026-11-01", "CancelTask", TaskId=task)


def test_a_start_that_is_refused_half_way_says_what_was_started(large: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an exit code of its own, and the ids of what goes on."""
    monkeypatch.setattr(large, "refuse", third("Forbidden.RAM", 403))
    done = large.run("client", "upgrade", "--all", "--yes", "--wait")
    assert done.exit_code == 3, done.output
    assert "Forbidden.RAM: no. Started before, and going on: t-" in done.stderr
    assert "not asked for: 77 of the hosts or clients" in done.stderr
    as_json = large.run("client", "upgrade", "--all", "--yes", "--json")
    found = json.loads(as_json.stderr)["Error"]
    assert (as_json.exit_code, as_json.stdout, found["Code"], found["Left"]) == (3, "", "Forbidden.RAM", 77)
    assert len(found["TaskIds"]) == 2


def test_hosts_out_of_reach_do_not_end_a_start(large: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part without a host that can be given work; the others go on."""
    monkeypatch.setattr(large, "refuse", third("NoValidInstance", 200))
    done = large.run("client", "upgrade", "--all", "--yes", "--json")
    assert (done.exit_code, len(json.loads(done.stdout)["TaskIds"])) == (0, 2), done.output


def third(code: str, status: int) -> Any:
    """Return what refuses the third call of a start."""
    seen: list[str] = []

    def refuse(action: str, _named: dict[str, Any]) -> CallFailed | None:
        if action != "UpgradeBackupClients":
            return None
        seen.append(action)
        return CallFailed("no", {"Code": code, "InstanceStatuses": []}, status) if len(seen) % 3 == 0 else None

    return refuse


def test_a_call_whose_answer_was_lost_starts_one_task(large: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made again with the same ClientToken."""
    monkeypatch.setattr(_starting.time, "sleep", lambda _seconds: None)
    tokens: list[str] = []

    def lose(action: str, named: dict[str, Any]) -> CallFailed | None:
        if action != "UpgradeBackupClients":
            return None
        tokens.append(named["ClientToken"])
        return CallInterrupted("the connection broke") if len(tokens) == 1 else None

    monkeypatch.setattr(large, "refuse", lose)
    done = large.run("client", "upgrade", "node-7")
    assert (done.exit_code, len(tokens), len(set(tokens))) == (0, 2, 1)
    assert "the connection broke; trying again" in done.stderr


@pytest.mark.parametrize(
    ("problem", "passes", "tries"),
    [
        (CallFailed("refused", {"Code": "Forbidden"}, 403), False, 1),
        (CallFailed("busy", {"Code": "Throttling.User"}, 429), False, 5),
        (CallFailed("away"), True, 5),
        (CallFailed("away"), False, 1),
    ],
)
def test_a_call_is_tried_again_only_where_that_may_help(problem: CallFailed, passes: bool, tries: int) -> None:
    """With growing pauses, and not for ever."""
    pauses: list[float] = []
    made: list[int] = []

    def call() -> dict[str, Any]:
        made.append(1)
        raise problem

    with pytest.raises(CallFailed):
        _starting.try_again(call, lambda _problem: passes, sleep=pauses.append)
    assert (len(made), len(pauses)) == (tries, tries - 1)
    assert all(0 < pause <= _starting.LONGEST_PAUSE for pause in pauses)
