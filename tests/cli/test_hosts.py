"""Hosts and activations, against real operations; and errors for programs."""

import json

import pytest

from backfleet.cli import _confirming
from backfleet.cli._client import CallFailed
from cli.fleet import Fleet, many

__all__ = ["many"]


def test_hosts_are_listed_and_shown_by_name(many: Fleet) -> None:
    """All, or those that are chosen; as a table, CSV or JSON."""
    host, client = many.add("file-1", "1.0", site="ber")
    many.add("file-2", "1.0", site="ham")
    assert many.run("instance", "list", "--where", "tag:site=ber", "--csv", "--columns", "name,instance").stdout == (
        f"name,instance\nfile-1,{host}\n"
    )
    assert many.run("instance", "list", "--columns", "name", "--sort=-name").stdout.split() == [
        "NAME",
        "file-2",
        "file-1",
    ]
    shown = json.loads(many.run("instance", "show", "file-1").stdout)
    assert (shown["InstanceId"], [each["ClientId"] for each in shown["Clients"]]) == (host, [client])
    refused = many.run("instance", "show", "file-3")
    assert (refused.exit_code, "is file-2 or file-1 meant?" in refused.stderr) == (1, True), refused.stderr


def test_lists_have_a_column_with_the_host_program(many: Fleet) -> None:
    """Of hosts and of clients, where it can be asked for, sorted by and chosen by; another agent has none."""
    for name, agent in (("ours-1", "backfleet-0.1.0"), ("ours-2", "backfleet-0.2.0"), ("theirs", "2.2.3.1040")):
        host = many.env.host(name=name, agent=agent)
        many.tag(host, kind="program")
        many.env.client(host, "1.0")
    chosen = ("--where", "tag:kind=program", "--csv", "--sort", "name")
    hosts = many.run("instance", "list", *chosen, "--columns", "name,agent,host_program").stdout
    assert hosts == (
        "name,agent,host_program\nours-1,backfleet-0.1.0,0.1.0\nours-2,backfleet-0.2.0,0.2.0\ntheirs,2.2.3.1040,\n"
    )
    clients = many.run("client", "list", *chosen, "--columns", "name,host_version").stdout
    assert clients == "name,host_version\nours-1,0.1.0\nours-2,0.2.0\ntheirs,\n"
    assert "HOST_VERSION" not in many.run("client", "list", "--where", "tag:kind=program").stdout
    older = many.run("client", "list", "--where", "host_version<0.2", "--where", "tag:kind=program", *chosen[2:])
    assert [line.split(",")[2] for line in older.stdout.splitlines()[1:]] == ["ours-1"], older.output


