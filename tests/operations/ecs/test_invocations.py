"""RunCommand, InvokeCommand, StopInvocation and their results: from the call to the host and back."""

import json
from datetime import timedelta
from typing import Any

import pytest

from backfleet import commands, fleet
from backfleet_host.contract import Order
from operations.ecs.agents import ECS, Agents, base64_of
from operations.environment import OTHER, REGION, Environment

SHELL = {"Type": "RunShellScript", "CommandContent": "true"}


# --- One command, once ----------------------------------------------------------------------------------------------


def test_a_command_runs_and_shows_every_field(env: Environment, agents: Agents) -> None:
    """As the official clients read them."""
    host = env.host()
    fields = {"Name": "greet", "Description": "says hello", "WorkingDir": "/tmp", "Username": "web", "Timeout": "120"}
    invoke_id = agents.run(host, content="echo hello", **fields)
    assert agents.statuses(invoke_id) == ("Pending", ["Pending"])
    command = agents.begin(host, b"hel")
    assert (command.content, command.timeout_seconds, command.kind) == ("echo hello", 120, "RunShellScript")
    assert (command.working_directory, command.username) == ("/tmp", "web")
    assert agents.statuses(invoke_id) == ("Running", ["Running"])
    env.now += timedelta(seconds=2)
    agents.end(host, command, output=b"lo\n", exit_code=0, dropped=7)
    found = agents.invocation(invoke_id)
    (on_host,) = found.pop("InvokeInstances")["InvokeInstance"]
    assert found == {
        "InvokeId": invoke_id, "CommandId": found["CommandId"], "CommandName": "greet",
        "CommandType": "RunShellScript", "CommandContent": "echo hello", "CommandDescription": "says hello",
        "CreationTime": "2026-01-02T03:04:05Z", "Frequency": "", "InvocationStatus": "Success",
        "InvokeStatus": "Finished", "Parameters": "{}", "RepeatMode": "Once", "TerminationMode": "Process",
        "Timed": False, "Timeout": 120, "Username": "web", "WorkingDir": "/tmp", "Launcher": "", "ContainerId": "",
        "ContainerName": "", "OssOutputDelivery": "", "Tags": {"Tag": []},
    }  # fmt: skip
    expected = {
        "InstanceId": host, "InvocationStatus": "Success", "ExitCode": 0, "ErrorCode": "",
        "ErrorInfo": "", "Output": "hello\n", "Dropped": 7, "Repeats": 1,
    }  # fmt: skip
    assert {name: on_host[name] for name in expected} == expected
    assert (on_host["StartTime"], on_host["FinishTime"], on_host["StopTime"]) == (
        "2026-01-02T03:04:05Z", "2026-01-02T03:04:07Z", "",
    )  # fmt: skip
    (result,) = agents.results(invoke_id)
    assert {name: result[name] for name in expected} == expected
    assert (result["InvokeRecordStatus"], result["FinishedTime"]) == ("Finished", "2026-01-02T03:04:07Z")
    (encoded,) = agents.results(invoke_id, ContentEncoding="")
    assert encoded["Output"] == base64_of("hello\n")


@pytest.mark.parametrize(
    ("ending", "status", "legacy", "code"),
    [
        pytest.param({"kind": "finish", "exit_code": 3}, "Failed", "Failed", "ExitCodeNonzero", id="exit code 3"),
        pytest.param({"kind": "timeout", "exit_code": 1}, "Timeout", "Failed", "ExecutionTimeout", id="out of time"),
        pytest.param({"kind": "error", "error_code": "13"}, "Error", "Failed", "ExecutionException", id="no start"),
        pytest.param(
            {"kind": "error", "error_code": "-9"}, "Error", "Failed", "ClientNotResponse", id="an unknown end"
        ),
        pytest.param(
            {"kind": "invalid", "error_code": "TypeInvalid", "error_text": "OrdersOnly"},
            "Invalid", "Failed", "CommandNotApplicable", id="a host that runs no shell",
        ),
        pytest.param(
            {"kind": "invalid", "error_code": "workingDirectory"},
            "Invalid", "Failed", "DirectoryNotExists", id="no such folder",
        ),
        pytest.param(
            {"kind": "invalid", "error_code": "UsernameOrPasswordInvalid"},
            "Invalid", "Failed", "AccountNotExists", id="no such user",
        ),
    ],
)  # fmt: skip
def test_every_ending_has_its_status_and_code(
    env: Environment, agents: Agents, ending: dict[str, Any], status: str, legacy: str, code: str
) -> None:
    """As the table of the cloud has them."""
    host = env.host()
    invoke_id = agents.run(host)
    agents.carry_out(host, **ending)
    (result,) = agents.results(invoke_id)
    assert (result["InvocationStatus"], result["InvokeRecordStatus"], result["ErrorCode"]) == (status, legacy, code)
    assert agents.statuses(invoke_id)[0] == "Failed"


