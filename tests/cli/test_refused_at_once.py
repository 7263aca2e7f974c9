"""A command that only starts a task says so, and fails, where nothing of the task can be done."""

import json

import pytest

from backfleet.cli._client import CallFailed
from cli.fleet import Fleet, many

__all__ = ["many"]

WHY = "9.9 is not offered on the client's channel for its platform; offered are 2.0, 1.0"


def test_a_version_that_nobody_offers_fails_without_waiting(many: Fleet) -> None:
    """The task is there, as the API has it, and its code is that of its items."""
    many.add("app-1", "1.0")
    many.add("app-2", "1.0")
    done = many.run("client", "upgrade", "app-1", "app-2", "--version", "9.9")
    assert done.exit_code == 1, done.output
    assert "started; follow with `backfleet task watch" in done.stdout
    assert f"backfleet: NoRelease: nothing can be done of it, 2 of 2: courier {WHY}" in done.stderr
    document = many.run("client", "upgrade", "app-1", "app-2", "--version", "9.9", "--json")
    assert (document.exit_code, len(json.loads(document.stdout)["TaskIds"])) == (1, 1)
    error = json.loads(document.stderr)["Error"]
    assert (error["Code"], error["Refused"]) == ("NoRelease", 2)


def test_one_client_that_can_be_moved_is_enough(many: Fleet) -> None:
    """The others are in the task, for who looks. A second call finds all of them refused or on their way."""
    _, pinned = many.env.host_with_client("1.0", pin="")
    _, free = many.env.host_with_client("1.0")
    for _ in range(2):
        done = many.run("client", "upgrade", pinned, free)
        assert (done.exit_code, done.stderr) == (0, ""), done.output
    alone = many.run("client", "upgrade", pinned)
    assert (alone.exit_code, "Pinned: nothing can be done of it: courier stays" in alone.stderr) == (1, True)


@pytest.mark.parametrize("tasks", [1, 2])
def test_of_several_tasks_only_those_up_to_one_that_goes_on_are_asked_for(many: Fleet, tasks: int) -> None:
    """101 clients are two tasks; the first that goes on is the last that is read."""
    refused = [many.env.host_with_client("1.0", pin="")[1] for _ in range(101)]
    ids = refused if tasks == 2 else [many.env.host_with_client("1.0")[1], *refused[1:]]
    done = many.run("client", "upgrade", *ids, "--yes")
    assert [action for action, _ in many.asked].count("DescribeTask") == tasks
    assert done.exit_code == (1 if tasks == 2 else 0), done.output


def test_who_may_not_read_tasks_learns_that_one_was_started(many: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """As before: that is all which the answer of the call says."""
    many.add("app-9", "1.0")
    forbidden = CallFailed("Not yours.", {"Code": "Forbidden.RAM"}, 403)
    monkeypatch.setattr(many, "refuse", lambda action, _given: forbidden if action == "DescribeTask" else None)
    done = many.run("client", "upgrade", "app-9", "--version", "9.9")
    assert (done.exit_code, done.stderr) == (0, ""), done.output
