"""A command that there is not, or an option in another place: what was meant is named."""

import json

import pytest
from click.testing import CliRunner

from backfleet.cli import main


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        pytest.param(["clinet"], "Did you mean `backfleet client`", id="a group"),
        pytest.param(["client", "upgrad"], "Did you mean `backfleet client upgrade`", id="a command of a group"),
        pytest.param(["upgrad"], "`backfleet client upgrade`", id="a command of another group"),
        pytest.param(["enrol"], "No such command 'enrol'.", id="nothing near"),
        pytest.param(["--data", "x", "server", "show"], "--data follows the command", id="before the group"),
        pytest.param(["server", "--data", "x", "show"], "server COMMAND --data ...`", id="before the command"),
        pytest.param(["client", "--json", "list"], "--json follows the command", id="an option without a value"),
    ],
)
def test_what_was_meant_is_named(words: list[str], hint: str) -> None:
    done = CliRunner().invoke(main, words, prog_name="backfleet")
    assert done.exit_code == 2
    assert hint in done.stderr, done.stderr


def test_what_is_near_nothing_has_no_hint() -> None:
    done = CliRunner().invoke(main, ["zzzzzz"], prog_name="backfleet")
    assert (done.exit_code, "Did you mean" in done.stderr) == (2, False)


def test_what_was_meant_is_named_once() -> None:
    """The library suggests something, too, also with a closing parenthesis."""
    for word in ("lst", "upgrad"):
        done = CliRunner().invoke(main, ["client", word], prog_name="backfleet")
        assert f"Error: No such command '{word}'. Did you mean `backfleet client " in done.stderr
        assert done.stderr.lower().count("did you mean") == 1


def test_under_json_the_hint_is_in_the_message() -> None:
    done = CliRunner().invoke(main, ["clinet", "--json"], prog_name="backfleet")
    assert "Did you mean `backfleet client`" in json.loads(done.stderr)["Error"]["Message"]