def test_a_late_report_replaces_a_lost_one(env: Environment, agents: Agents) -> None:
    """A run counts as lost, and then reports its end."""
    host = env.host()
    invoke_id = agents.run(host)
    command = agents.begin(host)
    env.now += timedelta(seconds=100)
    with env.services.database.transaction() as tx:
        commands.sweep(tx, now=env.now, limit=10)
    agents.run_worker()
    assert agents.results(invoke_id)[0]["ErrorCode"] == "ClientNotResponse"
    agents.end(host, command)
    assert agents.statuses(invoke_id) == ("Success", ["Success"])


@pytest.mark.parametrize(
    ("endings", "overall", "legacy"),
    [
        pytest.param([0, 0], "Success", "Finished", id="all succeed"),
        pytest.param([0, 1], "PartialFailed", "PartialFailed", id="one fails"),
        pytest.param([1, 1], "Failed", "Failed", id="all fail"),
    ],
)
def test_each_instance_has_its_record(
    env: Environment, agents: Agents, endings: list[int], overall: str, legacy: str
) -> None:
    """In the order in which the call named them."""
    hosts = [env.host() for _ in endings]
    invoke_id = agents.run(*hosts)
    for host, code in zip(hosts, endings, strict=True):
        assert agents.invocation(invoke_id)["InvocationStatus"] == "Pending"
        agents.carry_out(host, exit_code=code)
    found = agents.invocation(invoke_id)
    assert (found["InvocationStatus"], found["InvokeStatus"]) == (overall, legacy)
    assert [i["InstanceId"] for i in found["InvokeInstances"]["InvokeInstance"]] == hosts


def test_an_instance_named_twice_runs_once(env: Environment, agents: Agents) -> None:
    """It has one record."""
    host = env.host()
    invoke_id = agents.run(host, **{"InstanceId.2": host})
    agents.carry_out(host)
    assert agents.statuses(invoke_id) == ("Success", ["Success"])
    agents.run_worker()
    assert agents.handed_out(host) == []


# --- Instances that cannot ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "code"), [({"stopped": True}, "InstanceNotRunning"), ({"silent": True}, "ClientNotRunning")]
)
def test_an_unreachable_instance_is_aborted_and_others_run(
    env: Environment, agents: Agents, how: dict[str, bool], code: str
) -> None:
    """Nothing is left for it to find later."""
    fit, unfit = env.host(), env.host(**how)
    invoke_id = agents.run(unfit, fit)
    agents.carry_out(fit)
    assert agents.statuses(invoke_id) == ("PartialFailed", ["Aborted", "Success"])
    assert {r["InstanceId"]: r["ErrorCode"] for r in agents.results(invoke_id)} == {unfit: code, fit: ""}
    assert agents.handed_out(unfit) == []


def test_a_command_that_no_agent_takes_within_a_minute_is_withdrawn(env: Environment, agents: Agents) -> None:
    """It never runs."""
    host = env.host()
    invoke_id = agents.run(host)
    agents.run_worker()
    agents.later(seconds=59)
    assert agents.statuses(invoke_id) == ("Pending", ["Pending"])
    agents.later(seconds=1)
    (result,) = agents.results(invoke_id)
    assert (result["InvocationStatus"], result["ErrorCode"]) == ("Aborted", "DeliveryTimeout")
    assert agents.handed_out(host) == []


