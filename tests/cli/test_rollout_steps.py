"""What is said of a rollout that waits for somebody: the command, and the ring."""

from typing import Any

import pytest

from backfleet.cli._rollout_steps import next_step
from backfleet.operations.catalogue import BACKFLEET
from cli.fleet import Fleet, many

__all__ = ["many"]  # a fixture

POLICY = """name = "courier to 2.0"
package = "courier"
version = "2.0"
deadline = "2099-01-01T00:00:00Z"
[[ring]]
name = "all"
gates = [{ kind = "approval", people = 2 }]
"""


def shown(state: str, waits_for: str = "", **more: Any) -> dict[str, Any]:
    rings = [{"Name": "canary", "State": "finished"}, {"Name": "rest", "State": "pending"}]
    return {"RolloutId": "ro-1", "State": state, "WaitsFor": waits_for, "Rings": rings, **more}


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (shown("running", "approval: 0 of 1 persons agreed"), "`backfleet rollout approve ro-1 --ring rest`"),
        (shown("running", "manual: a person must resume the rollout"), "ring rest waits for a person: `backfleet"),
        (shown("running", "ring canary has no member that succeeded, so ..."), "`backfleet rollout retry ro-1` tries"),
        (shown("halted", CanGoBack=True), "`roll-back ro-1` rolls back who has it, `retry ro-1` and `resume ro-1`"),
        (shown("halted"), "`roll-back ro-1` rolls back who has it"),
        (shown("paused", CanGoBack=False), "`backfleet rollout resume ro-1` lets it go on"),
        (shown("draft", CanGoBack=False), "`backfleet rollout start ro-1` starts it"),
    ],
)
def test_the_command_is_named(found: dict[str, Any], says: str) -> None:
    """Also where an older server does not say whether it can go back."""
    assert says in next_step(found)


@pytest.mark.parametrize(
    "found", [shown("running"), shown("running", "soak: until 2026-12-01 12:00 UTC"), shown("completed")]
)
def test_where_nobody_is_waited_for_nothing_is_said(found: dict[str, Any]) -> None:
    """Time alone moves it, or nothing does."""
    assert next_step(found) == ""


def test_a_roll_back_of_nothing_is_not_offered() -> None:
    """The other ways are."""
    said = next_step(shown("halted", CanGoBack=False))
    assert ("roll-back" in said, "`retry ro-1`" in said, "`cancel ro-1`" in said) == (False, True, True)


def test_an_approval_says_how_many_agreed(many: Fleet) -> None:
    """With the ring; whoever agrees twice counts once, and reads that."""
    many.add("till-1")
    author = many.env.user("ann", "AdministratorAccess")
    text = POLICY.replace('name = "courier to 2.0"', 'name = "by ann"')
    made = many.env.ask(BACKFLEET.version, "CreateRollout", author, Policy=text)[1]
    rollout = made["RolloutId"]
    assert many.run("rollout", "approve", rollout).stdout == f"{rollout}: ring all: 1 person agreed, 2 must\n"
    again = many.run("rollout", "approve", rollout).stdout
    assert again == f"{rollout}: ring all: 1 person agreed, 2 must; you had approved it before, and count once\n"
    many.run("rollout", "cancel", rollout)
    many.run("instance", "deregister", "till-1", "--yes")
