"""Clients and hosts by what people know: names, ids, tags, expressions and files, against real operations."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backfleet.cli._client import CallFailed
from backfleet.endpoints.console.example_policy import example_policy
from cli.fleet import Fleet, many

__all__ = ["many"]
NO_CLIENT = "there is no host or client 'c-1'"
Ids = dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def three(many: Fleet) -> Ids:
    """Three hosts with a client each, on two sites."""
    return {
        "app-1": many.add("app-1", "1.0", site="ber", env="prod"),
        "app-2": many.add("app-2", "2.0", site="ber", env="test"),
        "db-1": many.add("db-1", "1.0", site="ham", env="prod"),
    }


def upgraded(many: Fleet, three: Ids, *arguments: str, text: str | None = None) -> list[str]:
    """Run an upgrade, and return the hosts whose clients it asked for."""
    done = many.run("client", "upgrade", *arguments, text=text)
    assert done.exit_code == 0, done.output
    (call,) = many.calls("UpgradeBackupClients")
    names = {client: name for name, (_, client) in three.items()}
    return [names[each] for each in call["ClientIds"]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["app-1"], ["app-1"]),
        (["app-1", "db-1", "app-1"], ["app-1", "db-1"]),
        (["--instance", "db-1"], ["db-1"]),
        (["--tag", "site=ber"], ["app-1", "app-2"]),
        (["--tag", "site"], ["app-1", "app-2", "db-1"]),
        (["--tag", "site=ber", "--tag", "env=prod"], ["app-1"]),
        (["--tag", "site=ber", "--tag", "site=ham", "--tag", "env=prod"], ["app-1", "db-1"]),
        (["--where", "version<1.75 and tag:site=ber"], ["app-1"]),
        (["--where", "version<2", "--where", "name~app-* or name=x"], ["app-1"]),
        (["--where", "not version<2"], ["app-2"]),
        (["--where", "host_version<0.2 and name~app-*"], ["app-1", "app-2"]),
        (["--tag", "env=prod", "--where", "tag:site!=ham"], ["app-1"]),
        (["app-1", "app-2", "--where", "version<newest"], ["app-1"]),
        (["--all"], ["app-1", "app-2", "db-1"]),
        (["--file", "-"], ["db-1", "app-2"][::-1]),
    ],
    ids=" ".join,
)
def test_targets_are_chosen_by_what_people_know(
    many: Fleet, three: Ids, arguments: list[str], expected: list[str]
) -> None:
    """Each once, in the order of the server's list."""
    text = "\ufeff# tonight\r\ndb-1   # the database\n\napp-2\ndb-1\n"
    assert sorted(upgraded(many, three, *arguments, text=text)) == sorted(expected)


def test_names_ids_and_a_file_add_up_and_conditions_narrow_them(many: Fleet, three: Ids, tmp_path: Path) -> None:
    """A host that is named and left out by a condition is reported."""
    file = tmp_path / "hosts"
    file.write_text("app-2\n")
    chosen = ["app-1", "--client", three["db-1"][1], "--file", str(file)]
    assert upgraded(many, three, *chosen) == ["app-1", "app-2", "db-1"]
    done = many.run("client", "upgrade", *chosen, "--tag", "site=ber", "--dry-run")
    assert "note: 1 of those named left out by --tag or --where" in done.stderr
    assert re.search(r"would upgrade 2 clients on 2 hosts, of which 1 is .*; nothing was changed", done.stdout)