def test_a_command_that_an_agent_took_and_never_began_is_given_up(env: Environment, agents: Agents) -> None:
    """It is stopped, and a late report of its real end counts."""
    host = env.host()
    invoke_id = agents.run(host)
    agents.later(seconds=55)
    with env.services.database.transaction() as tx:
        (command,) = commands.claim(tx, host, now=env.now, lease=timedelta(seconds=10)).run
    agents.later(seconds=61)
    assert agents.statuses(invoke_id) == ("Pending", ["Pending"])
    with env.services.database.transaction() as tx:
        commands.sweep(tx, now=env.now, limit=10)
    agents.later(host, seconds=11)
    assert agents.results(invoke_id)[0]["ErrorCode"] == "ClientNotResponse"
    assert agents.handed_out(host) == []
    agents.end(host, command, "stopped")
    assert agents.statuses(invoke_id) == ("Stopped", ["Terminated"])


@pytest.mark.parametrize("split", [False, True])
def test_an_order_for_a_client_cannot_be_sent_as_a_command(env: Environment, agents: Agents, split: bool) -> None:
    """Not even in two pieces: hosts accept orders in every mode, so only tasks may send them."""
    host = env.host()
    text = Order("u-1", "uninstall", "courier").as_command()
    fields: dict[str, Any] = {}
    if split:
        fields = {"EnableParameter": "true", "Parameters": {"rest": text[3:]}}
        text = text[:3] + "{{rest}}"
    invoke_id = agents.run(host, content=text, **fields)
    agents.run_worker()
    (result,) = agents.results(invoke_id)
    assert (result["InvocationStatus"], result["ErrorCode"]) == ("Invalid", "CommandNotApplicable")
    assert agents.handed_out(host) == []


def test_a_schedule_ends_when_its_instance_is_deregistered(env: Environment, agents: Agents) -> None:
    """Nothing more is tried on it."""
    host = env.host()
    invoke_id = agents.run(host, Frequency="rate(5m)")
    agents.ask("DeregisterManagedInstance", InstanceId=host)
    agents.later(seconds=300)
    (result,) = agents.results(invoke_id)
    assert (result["InvocationStatus"], result["ErrorCode"]) == ("Aborted", "InstanceReleased")
    assert agents.statuses(invoke_id)[0] == "Failed"
    agents.later(seconds=900)
    assert agents.results(invoke_id)[0]["Repeats"] == 1


def test_a_dry_run_sends_nothing(env: Environment, agents: Agents) -> None:
    """It shows which instances are reachable."""
    fit, unfit = env.host(), env.host(silent=True)
    invoke_id = agents.run(fit, unfit, RepeatMode="DryRun")
    agents.run_worker()
    assert agents.statuses(invoke_id) == ("PartialFailed", ["Success", "Aborted"])
    assert agents.handed_out(fit) == []


