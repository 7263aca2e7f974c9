"""Commands of callers on real hosts, with the official SDK: what runs, what it returns, and where nothing may run."""

import base64
import gc
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_ecs20140526 import models as ecs
from alibabacloud_ecs20140526.client import Client as Ecs
from alibabacloud_tea_openapi.models import Config
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.http import protocol_type
from aliyunsdkecs.request.v20140526.DescribeInvocationResultsRequest import DescribeInvocationResultsRequest
from aliyunsdkecs.request.v20140526.RunCommandRequest import RunCommandRequest

from journeys.installation import LONG, Installation, wait_for
from sdk_timeouts import SDK_SECONDS, SDK_TIMEOUTS

REGION = "cn-hangzhou"
SECONDS = LONG

pytestmark = [
    pytest.mark.slow,
    # Both SDKs leave their TLS connections to the collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running server, a host that allows shell commands and one that does not."""
    made = Installation(tmp_path_factory.mktemp("installation"))
    try:
        made.start()
        made.enrol(1, allow_shell=True)
        made.enrol(1)
        yield made
    finally:
        made.close()


@pytest.fixture
def sdk(services: Installation) -> Iterator[Ecs]:
    """The official client; only endpoint and authority differ from a program that calls the cloud."""
    admin = services.admin()
    yield Ecs(
        Config(
            access_key_id=admin["access_key_id"],
            access_key_secret=admin["access_key_secret"],
            endpoint=services.https,
            region_id=REGION,
            protocol="HTTPS",
            ca=admin["ca_file"],
            **SDK_TIMEOUTS,
        )
    )
    gc.collect()


def run(sdk: Ecs, hosts: list[str], content: str, **parameters: Any) -> str:
    asked = ecs.RunCommandRequest(
        region_id=REGION, instance_id=hosts, type="RunShellScript", command_content=content, **parameters
    )
    return str(sdk.run_command(asked).body.invoke_id)


def results(sdk: Ecs, invoke_id: str) -> list[Any]:
    asked = ecs.DescribeInvocationResultsRequest(region_id=REGION, invoke_id=invoke_id)
    body = sdk.describe_invocation_results(asked).body.invocation
    assert body.total_count == len(body.invocation_results.invocation_result)
    return list(body.invocation_results.invocation_result)


def finished(sdk: Ecs, invoke_id: str) -> list[Any]:
    """Every instance's result, once none is open."""

    def poll() -> list[Any] | None:
        found = results(sdk, invoke_id)
        return found if all(r.invoke_record_status in ("Finished", "Failed", "Stopped") for r in found) else None

    found: list[Any] = wait_for(poll, SECONDS)
    return found


def text(result: Any) -> str:
    return base64.b64decode(result.output).decode()


def test_a_shell_command_really_runs(services: Installation, sdk: Ecs, tmp_path: Path) -> None:
    """With its parameters filled in, in its folder; its output and exit code come back."""
    host = services.hosts[0].instance_id
    content = "echo {{word}} from {{ACS::InstanceId}}; pwd; echo oops >&2; exit 3"
    invoke_id = run(
        sdk,
        [host],
        content,
        working_dir=str(tmp_path),
        enable_parameter=True,
        parameters={"word": "hello"},
        timeout=600,
    )
    (result,) = finished(sdk, invoke_id)
    assert (result.invocation_status, result.exit_code, result.error_code) == ("Failed", 3, "ExitCodeNonzero")
    assert text(result) == f"hello from {host}\n{tmp_path}\noops\n"
    assert (result.dropped, result.repeats) == (0, 1)
    assert result.start_time <= result.finished_time


def test_a_host_that_allows_no_shell_runs_none(services: Installation, sdk: Ecs, tmp_path: Path) -> None:
    """Its result says so; the other host runs the command."""
    one, two = (host.instance_id for host in services.hosts)
    mark = tmp_path / "mark"
    invoke_id = run(sdk, [one, two], f"echo ran >> {mark}")
    first, second = finished(sdk, invoke_id)
    assert (first.instance_id, first.invocation_status) == (one, "Success")
    assert (second.instance_id, second.invocation_status, second.error_code) == (
        two, "Invalid", "CommandNotApplicable",
    )  # fmt: skip
    assert mark.read_text() == "ran\n"
    asked = ecs.DescribeInvocationsRequest(region_id=REGION, invoke_id=invoke_id, include_output=True)
    (invocation,) = sdk.describe_invocations(asked).body.invocations.invocation
    assert (invocation.invocation_status, invocation.invoke_status) == ("PartialFailed", "PartialFailed")


def test_long_output_keeps_its_head_and_its_tail(services: Installation, sdk: Ecs) -> None:
    """24 KB of it; Dropped is the number of bytes that are not there."""
    script = "i=0; while [ $i -lt 10000 ]; do echo line $i; i=$((i+1)); done"
    (result,) = finished(sdk, run(sdk, [services.hosts[0].instance_id], script, timeout=600))
    whole = "".join(f"line {number}\n" for number in range(10_000))
    output = text(result)
    assert result.invocation_status == "Success"
    assert len(output) <= 24 * 1024
    assert len(output) + result.dropped == len(whole)
    assert output.endswith("line 9999\n")


def test_a_command_that_takes_too_long_is_stopped(services: Installation, sdk: Ecs, tmp_path: Path) -> None:
    """By its timeout, or by StopInvocation; and no part of it goes on."""
    host, begun, mark = services.hosts[0].instance_id, tmp_path / "begun", tmp_path / "mark"
    invoke_id = run(sdk, [host], f"echo begun; touch {begun}; sleep 3000; touch {mark}", timeout=3600)
    wait_for(lambda: begun.exists() and results(sdk, invoke_id)[0].invocation_status == "Running", SECONDS)
    sdk.stop_invocation(ecs.StopInvocationRequest(region_id=REGION, invoke_id=invoke_id))
    (result,) = finished(sdk, invoke_id)
    assert (result.invocation_status, text(result)) == ("Terminated", "begun\n")
    (late,) = finished(sdk, run(sdk, [host], f"sleep 3000; touch {mark}", timeout=10))
    assert (late.invocation_status, late.error_code) == ("Timeout", "ExecutionTimeout")
    assert not mark.exists()


def test_a_saved_command_runs_by_its_id(services: Installation, sdk: Ecs) -> None:
    """It is created, found, invoked, changed and deleted."""
    host = services.hosts[0].instance_id
    made = sdk.create_command(
        ecs.CreateCommandRequest(
            region_id=REGION,
            name="greet",
            type="RunShellScript",
            command_content=base64.b64encode(b"echo hello {{who}}").decode(),
            enable_parameter=True,
        )
    ).body.command_id
    (command,) = sdk.describe_commands(ecs.DescribeCommandsRequest(region_id=REGION)).body.commands.command
    assert (command.command_id, command.parameter_names.parameter_name) == (made, ["who"])
    asked = ecs.InvokeCommandRequest(region_id=REGION, command_id=made, instance_id=[host], parameters={"who": "you"})
    (result,) = finished(sdk, sdk.invoke_command(asked).body.invoke_id)
    assert (text(result), result.command_id) == ("hello you\n", made)
    sdk.modify_command(ecs.ModifyCommandRequest(region_id=REGION, command_id=made, name="other"))
    sdk.delete_command(ecs.DeleteCommandRequest(region_id=REGION, command_id=made))
    assert sdk.describe_commands(ecs.DescribeCommandsRequest(region_id=REGION)).body.total_count == 0


def test_a_file_arrives(services: Installation, sdk: Ecs, tmp_path: Path) -> None:
    """Complete, with its mode, in a new folder; and not over an existing file."""
    host, folder = services.hosts[0].instance_id, tmp_path / "new"

    def send(content: str) -> Any:
        asked = ecs.SendFileRequest(
            region_id=REGION,
            instance_id=[host],
            name="a.txt",
            target_dir=str(folder),
            content=content,
            file_mode="0600",
        )
        invoke_id = sdk.send_file(asked).body.invoke_id

        def poll() -> Any:
            described = ecs.DescribeSendFileResultsRequest(region_id=REGION, invoke_id=invoke_id)
            (found,) = sdk.describe_send_file_results(described).body.invocations.invocation
            return found if found.invocation_status in ("Success", "Failed") else None

        return wait_for(poll, SECONDS)

    content = "hello\n" * 3000
    assert send(content).invocation_status == "Success"
    file = folder / "a.txt"
    assert (file.read_text(), file.stat().st_mode & 0o777) == (content, 0o600)
    (on_host,) = send("other").invoke_instances.invoke_instance
    assert (on_host.invocation_status, on_host.error_code) == ("Failed", "FileAlreadyExists")
    assert file.read_text() == content


def test_a_schedule_runs_when_its_time_comes(services: Installation, sdk: Ecs) -> None:
    """Within a second or two of it, on a machine that does nothing else."""
    at = int(time.time()) + 15
    frequency = time.strftime("at(%Y-%m-%d %H:%M:%S)", time.gmtime(at))
    invoke_id = run(sdk, [services.hosts[0].instance_id], "date +%s", repeat_mode="Period", frequency=frequency)
    assert results(sdk, invoke_id)[0].invocation_status == "Scheduled"
    (result,) = finished(sdk, invoke_id)
    assert at <= int(text(result)) <= at + SECONDS


def test_tags_and_the_life_of_activations(services: Installation, sdk: Ecs) -> None:
    """As the SDK writes and reads them."""
    host = services.hosts[0].instance_id
    tag = ecs.TagResourcesRequestTag(key="team", value="shop")
    sdk.tag_resources(
        ecs.TagResourcesRequest(region_id=REGION, resource_type="managedinstance", resource_id=[host], tag=[tag])
    )
    listed = sdk.list_tag_resources(ecs.ListTagResourcesRequest(region_id=REGION, resource_type="managedinstance"))
    (found,) = listed.body.tag_resources.tag_resource
    assert (found.resource_id, found.tag_key, found.tag_value) == (host, "team", "shop")
    wanted = ecs.DescribeManagedInstancesRequestTag(key="team")
    (instance,) = sdk.describe_managed_instances(
        ecs.DescribeManagedInstancesRequest(region_id=REGION, tag=[wanted])
    ).body.instances
    assert [(each.tag_key, each.tag_value) for each in instance.tags] == [("team", "shop")]
    gone = ecs.UntagResourcesRequest(
        region_id=REGION, resource_type="managedinstance", resource_id=[host], tag_key=["team"]
    )
    sdk.untag_resources(gone)
    named = ecs.ModifyManagedInstanceRequest(region_id=REGION, instance_id=host, instance_name="shop")
    assert sdk.modify_managed_instance(named).body.instance.instance_name == "shop"
    (status, _) = sdk.describe_instance_status(
        ecs.DescribeInstanceStatusRequest(region_id=REGION)
    ).body.instance_statuses.instance_status
    assert (status.instance_id, status.status) == (host, "Running")
    made = sdk.create_activation(ecs.CreateActivationRequest(region_id=REGION)).body.activation_id
    disabled = sdk.disable_activation(ecs.DisableActivationRequest(region_id=REGION, activation_id=made))
    assert disabled.body.activation.disabled is True
    sdk.delete_activation(ecs.DeleteActivationRequest(region_id=REGION, activation_id=made))


def test_the_legacy_sdk_runs_commands_too(services: Installation) -> None:
    """Lists as `InstanceId.1`, answers as JSON."""
    admin = services.admin()
    key, secret = admin["access_key_id"], admin["access_key_secret"]
    client = AcsClient(key, secret, REGION, verify=admin["ca_file"], timeout=SDK_SECONDS)

    def ask(request: Any, **parameters: Any) -> dict[str, Any]:
        request.set_endpoint(services.https)
        request.set_protocol_type(protocol_type.HTTPS)
        for name, value in parameters.items():
            getattr(request, f"set_{name}")(value)
        found: dict[str, Any] = json.loads(client.do_action_with_exception(request))
        return found

    parameters = {
        "Type": "RunShellScript",
        "CommandContent": "echo hello",
        "InstanceIds": [services.hosts[0].instance_id],
    }
    invoke_id = ask(RunCommandRequest(), **parameters)["InvokeId"]

    def poll() -> Any:
        answer = ask(DescribeInvocationResultsRequest(), InvokeId=invoke_id)["Invocation"]
        (found,) = answer["InvocationResults"]["InvocationResult"]
        return found if found["InvokeRecordStatus"] == "Finished" else None

    assert base64.b64decode(wait_for(poll, SECONDS)["Output"]) == b"hello\n"
    gc.collect()