def test_ids_alone_are_sent_as_they_are(many: Fleet, three: Ids) -> None:
    """Without a list first: who may upgrade need not be allowed to list, and scripts go on as ever."""
    (web, _), (_, client) = three["app-1"], three["db-1"]
    assert many.run("client", "upgrade", "--instance", web, client).exit_code == 0
    assert [action for action, _ in many.asked] == ["UpgradeBackupClients", "DescribeTask"]
    (call,) = many.calls("UpgradeBackupClients")
    assert (call["InstanceIds"], call["ClientIds"]) == ([web], [client])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "name hosts or clients, or give --tag, --where, --file or --all"),
        (["--tag", "site=nowhere"], 1, "no backup client is chosen"),
        (["--tag", "evn=prod"], 1, "none has the tag evn=prod; is env=prod meant?"),
        (["app-1", "--tag", "site=bre"], 1, "none has the tag site=bre; is site=ber or site=ham meant?"),
        (["--tag", "stie"], 1, "none has the tag stie; is site meant?"),
        (["--where", "version<0.1"], 1, "no backup client is chosen"),
        (
            ["--where", "version<"],
            2,
            "--where: a value is wanted, the end was found (at character 9)\nversion<\n        ^",
        ),
        (["--where", "versoin<2"], 2, "there is no field 'versoin'; is 'version' meant?"),
        (["--tag", "=ber"], 2, "has no key; write KEY=VALUE"),
        (["--file", "/nowhere/hosts"], 2, "--file /nowhere/hosts cannot be read as UTF-8 text"),
        (["--file", "-"], 2, "--file stdin has no names"),
        (["--all", "app-1"], 2, "--all and names exclude each other"),
    ],
    ids=str,
)
def test_nothing_chosen_is_an_error_and_not_everything(
    many: Fleet, three: Ids, arguments: list[str], code: int, message: str
) -> None:
    """Whatever the reason."""
    done = many.run("client", "upgrade", *arguments, text="# nobody\n")
    assert (done.exit_code, message in done.stderr, done.stdout) == (code, True, ""), done.output
    assert many.calls("UpgradeBackupClients") == []


def test_hosts_are_chosen_for_an_install(many: Fleet, three: Ids) -> None:
    """Also those that have no client yet; a version is a client's."""
    bare = many.env.host(name="new-1")
    many.tag(bare, site="ber")
    done = many.run("client", "install", "--where", "tag:site=ber and name~new-*", "--package", "courier")
    assert done.exit_code == 0, done.output
    assert [call["InstanceIds"] for call in many.calls("InstallBackupClients")] == [[bare]]
    assert many.run("client", "install", "--where", "version<2").exit_code == 2
    refused = many.run("client", "install", three["app-1"][1])
    assert (refused.exit_code, "is a client; name its host" in refused.stderr) == (2, True)


def test_a_list_shows_the_chosen_clients(many: Fleet, three: Ids) -> None:
    """All of them, if nothing is chosen."""
    shown = many.run("client", "list", "--where", "version<2", "--columns", "hostname,version", "--sort", "-hostname")
    assert shown.stdout.split() == ["HOSTNAME", "VERSION", "web-2", "1.0", "web-0", "1.0"]
    named = many.run("client", "list", "app-1", "--columns", "name,channel,platform", "--csv").stdout.splitlines()
    assert (named[0], named[1].split(",")[:2]) == ("name,channel,platform", ["app-1", "stable"])
    assert "CHANNEL" not in many.run("client", "list").stdout
    assert len(json.loads(many.run("client", "list", "--json").stdout)) == 4  # one by the install above
    assert len(json.loads(many.run("client", "list", "--json", "--limit", "2").stdout)) == 2


def test_wrong_names_are_refused_all_at_once_with_suggestions(many: Fleet, three: Ids, tmp_path: Path) -> None:
    """Unknown ones, those of several hosts, and those of hosts without a client. Nothing is started."""
    first, second = many.add("twin")[0], many.add("twin")[0]
    many.env.host(name="empty")
    file = tmp_path / "hosts"
    file.write_text("app-1\nbd-1\n")
    done = many.run("client", "upgrade", "app1", "twin", "empty", "nothing-like-it", "c-1", "--file", str(file))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "there is no host or client 'app1'; is app-1 or app-2 meant?",
        f"twin is the name of 2 hosts: {first} (twin, web-4), {second} (twin, web-5); give an id",
        "empty has no backup client; `backfleet client install empty` installs one",
        "there is no host or client 'nothing-like-it'",
        f"there is no host or client 'c-1'{done.stderr.splitlines()[4].removeprefix(NO_CLIENT)}",
        f"{file}:2: there is no host or client 'bd-1'; is db-1 or web-1 meant?",
        "backfleet: 6 of the names will not do; nothing was done",
    ]
    assert many.calls("UpgradeBackupClients") == []


