"""The sample policies of the cloud's pages, replayed: each allows what its page says, and nothing beside it."""

import json
from typing import Any

import pytest

from backfleet import identity
from backfleet.operations.catalogue import ECS
from operations.environment import REGION, Environment

INSTANCES, COMMANDS = "acs:ecs:*:*:instance/*", "acs:ecs:*:*:command/*"
MINE, SAVED = "acs:ecs:*:*:instance/<mine>", "acs:ecs:*:*:command/<saved>"
BY_TAG = {"Condition": {"StringEquals": {"acs:ResourceTag/test": "tony"}}}
RUN = {"Type": "RunShellScript", "CommandContent": "echo"}


class Samples:
    """Two instances, one of them `mine` and tagged; two saved commands; runs of both kinds on either instance."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.ids = {"mine": env.host(), "other": env.host()}
        mine, other = self.ids["mine"], self.ids["other"]
        tag = {"ResourceType": "instance", "ResourceId.1": mine, "Tag.1.Key": "test", "Tag.1.Value": "tony"}
        self.ask("TagResources", **tag)
        for name in ("saved", "unused"):
            self.ids[name] = self.ask("CreateCommand", **RUN, Name=name, ContentEncoding="PlainText")["CommandId"]
        for name, instance in (("run", mine), ("other run", other)):
            self.ids[name] = self.ask("RunCommand", **RUN, **{"InstanceId.1": instance})["InvokeId"]
        saved = {"CommandId": self.ids["saved"], "InstanceId.1": mine}
        self.ids["saved run"] = self.ask("InvokeCommand", **saved)["InvokeId"]
        file = {"Name": "motd", "TargetDir": "/tmp/x", "Content": "hello", "InstanceId.1": mine}
        self.ids["file"] = self.ask("SendFile", **file)["InvokeId"]

    def filled(self, value: Any) -> Any:
        text = json.dumps(value)
        for name, found in self.ids.items():
            text = text.replace(f"<{name}>", found)
        return json.loads(text)

    def status(self, caller: identity.Caller | None, action: str, **fields: str) -> tuple[int, dict[str, Any]]:
        return self.env.ask(ECS.version, action, caller, RegionId=REGION, **self.filled(fields))

    def ask(self, action: str, **fields: str) -> dict[str, Any]:
        status, body = self.status(None, action, **fields)
        assert status == 200, body
        return body


@pytest.fixture
def samples(env: Environment) -> Samples:
    return Samples(env)


def on(*named: str, **more: str) -> dict[str, str]:
    return {**{f"InstanceId.{number}": name for number, name in enumerate(named, 1)}, **more}


def one(action: str | list[str], resource: str | list[str], **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


Asked = tuple[str, dict[str, str], int]
INVOKE = {"CommandId": "<saved>"}
SAMPLES: list[tuple[str, list[dict[str, Any]], list[Asked]]] = [
    ("run on any instance", [one("ecs:RunCommand", [INSTANCES])], [
        ("RunCommand", on("<mine>", "<other>", **RUN), 200),
        ("RunCommand", on("<mine>", **RUN, KeepCommand="false"), 200),
        ("RunCommand", on("<mine>", **RUN, KeepCommand="true"), 403),
        ("InvokeCommand", on("<mine>", **INVOKE), 403),
    ]),
    ("run and keep", [one("ecs:RunCommand", [INSTANCES, COMMANDS])], [
        ("RunCommand", on("<mine>", **RUN, KeepCommand="true"), 200),
    ]),
    ("run on one instance", [one("ecs:RunCommand", [MINE])], [
        ("RunCommand", on("<mine>", **RUN), 200),
        ("RunCommand", on("<mine>", "<other>", **RUN), 403),
        ("RunCommand", RUN, 403),
    ]),
    ("run by tag", [one("ecs:RunCommand", INSTANCES, **BY_TAG)], [
        ("RunCommand", on("<mine>", **RUN), 200),
        ("RunCommand", on("<other>", **RUN), 403),
        ("RunCommand", {**RUN, "ResourceTag.1.Key": "test", "ResourceTag.1.Value": "tony"}, 200),
        ("RunCommand", {**RUN, "ResourceTag.1.Key": "test", "ResourceTag.1.Value": "nobody"}, 403),
    ]),
    ("invoke by tag", [one("ecs:InvokeCommand", [INSTANCES], **BY_TAG), one("ecs:InvokeCommand", [COMMANDS])], [
        ("InvokeCommand", on("<mine>", **INVOKE), 200),
        ("InvokeCommand", on("<other>", **INVOKE), 403),
    ]),
    ("invoke one command on one instance", [one("ecs:InvokeCommand", [MINE, SAVED])], [
        ("InvokeCommand", on("<mine>", **INVOKE), 200),
        ("InvokeCommand", on("<mine>", CommandId="<unused>"), 403),
        ("InvokeCommand", on("<other>", **INVOKE), 403),
    ]),
    ("a plugin, which there is none of", [one(
        "ecs:InvokeCommand", [COMMANDS, INSTANCES],
        Condition={"StringEqualsIgnoreCase": {"ecs:PluginName": ["test-plugin"]}},
    )], [("InvokeCommand", on("<mine>", **INVOKE), 403)]),
    ("results of any instance", [one("ecs:DescribeInvocations", [INSTANCES, COMMANDS])], [
        ("DescribeInvocations", {}, 200),
        ("DescribeInvocations", {"InvokeId": "<other run>"}, 200),
    ]),
    ("results of one instance", [one("ecs:DescribeInvocations", [MINE, COMMANDS])], [
        ("DescribeInvocations", {"InvokeId": "<run>"}, 200),
        ("DescribeInvocations", {"InvokeId": "<saved run>"}, 200),
        ("DescribeInvocations", {"InvokeId": "<other run>"}, 403),
        ("DescribeInvocations", {"InvokeId": "t-none"}, 403),
        ("DescribeInvocations", {"InstanceId": "<mine>"}, 200),
        ("DescribeInvocations", {}, 403),
    ]),
    ("results of one instance, commands not named", [one("ecs:DescribeInvocation*", [MINE])], [
        ("DescribeInvocations", {"InvokeId": "<run>"}, 200),
        ("DescribeInvocationResults", {"InvokeId": "<run>"}, 200),
        ("DescribeInvocations", {"InvokeId": "<saved run>"}, 403),
    ]),
    ("results of one command", [one("ecs:DescribeInvocations", [INSTANCES, SAVED])], [
        ("DescribeInvocations", {"CommandId": "<saved>"}, 200),
        ("DescribeInvocations", {"InvokeId": "<saved run>"}, 200),
        ("DescribeInvocations", {"CommandId": "<unused>"}, 403),
    ]),
    ("stop on any instance", [one("ecs:StopInvocation", [INSTANCES])], [
        ("StopInvocation", {"InvokeId": "<run>"}, 200),
        ("StopInvocation", {"InvokeId": "t-none"}, 404),
    ]),
    ("stop on one instance", [one("ecs:StopInvocation", [MINE])], [
        ("StopInvocation", {"InvokeId": "<run>"}, 200),
        ("StopInvocation", {"InvokeId": "<other run>"}, 403),
        ("StopInvocation", {"InvokeId": "t-none"}, 403),
    ]),
    ("send files by tag", [one("ecs:SendFile", INSTANCES, **BY_TAG)], [
        ("SendFile", on("<mine>", Name="motd", TargetDir="/tmp/y", Content="hello"), 200),
        ("SendFile", on("<other>", Name="motd", TargetDir="/tmp/y", Content="hello"), 403),
    ]),
    ("files of one instance", [one("ecs:DescribeSendFileResults", [MINE])], [
        ("DescribeSendFileResults", {"InvokeId": "<file>"}, 200),
        ("DescribeSendFileResults", {"InstanceId": "<mine>"}, 200),
        ("DescribeSendFileResults", {}, 403),
    ]),
    ("one command to look at", [one("ecs:DescribeCommands", [SAVED])], [
        ("DescribeCommands", {"CommandId": "<saved>"}, 200),
        ("DescribeCommands", {}, 403),
    ]),
    ("parameters of another product", [one(["ecs:RunCommand", "oos:GetParameter", "kms:GetSecretValue"], "*")], [
        ("RunCommand", on("<other>", **RUN), 200),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("statements", "asked"), [pytest.param(*row[1:], id=row[0]) for row in SAMPLES])
def test_a_sample_policy_allows_what_its_page_says(
    samples: Samples, statements: list[dict[str, Any]], asked: list[Asked]
) -> None:
    """Source: Elastic Compute Service, Grant a RAM user permissions to use Cloud Assistant."""
    ann = samples.env.user_with("ann", *samples.filled(statements))
    for action, fields, expected in asked:
        status, body = samples.status(ann, action, **fields)
        assert (action, fields, status) == (action, fields, expected), body


READS = [("DescribeInvocations", {}), ("DescribeCommands", {}), ("DescribeInstances", {}), ("DescribeActivations", {})]
WRITES = [("RunCommand", on("<mine>", **RUN)), ("StopInvocation", {"InvokeId": "<run>"}),
          ("CreateActivation", {"InstanceCount": "1"})]  # fmt: skip
USERS = ("2015-05-01", "CreateUser", {"UserName": "eve"})
ACCOUNTS = ("2026-11-01", "CreateAccount", {"AccountName": "shop"})
SYSTEM = [("AliyunECSAssistantReadonlyAccess", 403), ("ReadOnlyAccess", 403), ("AliyunECSAssistantFullAccess", 200),
          ("PowerUserAccess", 200)]  # fmt: skip


@pytest.mark.parametrize(("policy", "writing"), SYSTEM)
def test_system_policies_are_those_of_the_cloud(samples: Samples, policy: str, writing: int) -> None:
    """Reading, and with the full ones writing; users and accounts with neither."""
    ann = samples.env.user("ann", policy)
    for action, fields in READS:
        assert samples.status(ann, action, **fields)[0] == 200, action
    for action, fields in WRITES:
        assert samples.status(ann, action, **fields)[0] == writing, action
    for version, action, fields in (USERS, ACCOUNTS):
        assert samples.env.ask(version, action, ann, **fields)[0] == 403, action