# --- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        pytest.param({"Type": "RunPython"}, 404, "InvalidCmdType.NotFound", id="no such type"),
        pytest.param({"Type": ""}, 400, "MissingParameter", id="no type"),
        pytest.param({"CommandContent": ""}, 400, "MissingParameter", id="no content"),
        pytest.param({"CommandContent": "x" * 18433}, 403, "CmdContent.ExceedLimit", id="too long a content"),
        pytest.param(
            {"CommandContent": "x" * 24577, "ContentEncoding": "Base64"},
            403, "CmdContent.ExceedLimit", id="too long a content in base64",
        ),
        pytest.param(
            {"CommandContent": "???", "ContentEncoding": "BASE64"}, 400, "CmdContent.DecodeError", id="no base64"
        ),
        pytest.param(
            {"CommandContent": "//79", "ContentEncoding": "base64"}, 400, "CmdContent.DecodeError", id="no text"
        ),
        pytest.param({"Name": "x" * 129}, 403, "CmdName.ExceedLimit", id="too long a name"),
        pytest.param({"Description": "x" * 513}, 403, "CmdDesc.ExceedLimit", id="too long a description"),
        pytest.param({"Timeout": "86401"}, 403, "InvalidTimeout.ExceedLimit", id="too long a time"),
        pytest.param({"WorkingDir": "x" * 201}, 400, "InvalidParameter.WorkingDir", id="too long a folder"),
        pytest.param({"Username": "x" * 256}, 403, "Username.ExceedLimit", id="too long a user"),
        pytest.param({"RepeatMode": "Often"}, 404, "InvalidRepeatMode.NotFound", id="no such mode"),
        pytest.param({"RepeatMode": "Period"}, 400, "MissingParam.Frequency", id="a period without frequency"),
        pytest.param({"Frequency": "rate(1s)"}, 400, "InvalidParam.Frequency", id="too often"),
        pytest.param({"Frequency": "at(2020-01-01 00:00:00)"}, 400, "InvalidParam.Frequency", id="long ago"),
        pytest.param({"Frequency": "* * * * *"}, 400, "InvalidParam.Frequency", id="no cron expression"),
        pytest.param({"TerminationMode": "Kill"}, 404, "InvalidTerminationMode.NotFound", id="no such way to end"),
        pytest.param({"ContainerName": "web"}, 400, "InvalidContainerId.Malformed", id="a container"),
        pytest.param({"OssOutputDelivery": "oss://b"}, 400, "InvalidParameter.OssOutputDelivery", id="to OSS"),
        pytest.param({"Launcher": "python3"}, 400, "InvalidParameter.Launcher", id="a launcher"),
        pytest.param({"WindowsPasswordName": "p"}, 403, "ParameterStore.NotSupported", id="a kept password"),
        pytest.param({"Parameters": '{"a":"b"}'}, 400, "Parameter.Disabled", id="parameters for none"),
        pytest.param({"Parameters": "[]"}, 400, "InvalidParameter.Parameters", id="parameters in a list"),
        pytest.param({"ClientToken": "x" * 65}, 400, "InvalidClientToken.Malformed", id="too long a token"),
        pytest.param({"ClientToken": "tök"}, 400, "InvalidClientToken.Malformed", id="a token that is not ASCII"),
        pytest.param({"Tag.1.Key": "acs:x"}, 400, "InvalidTagKey.Malformed", id="a forbidden tag"),
        pytest.param({"Tag.1.Key": "a", "Tag.2.Key": "a"}, 400, "Duplicate.TagKey", id="a tag twice"),
        pytest.param({"ResourceTag.1.Key": "a"}, 400, "InvalidResourceTag.ConflictWithInstanceIds", id="both ways"),
        pytest.param({"InstanceId.2": "i-none"}, 404, "InvalidInstance.NotFound", id="one that is not there"),
        pytest.param({"Type": "RunBatScript"}, 400, "InvalidInstance.NotMatch", id="a batch file for Linux"),
        pytest.param({"RegionId": "us-east-1"}, 404, "InvalidRegionId.NotFound", id="another region"),
    ],
)  # fmt: skip
def test_bad_calls_of_run_command_are_refused(
    env: Environment, agents: Agents, fields: dict[str, str], status: int, code: str
) -> None:
    """With the code of the table, and nothing runs."""
    host = env.host()
    found, answer = env.ask(ECS, "RunCommand", **({"RegionId": REGION, "InstanceId.1": host} | SHELL | fields))
    assert (found, answer["Code"]) == (status, code)
    agents.run_worker()
    assert agents.handed_out(host) == []
    assert agents.ask("DescribeInvocations")["TotalCount"] == 0


def test_no_instance_and_too_many_are_refused(env: Environment, agents: Agents) -> None:
    """The limit is a hundred."""
    assert agents.refused("RunCommand", **SHELL) == (400, "MissingParam.InstanceId")
    many = {f"InstanceId.{n}": f"mi-{n}" for n in range(101)}
    assert agents.refused("RunCommand", **SHELL, **many) == (403, "InstanceIds.ExceedLimit")


# --- Parameters -----------------------------------------------------------------------------------------------------


def test_parameters_are_filled_in(env: Environment, agents: Agents) -> None:
    """Built-in ones by the instance; braces in a value stay as they are."""
    host = env.host(name="shop")
    content = "echo {{ name }} {{other}} {{ACS::InstanceId}} {{ACS::InstanceName}} {{ACS::InvokeId}} {{ACS::AccountId}}"
    given = json.dumps({"name": "{{other}}", "other": 5})
    invoke_id = agents.run(host, content=content, EnableParameter="true", Parameters=given)
    account = env.root.account_id
    assert agents.carry_out(host).content == f"echo {{{{other}}}} 5 {host} shop {invoke_id} {account}"
    assert json.loads(agents.invocation(invoke_id)["Parameters"]) == {"name": "{{other}}", "other": "5"}


