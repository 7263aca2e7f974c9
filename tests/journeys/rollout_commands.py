"""Rollouts of an installation's real hosts, moved and watched by the command line."""

import json
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from backfleet.cli import main
from backfleet.clock import utc_now
from journeys.installation import Installation, wait_for

SECONDS = 900.0  # for anything, on a machine that is busy with other tests: what is right takes a tenth of it
TEMPORARY = "The request has failed due to a temporary failure of the server"
ENDED = ("completed", "rolled_back", "cancelled", "expired")
UNDER_WAY = ("upgrading", "verifying", "rolling_back")


def cli(fleet: Installation, *arguments: str) -> Result:
    """Run a command of the command line on that server."""
    return CliRunner().invoke(main, [*arguments, "--data", str(fleet.data)])


def run(fleet: Installation, *arguments: str) -> str:
    """Run a command, again while the server is too busy for it; return what it printed.

    Raises:
        AssertionError: it failed.
    """

    def attempt() -> Result | None:
        result = cli(fleet, *arguments)
        return None if result.exit_code and TEMPORARY in result.output else result

    result: Result = wait_for(attempt, SECONDS)
    assert result.exit_code == 0, f"{arguments}: {result.output}"
    return result.stdout


def policy_file(fleet: Installation, name: str, text: str, **fields: str) -> Path:
    """Return a policy's file, which is made of `text` the first time."""
    file = fleet.folder / f"{name}.toml"
    if not file.exists():
        deadline = (utc_now() + timedelta(hours=6)).isoformat()
        file.write_text(text.format(name=name, deadline=deadline, **fields))
    return file


def apply(fleet: Installation, name: str, text: str, **fields: str) -> str:
    """Apply a policy's file; return the rollout's id. The same file again changes nothing."""
    file = policy_file(fleet, name, text, **fields)
    found: str = json.loads(run(fleet, "rollout", "apply", str(file), "--json"))["RolloutId"]
    return found


def show(fleet: Installation, rollout: str) -> dict[str, Any]:
    """Return a rollout with its members."""
    found: dict[str, Any] = json.loads(run(fleet, "rollout", "show", rollout, "--members", "--json"))
    return found


def states(found: dict[str, Any]) -> Counter[str]:
    """Return how many members of a rollout are in each state."""
    return Counter(each["State"] for each in found["MemberList"])


def until(fleet: Installation, rollout: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until something holds of a rollout; return it.

    Raises:
        AssertionError: it did not, within SECONDS; with the rollout as it was last.
    """
    end = time.monotonic() + SECONDS
    while not holds(found := show(fleet, rollout)):
        assert time.monotonic() < end, json.dumps(found, indent=1)
        time.sleep(0.1)
    return found


def over(fleet: Installation, rollout: str, *wanted: str) -> dict[str, Any]:
    """Wait until a rollout is in one of these states; return it."""
    return until(fleet, rollout, lambda found: found["State"] in wanted)


def end_open(fleet: Installation) -> None:
    """End every rollout that a test left open, and wait until no host is under way: the next test finds a fleet."""
    for each in json.loads(run(fleet, "rollout", "list", "--json")):
        rollout = each["RolloutId"]
        if each["State"] == "rolling_back":
            over(fleet, rollout, "rolled_back", "halted")
        if show(fleet, rollout)["State"] not in ENDED:
            run(fleet, "rollout", "cancel", rollout)
        until(fleet, rollout, lambda found: not any(states(found)[name] for name in UNDER_WAY))
