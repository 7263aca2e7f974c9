"""SendFile: what is refused, what the script does on a host, and what DescribeSendFileResults shows."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from backfleet import assistant
from operations.ecs.agents import ECS, Agents, base64_of
from operations.environment import OTHER, REGION, Environment


def send(agents: Agents, *hosts: str, caller: Any = None, **fields: Any) -> str:
    where = {f"InstanceId.{number}": host for number, host in enumerate(hosts, 1)}
    fields = {"Name": "a.txt", "TargetDir": "/srv", "Content": "hello"} | where | fields
    return str(agents.ask("SendFile", caller, **fields)["InvokeId"])


def sent(agents: Agents, caller: Any = None, **fields: Any) -> list[dict[str, Any]]:
    return list(agents.ask("DescribeSendFileResults", caller, **fields)["Invocations"]["Invocation"])


def test_a_file_is_sent_and_shown_in_every_field(env: Environment, agents: Agents) -> None:
    """Overwrite is a text. The file is not among the commands."""
    host = env.host()
    fields = {"FileOwner": "web", "FileMode": "0600", "Overwrite": "true", "Description": "d", "Tag.1.Key": "k"}
    invoke_id = send(agents, host, **fields)
    assert invoke_id.startswith("f-")
    command = agents.begin(host)
    agents.end(host, command)
    (found,) = sent(agents)
    (on_host,) = found.pop("InvokeInstances")["InvokeInstance"]
    assert found == {
        "InvokeId": invoke_id, "Name": "a.txt", "TargetDir": "/srv", "Content": "hello", "ContentType": "PlainText",
        "FileOwner": "web", "FileGroup": "", "FileMode": "0600", "Overwrite": "true", "Description": "d",
        "InvocationStatus": "Success", "CreationTime": "2026-01-02T03:04:05Z", "VmCount": 1,
        "Tags": {"Tag": [{"TagKey": "k", "TagValue": ""}]},
    }  # fmt: skip
    at = "2026-01-02T03:04:05Z"
    assert on_host == {
        "InstanceId": host, "InvocationStatus": "Success", "ErrorCode": "", "ErrorInfo": "",
        "CreationTime": at, "StartTime": at, "FinishTime": at, "UpdateTime": at,
    }  # fmt: skip
    assert agents.ask("DescribeInvocations")["TotalCount"] == 0


def test_sent_files_can_be_filtered(env: Environment, agents: Agents) -> None:
    """By name, instance and status; VmCount counts all instances."""
    one, two = env.host(), env.host()
    first, second = send(agents, one, two), send(agents, two, Name="b.txt")
    agents.run_worker()
    for command in agents.handed_out(one):
        agents.end(one, command)

    def found(**fields: Any) -> set[str]:
        return {each["InvokeId"] for each in sent(agents, **fields)}

    assert found() == found(InstanceId=two) == {first, second}
    assert found(Name="b.txt") == found(InvokeId=second) == {second}
    assert found(InstanceId=one) == {first}
    assert found(InvocationStatus="Finished") == set()
    (of_one,) = sent(agents, InstanceId=one)
    assert (of_one["VmCount"], len(of_one["InvokeInstances"]["InvokeInstance"])) == (2, 1)
    assert sent(agents, env.other_account) == []


@pytest.mark.parametrize(
    ("exit_code", "code"),
    [(101, "FilePathInvalid"), (102, "FileAlreadyExists"), (104, "FileAuthorityInvalid"), (2, "FileCreateFail")],
)
def test_a_failure_on_the_host_is_shown(env: Environment, agents: Agents, exit_code: int, code: str) -> None:
    """With the code of the table and the output of the host."""
    host = env.host()
    send(agents, host)
    agents.carry_out(host, exit_code=exit_code, output=b"disk full\n")
    (found,) = sent(agents)
    (on_host,) = found["InvokeInstances"]["InvokeInstance"]
    assert (found["InvocationStatus"], on_host["InvocationStatus"]) == ("Failed", "Failed")
    assert (on_host["ErrorCode"], on_host["ErrorInfo"]) == (code, f"{code}: disk full")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        pytest.param({"Name": "a/b"}, 403, "FileName.ExceedLimit", id="a path for a name"),
        pytest.param({"Name": ".."}, 403, "FileName.ExceedLimit", id="the folder above"),
        pytest.param({"Name": "x" * 256}, 403, "FileName.ExceedLimit", id="too long a name"),
        pytest.param({"TargetDir": "srv"}, 400, "FileTargetDir.Invalid", id="no absolute path"),
        pytest.param({"Content": "x" * 32769}, 403, "FileSize.ExceedLimit", id="too large"),
        pytest.param({"Content": "x" * 25000}, 403, "FileSize.ExceedLimit", id="too large in base64"),
        pytest.param({"Content": "?", "ContentType": "Base64"}, 400, "FileContent.DecodeError", id="no base64"),
        pytest.param({"ContentType": "Zip"}, 400, "FileContentType.Invalid", id="no such type"),
        pytest.param({"FileMode": "999"}, 400, "FileMode.Invalid", id="no mode"),
        pytest.param({"FileOwner": "a;b"}, 400, "InvalidParameter.FileOwner", id="no user's name"),
        pytest.param({"FileGroup": "-R"}, 400, "InvalidParameter.FileGroup", id="no group's name"),
        pytest.param({"Description": "x" * 513}, 403, "FileDesc.ExceedLimit", id="too long a description"),
        pytest.param({"InstanceId.1": ""}, 400, "MissingParam.InstanceId", id="nowhere"),
        pytest.param({"InstanceId.2": "i-none"}, 404, "InvalidInstance.NotFound", id="one that is not there"),
        pytest.param({f"InstanceId.{n}": "i" for n in range(60)}, 403, "InstanceIds.ExceedLimit", id="too many"),
    ],
)
def test_bad_files_are_refused(
    env: Environment, agents: Agents, fields: dict[str, str], status: int, code: str
) -> None:
    """Nothing is sent."""
    host = env.host()
    whole = {"Name": "a", "TargetDir": "/srv", "Content": "x", "InstanceId.1": host} | fields
    found, answer = env.ask(ECS, "SendFile", RegionId=REGION, **whole)
    assert (found, answer["Code"]) == (status, code)
    agents.run_worker()
    assert (agents.handed_out(host), sent(agents)) == ([], [])


def test_the_same_token_sends_one_file(env: Environment, agents: Agents) -> None:
    """And to no instance of another account."""
    host = env.host()
    assert send(agents, host, ClientToken="t") == send(agents, host, ClientToken="t")
    assert len(sent(agents)) == 1
    fields = {"Name": "a", "TargetDir": "/srv", "Content": "x", "InstanceId.1": env.host(account=OTHER)}
    assert agents.refused("SendFile", **fields) == (404, "InvalidInstance.NotFound")


# --- What the script does -------------------------------------------------------------------------------------------


def write(folder: Path, name: str = "it's $HOME.txt", content: str = "hello\n", **fields: Any) -> int:
    fields = {"mode": "0640", "owner": "", "group": "", "overwrite": False} | fields
    script = assistant.write_script(name, str(folder), base64_of(content), **fields)
    return subprocess.run(["sh", "-c", script], capture_output=True, check=False).returncode


def test_the_script_writes_the_complete_file(tmp_path: Path) -> None:
    """It makes folders, takes any name, and leaves nothing else behind."""
    folder = tmp_path / "new folder" / "deep'er"
    assert write(folder, content="x" * 20_000) == 0
    (file,) = folder.iterdir()
    assert (file.name, file.read_text(), file.stat().st_mode & 0o777) == ("it's $HOME.txt", "x" * 20_000, 0o640)


def test_an_existing_file_stays_unless_overwrite_is_set(tmp_path: Path) -> None:
    """The file system decides: of two scripts at once one is first."""
    assert write(tmp_path, "a") == 0
    assert write(tmp_path, "a", content="other") == 102
    assert (tmp_path / "a").read_text() == "hello\n"
    assert write(tmp_path, "a", content="other", overwrite=True) == 0
    assert (tmp_path / "a").read_text() == "other"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """The folder is a file, a folder has the name of the file, the owner is unknown."""
    (tmp_path / "file").write_text("")
    (tmp_path / "taken").mkdir()
    assert write(tmp_path / "file") == 101
    assert write(tmp_path, "taken", overwrite=True) == 103
    assert write(tmp_path, "a", owner="nobody-knows-them") == 104
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "taken"]