def test_braces_stay_unless_parameters_are_enabled(env: Environment, agents: Agents) -> None:
    """A script may contain them."""
    host = env.host()
    agents.run(host, content="echo {{name}} {{}}")
    assert agents.carry_out(host).content == "echo {{name}} {{}}"


@pytest.mark.parametrize(
    ("content", "given", "status", "code"),
    [
        pytest.param("{{a}}", {}, 400, "Parameter.MissingValue", id="one is missing"),
        pytest.param("{{a}}", {"a": "1", "b": "2"}, 403, "Parameter.NotMatched", id="one that it has not"),
        pytest.param("{{a}}", {"a": None}, 400, "InvalidParameter.Parameters", id="no text"),
        pytest.param("{{a}}", {"a": ["1"]}, 400, "InvalidParameter.Parameters", id="a list"),
        pytest.param("{{}}", {}, 400, "CmdParam.EmptyKey", id="a name that is empty"),
        pytest.param("{{a b}}", {}, 400, "CmdParam.InvalidParamName", id="a name that is none"),
        pytest.param("{{ACS::Secret}}", {}, 400, "CmdParam.InvalidParamName", id="built-in, and not there"),
        pytest.param("{{" + "a" * 65 + "}}", {}, 403, "CmdParamName.ExceedLimit", id="too long a name"),
        pytest.param("".join(f"{{{{a{n}}}}}" for n in range(21)), {}, 403, "CmdParamCount.ExceedLimit", id="too many"),
        pytest.param("{{a}}", {f"a{n}": "" for n in range(11)}, 403, "ParameterCount.ExceedLimit", id="given too many"),
        pytest.param("{{a}}", {"a": "x" * 18433}, 403, "CmdContent.ExceedLimit", id="too long once filled in"),
        pytest.param("{{a}}" * 10, {"a": "x" * 2000}, 403, "CmdContent.ExceedLimit", id="too long in ten places"),
    ],
)
def test_wrong_parameters_are_refused(
    env: Environment, agents: Agents, content: str, given: dict[str, Any], status: int, code: str
) -> None:
    """At the call."""
    fields = {"Type": "RunShellScript", "CommandContent": content, "EnableParameter": "true"}
    found = agents.refused("RunCommand", **fields, Parameters=given, **{"InstanceId.1": env.host()})
    assert found == (status, code)


# --- Twice ----------------------------------------------------------------------------------------------------------


def test_calls_with_the_same_token_are_one_call(env: Environment, agents: Agents) -> None:
    """For a day; each account has its own tokens."""
    host = env.host()
    first = agents.ask("RunCommand", **SHELL, ClientToken="t", **{"InstanceId.1": host})
    assert agents.ask("RunCommand", **SHELL, ClientToken="t", **{"InstanceId.1": host}) == first
    fields = SHELL | {"CommandContent": "false"}
    refused = agents.refused("RunCommand", **fields, ClientToken="t", **{"InstanceId.1": host})
    assert refused == (403, "IdempotentParameterMismatch")
    agents.run_worker()
    assert len(agents.handed_out(host)) == 1
    agents.later(host, hours=24)
    assert agents.ask("RunCommand", **SHELL, ClientToken="t", **{"InstanceId.1": host}) != first


# --- Stopping -------------------------------------------------------------------------------------------------------


def test_a_running_command_is_stopped_on_its_host(env: Environment, agents: Agents) -> None:
    """It is Stopping until the host reports; the output so far stays."""
    host = env.host()
    invoke_id = agents.run(host)
    command = agents.begin(host, b"so far")
    agents.ask("StopInvocation", InvokeId=invoke_id)
    assert agents.statuses(invoke_id) == ("Stopping", ["Stopping"])
    assert agents.stop_requests(host) == [command.task_id]
    agents.end(host, command, "stopped")
    found = agents.invocation(invoke_id)
    (on_host,) = found["InvokeInstances"]["InvokeInstance"]
    assert (found["InvocationStatus"], found["InvokeStatus"]) == ("Stopped", "Stopped")
    assert (on_host["InvocationStatus"], on_host["Output"]) == ("Terminated", "so far")
    assert on_host["StopTime"] == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("worker_ran", [False, True])
