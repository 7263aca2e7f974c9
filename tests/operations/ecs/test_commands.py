"""Saved commands: making, listing, changing, deleting and invoking them."""

from typing import Any

import pytest

from backfleet.assistant import invocations, saved_commands
from operations.ecs.agents import ECS, Agents, base64_of
from operations.environment import REGION, Environment


def create(agents: Agents, content: str = "true", **fields: Any) -> str:
    fields = {"Name": "greet", "Type": "RunShellScript", "CommandContent": base64_of(content)} | fields
    return str(agents.ask("CreateCommand", **fields)["CommandId"])


def listed(agents: Agents, caller: Any = None, **fields: Any) -> list[dict[str, Any]]:
    answer = agents.ask("DescribeCommands", caller, **fields)
    assert answer["TotalCount"] >= len(answer["Commands"]["Command"])
    return list(answer["Commands"]["Command"])


def test_a_command_shows_every_field(agents: Agents) -> None:
    """The content is in base64 unless plain text is asked for."""
    fields = {"Description": "says hello", "WorkingDir": "/tmp", "Timeout": "5", "EnableParameter": "true"}
    command_id = create(agents, "echo {{name}}", **fields, **{"Tag.1.Key": "team", "Tag.1.Value": "shop"})
    (found,) = listed(agents)
    assert found == {
        "CommandId": command_id, "Name": "greet", "Description": "says hello", "Type": "RunShellScript",
        "CommandContent": base64_of("echo {{name}}"), "Category": "", "CreationTime": "2026-01-02T03:04:05Z",
        "EnableParameter": True, "InvokeTimes": 0, "Latest": False, "Launcher": "",
        "ParameterNames": {"ParameterName": ["name"]},
        "ParameterDefinitions": {"ParameterDefinition": [
            {"ParameterName": "name", "Required": True, "PossibleValues": {"PossibleValue": []}}
        ]},
        "Provider": "User", "ResourceGroupId": "", "Tags": {"Tag": [{"TagKey": "team", "TagValue": "shop"}]},
        "Timeout": 10, "Version": 1, "WorkingDir": "/tmp",
    }  # fmt: skip
    (plain,) = listed(agents, ContentEncoding="plaintext")
    assert plain["CommandContent"] == "echo {{name}}"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param({"Name": ""}, "MissingParameter", id="no name"),
        pytest.param({"CommandContent": "echo hello!"}, "CmdContent.DecodeError", id="plain text without its encoding"),
        pytest.param({"Type": "RunPython"}, "InvalidCmdType.NotFound", id="no such type"),
        pytest.param({"Timeout": "0"}, "InvalidTimeout.ExceedLimit", id="timeout 0"),
    ],
)
def test_bad_commands_are_refused(env: Environment, agents: Agents, fields: dict[str, str], code: str) -> None:
    """Nothing is saved."""
    whole = {"Name": "a", "Type": "RunShellScript", "CommandContent": base64_of("true")} | fields
    assert env.ask(ECS, "CreateCommand", RegionId=REGION, **whole)[1]["Code"] == code
    assert listed(agents) == []


def test_commands_can_be_filtered(env: Environment, agents: Agents) -> None:
    """Newest first; there are no public ones."""
    one, two = create(agents, Name="web-a"), create(agents, Name="db", Description="x", **{"Tag.1.Key": "k"})

    def found(**fields: Any) -> set[str]:
        return {command["CommandId"] for command in listed(agents, **fields)}

    assert found() == {one, two}
    assert found(CommandId=one) == found(Name="web*") == {one}
    assert found(Description="x") == found(**{"Tag.1.Key": "k"}) == {two}
    assert found(Type="RunBatScript") == found(Provider="AlibabaCloud") == found(CommandId="c-none") == set()
    assert len(listed(agents, PageSize="1", PageNumber="2")) == 1
    assert listed(agents, env.other_account) == []