def test_a_client_follows_another_channel_by_name(many: Fleet, three: Ids, monkeypatch: pytest.MonkeyPatch) -> None:
    """One, or all that are chosen; an error in between says how many were set."""
    many.env.release("3.0", channel="beta")
    done = many.run("client", "set", "--where", "version<9 and tag:site=ber", "--channel", "beta")
    assert done.stdout.count("follows beta; before it was stable") == 2, done.output
    assert "nothing was changed" in many.run("client", "set", "db-1", "--channel", "beta", "--dry-run").stdout

    def refuse(action: str, named: dict[str, object]) -> CallFailed | None:
        is_third = named.get("ClientId") == three["db-1"][1]
        return CallFailed("no", {"Code": "Forbidden"}, 403) if action == "SetClientChannel" and is_third else None

    monkeypatch.setattr(many, "refuse", refuse)
    partly = many.run("client", "set", "--all", "--channel", "stable")
    assert (partly.exit_code, "2 of 6 were set before" in partly.stderr) == (3, True), partly.output


@pytest.mark.parametrize("command", [("task", "list"), ("client", "runs")], ids=" ".join)
def test_one_host_is_named_as_elsewhere(many: Fleet, three: Ids, command: tuple[str, str]) -> None:
    """By its name or id. What means no host is refused: an empty list would say that nothing happened there."""
    instance = three["app-1"][0]
    operation = "ListTasks" if command[0] == "task" else "ListRuns"
    for name in ("app-1", instance):
        done = many.run(*command, "--instance", name)
        assert done.exit_code == 0, done.output
        assert [call["InstanceId"] for call in many.calls(operation)] == [instance]
    unknown = many.run(*command, "--instance", "app-11")
    assert (unknown.exit_code, "no host or client 'app-11'; is app-1" in unknown.stderr) == (1, True), unknown.output


@pytest.mark.parametrize(
    "words", [("rollout", "apply"), ("rollout", "preview"), ("calendar", "put", "xmas")], ids=" ".join
)
def test_under_json_the_faults_of_a_file_are_in_the_error(many: Fleet, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Standard error is one JSON document; for people it is a line for each fault."""
    file = tmp_path / "p.toml"
    file.write_text('name = "x"\npackge = "courier"\n')
    error = json.loads(many.run(*words, str(file), "--json").stderr)["Error"]
    assert error["Code"], error
    read = many.run(*words, str(file)).stderr.splitlines()
    assert len(read) == len(error["Faults"]) + 1 > 1
    assert all(line.startswith(str(file)) for line in read[:-1])


def test_a_failed_task_is_listed_as_failed(many: Fleet, three: Ids) -> None:
    """As `task show` has it, and not with the API's Progress of -1."""
    task = many.run_json("client", "upgrade", many.add("late-1")[1], "--version", "9.9")["TaskId"]
    rows = many.run("task", "list", "--columns", "task,state,progress", "--csv").stdout.splitlines()
    assert f'{task},"completed, failed",' in rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b" \n", "is empty; give a file with"),
        (b"\x00\xff", "cannot be read as UTF-8 text"),
        (b"a" * (5 << 20), "has more than 4 MiB"),
    ],
    ids=["empty", "binary", "huge"],
)
@pytest.mark.parametrize("words", [("rollout", "apply"), ("calendar", "put", "freeze")], ids=" ".join)
def test_a_document_that_says_nothing_is_named_and_not_sent(
    many: Fleet, tmp_path: Path, words: tuple[str, ...], content: bytes, message: str
) -> None:
    """An empty file, a program, a log."""
    file = tmp_path / "document"
    file.write_bytes(content)
    done = many.run(*words, str(file))
    assert (done.exit_code, f"{file} {message}" in done.stderr, many.asked) == (1, True, []), done.output


def test_one_fault_of_a_policy_is_one_fault(many: Fleet, tmp_path: Path) -> None:
    """And no faults."""
    file = tmp_path / "p.toml"
    file.write_text(f"frequency = 1\n{example_policy('courier', '2.0', datetime.now(UTC))}")
    assert (
        f"the policy in {file} is refused: 1 fault; nothing was changed"
        in many.run("rollout", "apply", str(file)).stderr
    )