def test_a_waiting_command_is_cancelled(env: Environment, agents: Agents, worker_ran: bool) -> None:
    """It never runs, whether the worker has sent it or not."""
    host = env.host()
    invoke_id = agents.run(host)
    if worker_ran:
        agents.run_worker()
    agents.ask("StopInvocation", InvokeId=invoke_id)
    agents.run_worker()
    assert agents.statuses(invoke_id) == ("Stopped", ["Cancelled"])
    assert agents.handed_out(host) == []


def test_one_instance_of_several_is_stopped(env: Environment, agents: Agents) -> None:
    """The others go on; a finished one stays as it is."""
    one, two, three = env.host(), env.host(), env.host()
    invoke_id = agents.run(one, two, three)
    agents.carry_out(one)
    agents.ask("StopInvocation", InvokeId=invoke_id, **{"InstanceId.1": two, "InstanceId.2": one})
    agents.carry_out(three)
    assert agents.statuses(invoke_id) == ("Success", ["Success", "Cancelled", "Success"])


def test_stopping_something_unknown_is_refused(env: Environment, agents: Agents) -> None:
    """An invocation, or an instance of it."""
    invoke_id = agents.run(env.host())
    assert agents.refused("StopInvocation", InvokeId="t-none") == (404, "InvalidInvokeId.NotFound")
    fields = {"InvokeId": invoke_id, "InstanceId.1": "i-none"}
    assert agents.refused("StopInvocation", **fields) == (404, "InvalidInstanceId.NotFound")
    many = {f"InstanceId.{n}": f"i-{n}" for n in range(51)}
    assert agents.refused("StopInvocation", InvokeId=invoke_id, **many) == (403, "InstanceIds.ExceedLimit")


# --- Again and again ------------------------------------------------------------------------------------------------


def test_a_rate_counts_from_start_to_start(env: Environment, agents: Agents) -> None:
    """The first run is after one interval; a run that goes on is not begun again."""
    host = env.host()
    invoke_id = agents.run(host, Frequency="rate(5m)")
    agents.run_worker()
    assert agents.statuses(invoke_id) == ("Scheduled", ["Scheduled"])
    assert agents.handed_out(host) == []
    agents.later(host, seconds=300)
    agents.carry_out(host, output=b"1")
    assert agents.statuses(invoke_id) == ("Scheduled", ["Scheduled"])
    agents.later(host, seconds=300)
    command = agents.begin(host)
    agents.later(host, seconds=300)
    assert agents.handed_out(host) == []  # the second one still runs
    agents.end(host, command, output=b"2", exit_code=1)
    agents.later(host, seconds=300)
    agents.carry_out(host, output=b"3")
    history = agents.results(invoke_id, IncludeHistory="true")
    assert [(r["Repeats"], r["InvocationStatus"], r["Output"]) for r in history] == [
        (3, "Success", "3"), (2, "Failed", "2"), (1, "Success", "1"),
    ]  # fmt: skip
    found = agents.invocation(invoke_id)
    assert (found["InvokeStatus"], found["Timed"], found["RepeatMode"]) == ("Running", True, "Period")
    agents.ask("StopInvocation", InvokeId=invoke_id)
    agents.later(host, seconds=900)
    assert agents.statuses(invoke_id) == ("Stopped", ["Terminated"])
    assert agents.handed_out(host) == []


def test_a_schedule_with_one_time_runs_once(env: Environment, agents: Agents) -> None:
    """Then its status is that of its run."""
    host = env.host()
    invoke_id = agents.run(host, Frequency="at(2026-01-02 11:05:00 Asia/Shanghai)", RepeatMode="Period")
    agents.later(host, seconds=54)
    assert agents.handed_out(host) == []
    agents.later(host, seconds=1)
    agents.carry_out(host)
    assert agents.statuses(invoke_id) == ("Success", ["Success"])


def test_a_schedule_goes_on_after_its_host_was_away(env: Environment, agents: Agents) -> None:
    """Only the run at that time is aborted. Runs that were missed are not repeated."""
    host = env.host()
    invoke_id = agents.run(host, Frequency="0 0/10 * * * ?")
    agents.later(minutes=6)
    assert agents.results(invoke_id)[0]["ErrorCode"] == "ClientNotRunning"
    assert agents.statuses(invoke_id) == ("Scheduled", ["Scheduled"])
    agents.later(host, minutes=35)
    agents.carry_out(host)
    assert agents.invocation(invoke_id)["InvokeInstances"]["InvokeInstance"][0]["Repeats"] == 2
    assert agents.handed_out(host) == []