def test_deregistering_says_which_clients_stay(many: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal it asks; --dry-run changes nothing; by name and by id."""
    host, _ = many.add("old-1", "1.0")
    other, _ = many.add("old-2", "1.0")
    many.env.client(host, "2.5", package="restic")
    shown = many.run("instance", "deregister", "old-1", "old-2", "--dry-run")
    assert shown.stdout.count("leaves courier 1.0") == 2, shown.output
    assert "leaves courier 1.0, restic 2.5" in shown.stdout
    monkeypatch.setattr(_confirming, "can_answer", lambda: True)
    asked = many.run("instance", "deregister", "old-1", text="n\n")
    assert (asked.exit_code, "Deregister 1 host? [y/N]" in asked.stderr, "restic 2.5" in asked.stderr) == (
        1,
        True,
        True,
    )
    done = many.run("instance", "deregister", "old-1", text="y\n")
    assert done.stdout == f"{host}: deregistered; left on it: courier 1.0, restic 2.5\n"
    by_id = many.run("instance", "deregister", other, "--yes", "--json")
    assert [each["InstanceId"] for each in json.loads(by_id.stdout)] == [other]
    assert not [name for name, _ in many.asked if name == "DescribeManagedInstances"]
    assert many.run("client", "list", "old-1").exit_code == 1


def test_activations_are_listed_and_disabled(many: Fleet) -> None:
    """Without their codes."""
    made = many.env.ask("2014-05-26", "CreateActivation", RegionId="cn-hangzhou", InstanceCount=3, InstanceName="rack")[
        1
    ]
    listed = many.run("activation", "list", "--columns", "activation,name,of,state", "--csv").stdout
    assert f"{made['ActivationId']},rack,3,enabled\n" in listed
    done = many.run("activation", "disable", made["ActivationId"])
    assert done.stdout == f"{made['ActivationId']}: disabled; the 0 host(s) that enrolled with it stay\n"
    document = many.run_json("activation", "list")
    assert made["ActivationCode"] not in json.dumps(document)
    assert [each["Disabled"] for each in document if each["ActivationId"] == made["ActivationId"]] == [True]


def test_a_finished_task_is_not_called_cancelled(many: Fleet) -> None:
    """It says how it ended, with an exit code of its own; of several, each has its line."""
    _, client = many.add("app-1", "1.0")
    tasks = [many.run_json("client", "upgrade", "app-1")["TaskIds"][0]]
    assert many.run("task", "cancel", tasks[0]).stdout == f"{tasks[0]}: cancelled\n"
    again = many.run("task", "cancel", tasks[0])
    assert (again.exit_code, again.stdout) == (4, f"{tasks[0]}: not cancelled: it was cancelled before\n")
    failed = many.run_json("client", "upgrade", client, many.env.host(silent=True), "--version", "9.9")["TaskIds"][0]
    tasks.append(failed)
    both = many.run("task", "cancel", *tasks, "t-none")
    assert both.exit_code == 1
    assert f"{failed}: not cancelled: it had finished before (completed, not all of it with success)" in both.stdout
    assert "backfleet: TaskNotFound: t-none: The specified task doesn't exist." in both.stderr
    document = json.loads(many.run("task", "cancel", *tasks, "--json").stdout)
    assert [each["Cancelled"] for each in document] == [False, False]
    assert many.run("task", "show", failed, "--csv", "--columns", "code", "--sort", "-code").stdout.startswith(
        "code\nNoRelease"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["task", "show", "t-none", "--json"], 1, "The specified task doesn't exist."),
        (["client", "upgrade", "--json"], 2, "name hosts or clients"),
        (["client", "upgrade", "nobody", "--json"], 1, "1 of the names will not do; nothing was done"),
        (["client", "list", "--json", "--columns", "size"], 2, "there is no column 'size'"),
        (["client", "list", "--json", "--no-such-option"], 2, "No such option"),
        (["clients", "--json"], 2, "No such command"),
    ],
    ids=str,
)
def test_errors_are_json_for_programs(many: Fleet, arguments: list[str], code: int, message: str) -> None:
    """One document on stderr, also for wrong arguments; nothing on stdout."""
    done = many.run(*arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    found = json.loads(done.stderr)["Error"]
    assert message in found["Message"]
    assert (found["Code"] == "TaskNotFound") is (arguments[0] == "task")


def test_a_refusal_half_way_through_hosts_is_reported(many: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """With those that were done."""
    first, second = many.add("gone-1")[0], many.add("gone-2")[0]

    def refuse(action: str, named: dict[str, object]) -> CallFailed | None:
        is_second = action == "DeregisterManagedInstance" and named["InstanceId"] == second
        return CallFailed("no", {"Code": "Forbidden"}, 403) if is_second else None

    monkeypatch.setattr(many, "refuse", refuse)
    done = many.run("instance", "deregister", first, second, "--yes", "--json")
    assert (done.exit_code, [each["InstanceId"] for each in json.loads(done.stderr)["Error"]["Done"]]) == (3, [first])


def test_what_changes_one_thing_answers_in_json_too(many: Fleet) -> None:
    """Releases, and a host that was shut down."""
    host, _ = many.add("night-1", "1.0")
    assert many.run_json("instance", "stopped", "night-1") == {"InstanceId": host}
    named = ("--package", "courier", "--version", "2.0", "--platform", "linux-amd64")
    assert "2.0" in json.dumps(many.run_json("release", "show", *named))
    assert many.run("release", "withdraw", *named, "--json").stdout.startswith("{")
    assert many.run_json("release", "offer", *named)["Offered"] is True
    assert many.run_json("release", "default", "courier")["Platforms"] == ["linux-amd64"]