def test_an_invocation_keeps_the_command_as_it_was(env: Environment, agents: Agents) -> None:
    """Whether the command is changed or deleted later."""
    host = env.host()
    command_id = create(agents, "echo {{name}}", EnableParameter="true", Timeout="99", WorkingDir="/srv")
    fields = {"CommandId": command_id, "InstanceId.1": host, "Parameters": {"name": "Jack"}}
    invoke_id = agents.ask("InvokeCommand", **fields, Username="web")["InvokeId"]
    agents.ask("ModifyCommand", CommandId=command_id, Name="other", CommandContent=base64_of("false"))
    agents.ask("DeleteCommand", CommandId=command_id)
    command = agents.carry_out(host)
    assert (command.content, command.timeout_seconds) == ("echo Jack", 99)
    assert (command.working_directory, command.username) == ("/srv", "web")
    assert agents.invocation(invoke_id)["CommandName"] == "greet"
    assert listed(agents) == []


def test_a_command_can_be_changed(agents: Agents) -> None:
    """What is not given stays; its parameters are those of the new content."""
    command_id = create(agents, "echo {{a}}", EnableParameter="true", Description="d")
    agents.ask("ModifyCommand", CommandId=command_id, Name="other", CommandContent=base64_of("{{b}}"), Timeout="90")
    (found,) = listed(agents)
    assert (found["Name"], found["Description"], found["Timeout"]) == ("other", "d", 90)
    assert found["ParameterNames"] == {"ParameterName": ["b"]}


@pytest.mark.parametrize("action", ["ModifyCommand", "DeleteCommand", "InvokeCommand"])
def test_a_command_of_another_account_does_not_exist(env: Environment, agents: Agents, action: str) -> None:
    """The answer is that for an unknown id."""
    command_id = create(agents)
    for named in (command_id, "c-none"):
        fields = {"CommandId": named, "InstanceId.1": env.host()}
        assert agents.refused(action, env.other_account, **fields) == (404, "InvalidCmdId.NotFound")
    assert [command["Name"] for command in listed(agents)] == ["greet"]


def test_invocations_of_a_saved_command_are_counted(env: Environment, agents: Agents) -> None:
    """Two of them."""
    host = env.host()
    command_id = create(agents)
    for _ in range(2):
        agents.ask("InvokeCommand", CommandId=command_id, **{"InstanceId.1": host})
    assert listed(agents)[0]["InvokeTimes"] == 2


def test_run_command_saves_its_command_only_when_asked(env: Environment, agents: Agents) -> None:
    """A saved one can be invoked again."""
    host = env.host()
    agents.run(host)
    assert listed(agents) == []
    agents.run(host, Name="kept", KeepCommand="true")
    (kept,) = listed(agents)
    assert (kept["Name"], kept["InvokeTimes"]) == ("kept", 1)
    agents.ask("InvokeCommand", CommandId=kept["CommandId"], **{"InstanceId.1": host})


def test_the_same_token_makes_one_command(agents: Agents) -> None:
    """Both calls get the same answer."""
    assert create(agents, ClientToken="t") == create(agents, ClientToken="t")
    assert len(listed(agents)) == 1


def test_an_account_has_limits(monkeypatch: pytest.MonkeyPatch, env: Environment, agents: Agents) -> None:
    """Another account has limits of its own."""
    monkeypatch.setattr(saved_commands, "MOST_COMMANDS", 1)
    monkeypatch.setattr(invocations, "MOST_A_DAY", 1)
    create(agents)
    fields = {"Name": "a", "Type": "RunShellScript", "CommandContent": base64_of("true")}
    assert agents.refused("CreateCommand", **fields) == (403, "CmdCount.ExceedQuota")
    assert agents.ask("CreateCommand", env.other_account, **fields)["CommandId"]
    host = env.host()
    agents.run(host)
    run = {"Type": "RunShellScript", "CommandContent": "true", "InstanceId.1": host}
    assert agents.refused("RunCommand", **run) == (403, "Invocation.ExceedQuota")
    agents.later(host, hours=24)
    agents.run(host)