def boot(agents: Agents, host: str) -> None:
    with agents.env.services.database.transaction() as tx:
        fleet.note_boot(tx, host, now=agents.env.now)
    agents.run_worker()


@pytest.mark.parametrize(("mode", "after"), [("NextRebootOnly", "Success"), ("EveryReboot", "Scheduled")])
def test_a_command_runs_at_the_next_boot_or_at_each(env: Environment, agents: Agents, mode: str, after: str) -> None:
    """Two reports of one boot count once."""
    host, other = env.host(), env.host()
    invoke_id = agents.run(host, RepeatMode=mode)
    agents.later(host, other, seconds=60)
    boot(agents, other)
    assert agents.handed_out(host) == []
    boot(agents, host)
    agents.carry_out(host)
    assert agents.statuses(invoke_id) == (after, [after])
    boot(agents, host)
    assert agents.handed_out(host) == []
    agents.later(host, seconds=90)
    boot(agents, host)
    assert len(agents.handed_out(host)) == (mode == "EveryReboot")


# --- Looking --------------------------------------------------------------------------------------------------------


def test_invocations_can_be_filtered(env: Environment, agents: Agents) -> None:
    """By everything that the API filters by, newest first."""
    one, two = env.host(), env.host()
    first = agents.run(one, Name="a", **{"Tag.1.Key": "team", "Tag.1.Value": "shop"})
    agents.carry_out(one)
    env.now += timedelta(seconds=1)
    second = agents.run(one, two, Name="b", Frequency="rate(1h)")

    def found(**fields: Any) -> list[str]:
        return [i["InvokeId"] for i in agents.ask("DescribeInvocations", **fields)["Invocations"]["Invocation"]]

    assert found() == [second, first]
    assert found(InvokeId=first) == found(CommandName="a") == found(InvokeStatus="Finished") == [first]
    assert found(InvokeStatus="Success") == found(RepeatMode="Once") == found(Timed="false") == [first]
    assert found(InstanceId=two) == found(InvokeStatus="Scheduled") == found(Timed="true") == [second]
    assert found(InstanceId=two, InvokeStatus="Finished", CommandName="a") == [second]  # no effect beside it
    assert found(InvokeStatus="Running") == [second]
    assert found(**{"Tag.1.Key": "team"}) == found(**{"Tag.1.Key": "team", "Tag.1.Value": "shop"}) == [first]
    assert found(**{"Tag.1.Key": "team", "Tag.1.Value": "x"}) == found(CommandType="RunBatScript") == []
    assert found(PageSize="1", PageNumber="2") == [first]
    assert found(CommandId=agents.invocation(first)["CommandId"]) == [first]


def test_results_can_be_filtered(env: Environment, agents: Agents) -> None:
    """The page fields are inside Invocation."""
    one, two = env.host(), env.host()
    invoke_id = agents.run(one, two)
    agents.carry_out(one)
    answer = agents.ask("DescribeInvocationResults", PageSize="1")["Invocation"]
    assert (answer["TotalCount"], answer["PageSize"], answer["PageNumber"]) == (2, 1, 1)
    assert [r["InstanceId"] for r in agents.results(invoke_id, InstanceId=two)] == [two]
    assert [r["InstanceId"] for r in agents.results(invoke_id, InvokeRecordStatus="Finished")] == [one]
    assert [r["InstanceId"] for r in agents.results(invoke_id, InvokeRecordStatus="Running")] == [two]
    assert agents.refused("DescribeInvocationResults", IncludeHistory="true") == (400, "InvalidParameter")


def test_output_is_shown_only_if_asked_for(env: Environment, agents: Agents) -> None:
    """And only for one invocation or instance."""
    host = env.host()
    invoke_id = agents.run(host)
    agents.carry_out(host, output=b"secret")
    assert "secret" not in str(agents.invocation(invoke_id, IncludeOutput="false"))
    assert "secret" in str(agents.invocation(invoke_id))
    assert agents.refused("DescribeInvocations", IncludeOutput="true") == (400, "InvalidParameter")


