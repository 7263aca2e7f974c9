"""Every command that prints results prints them as JSON too, and its errors under --json are JSON."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from backfleet.cli import main
from backfleet.cli._client import Client

WITHOUT = {
    "completion": "a script for a shell",
    "serve": "its one line, `ready`, is JSON in any case, as are its logs",
}
"""Commands without --json, and why."""
RELAY = ("relay", "--upstream", "http://there", "--cache", "cache")


def commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that is no group, by the words that name it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, (*words, name))
        else:
            yield " ".join((*words, name)), found


ALL = dict(commands(main))


def takes_json(command: click.Command) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)


def test_every_command_has_json_or_a_reason() -> None:
    assert {name for name, command in ALL.items() if not takes_json(command)} == set(WITHOUT)


def test_every_list_has_csv() -> None:
    """Whatever is called `list`, or is a log."""
    lists = {name for name in ALL if name.split()[-1] in ("list", "log", "members", "audit", "runs")}
    assert len(lists) > 15
    lacking = {name for name in lists if not any("--csv" in parameter.opts for parameter in ALL[name].params)}
    assert lacking == set()


@pytest.mark.parametrize("name", sorted(set(ALL) - set(WITHOUT)))
def test_wrong_arguments_are_json_under_json(name: str) -> None:
    """Of any command: nothing else is on stderr, and nothing on stdout."""
    done = CliRunner().invoke(main, [*name.split(), "--json", "--no-such-option"])
    assert done.exit_code == 2
    assert "no-such-option" in json.loads(done.stderr)["Error"]["Message"]
    assert done.stdout == ""


@pytest.mark.parametrize(
    "words",
    [
        ("call", "DescribeTask", "TaskId=t-1"),
        ("call", "DescribeTasc"),
        ("sample", "DescribeTasc"),
        ("rollout", "evidence", "key"),
        ("rollout", "evidence", "export", "ro-1", "file"),
        RELAY,
    ],
    ids=" ".join,
)
def test_errors_are_json_under_json(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the server cannot be reached, or what was asked for is not there."""
    monkeypatch.chdir(tmp_path)
    environment = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "k", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s"}
    flags = [] if words == RELAY else ["--endpoint", "http://127.0.0.1:1"]
    done = CliRunner().invoke(main, [*words, "--json", *flags], env=environment)
    assert done.exit_code == 1, done.output
    assert json.loads(done.stderr)["Error"]["Message"]
    assert done.stdout == ""


def test_results_are_json_under_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of those commands that print a text as it is."""
    monkeypatch.setattr(Client, "call", lambda *_asked, **_named: {"PublicKey": "-----BEGIN\nX\n"})
    flags = ["--endpoint", "http://127.0.0.1:1", "--data", str(tmp_path), "--json"]
    environment = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "k", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s"}

    def shown(*words: str) -> Any:
        done = CliRunner().invoke(main, [*words, *flags], env=environment)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert shown("rollout", "evidence", "key") == {"PublicKey": "-----BEGIN\nX\n"}
    code = shown("sample", "DescribeTask", "TaskId=t-1", "--language", "curl")
    assert (code["Language"], "DescribeTask" in code["Code"]) == ("curl", True)