def test_lists_of_instances_show_their_usage(env: Environment, agents: Agents) -> None:
    """The last invocation and the number of them."""
    host = env.host()
    agents.run(host)
    agents.carry_out(host)
    env.now += timedelta(seconds=5)
    agents.run(host)
    answer = agents.ask("DescribeCloudAssistantStatus")["InstanceCloudAssistantStatusSet"]
    (agent,) = answer["InstanceCloudAssistantStatus"]
    assert (agent["LastInvokedTime"], agent["InvocationCount"], agent["ActiveTaskCount"]) == (
        "2026-01-02T03:04:10Z", 2, 1,
    )  # fmt: skip
    (instance,) = agents.ask("DescribeManagedInstances")["Instances"]
    assert (instance["LastInvokedTime"], instance["InvocationCount"]) == ("2026-01-02T03:04:10Z", 2)


# --- Whose ----------------------------------------------------------------------------------------------------------


def test_instances_and_invocations_of_other_accounts_do_not_exist(env: Environment, agents: Agents) -> None:
    """Nothing of theirs runs."""
    theirs, mine = env.host(account=OTHER), env.host()
    for host in (theirs, "i-none"):
        answer = env.ask(ECS, "RunCommand", RegionId=REGION, **SHELL, **{"InstanceId.1": mine, "InstanceId.2": host})
        assert (answer[0], answer[1]["Code"]) == (404, "InvalidInstance.NotFound")
    agents.run_worker()
    assert agents.handed_out(mine) == agents.handed_out(theirs) == []
    invoke_id = agents.run(mine)
    assert agents.ask("DescribeInvocations", env.other_account, InvokeId=invoke_id)["TotalCount"] == 0
    answer = agents.ask("DescribeInvocationResults", env.other_account, InvokeId=invoke_id)
    assert answer["Invocation"]["TotalCount"] == 0
    never = env.ask(ECS, "StopInvocation", env.other_account, RegionId=REGION, InvokeId="t-none")
    assert env.ask(ECS, "StopInvocation", env.other_account, RegionId=REGION, InvokeId=invoke_id) == never
    assert agents.statuses(invoke_id) == ("Pending", ["Pending"])


def policy(env: Environment, name: str, *statements: dict[str, Any]) -> Any:
    document = json.dumps({"Version": "1", "Statement": list(statements)})
    status, answer = env.ask("2015-05-01", "CreatePolicy", PolicyName=name, PolicyDocument=document)
    assert status == 200, answer
    user = env.user(name)
    fields = {"PolicyType": "Custom", "PolicyName": name, "UserName": name}
    assert env.ask("2015-05-01", "AttachPolicyToUser", **fields)[0] == 200
    return user


def test_a_policy_can_restrict_the_instances(env: Environment, agents: Agents) -> None:
    """One by one."""
    mine, other = env.host(), env.host()
    arn = f"acs:ecs:*:*:instance/{mine}"
    user = policy(env, "one", {"Effect": "Allow", "Action": "ecs:*", "Resource": [arn, "acs:ecs:*:*:command/*"]})
    assert agents.ask("RunCommand", user, **SHELL, **{"InstanceId.1": mine})["InvokeId"]
    refused = agents.refused("RunCommand", user, **SHELL, **{"InstanceId.1": mine, "InstanceId.2": other})
    assert refused == (403, "Forbidden.RAM")


def test_a_policy_can_restrict_the_user_name(env: Environment, agents: Agents) -> None:
    """By ecs:CommandRunAs; without a user name it is root."""
    host = env.host()
    condition = {"StringEquals": {"ecs:CommandRunAs": "web"}}
    user = policy(env, "web", {"Effect": "Allow", "Action": "ecs:*", "Resource": "*", "Condition": condition})
    assert agents.ask("RunCommand", user, **SHELL, Username="web", **{"InstanceId.1": host})["InvokeId"]
    assert agents.refused("RunCommand", user, **SHELL, **{"InstanceId.1": host}) == (403, "Forbidden.RAM")


@pytest.mark.parametrize("mode", ["Process", "ProcessTree"])
def test_what_a_stop_ends_reaches_the_agent(env: Environment, agents: Agents, mode: str) -> None:
    """The caller's choice is handed out with the command."""
    host = env.host()
    agents.run(host, TerminationMode=mode)
    agents.run_worker()
    (command,) = agents.handed_out(host)
    assert command.termination == mode
