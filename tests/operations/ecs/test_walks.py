"""Walks through lists by NextToken: nothing is missed and nothing comes twice, whatever happens meanwhile."""

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from operations.ecs.agents import Agents
from operations.environment import REGION, Environment

ECS = "2014-05-26"
Ids = Callable[[dict[str, Any]], list[str]]


def ask(env: Environment, action: str, **fields: Any) -> dict[str, Any]:
    status, answer = env.ask(ECS, action, RegionId=REGION, **fields)
    assert status == 200, answer
    return answer


def make_command(env: Environment, number: int) -> str:
    env.now += timedelta(milliseconds=number % 2)  # some at the same moment
    made = ask(env, "CreateCommand", Name=f"c{number}", Type="RunShellScript", CommandContent="dHJ1ZQ==")
    return str(made["CommandId"])


def make_activation(env: Environment, number: int) -> str:
    env.now += timedelta(milliseconds=number % 2)
    return str(ask(env, "CreateActivation")["ActivationId"])


def make_instance(env: Environment, _number: int) -> str:
    return env.host()


LISTS = pytest.mark.parametrize(
    ("action", "ids", "make", "delete", "key"),
    [
        pytest.param("DescribeCommands", lambda a: [c["CommandId"] for c in a["Commands"]["Command"]],
                     make_command, "DeleteCommand", "CommandId", id="commands"),
        pytest.param("DescribeActivations", lambda a: [c["ActivationId"] for c in a["ActivationList"]],
                     make_activation, "DeleteActivation", "ActivationId", id="activations"),
        pytest.param("DescribeManagedInstances", lambda a: [c["InstanceId"] for c in a["Instances"]],
                     make_instance, "DeregisterManagedInstance", "InstanceId", id="managed instances"),
        pytest.param("DescribeInstances", lambda a: [c["InstanceId"] for c in a["Instances"]["Instance"]],
                     make_instance, "DeregisterManagedInstance", "InstanceId", id="instances"),
    ],
)  # fmt: skip


def delete(env: Environment, action: str, key: str, each: str) -> None:
    if action == "DeleteActivation":
        ask(env, "DisableActivation", ActivationId=each)
    ask(env, action, **{key: each})


def walk(env: Environment, action: str, ids: Ids, after_each: Callable[[list[str]], None], **first: Any) -> list[str]:
    """Follow NextToken to the end, with nothing else in the request."""
    answer = ask(env, action, **first)
    found = ids(answer)
    after_each(ids(answer))
    while answer["NextToken"]:
        answer = ask(env, action, NextToken=answer["NextToken"])
        found += ids(answer)
        after_each(ids(answer))
    return found


@LISTS
def test_deleting_while_walking_leaves_nothing(
    env: Environment, action: str, ids: Ids, make: Callable[[Environment, int], str], delete: str, key: str
) -> None:
    """A caller that asked with nothing but a region gets the token too, as the `aliyun` CLI's pager expects."""
    made = {make(env, number) for number in range(25)}
    found = walk(env, action, ids, lambda part: [remove(env, delete, key, each) for each in part] and None)
    assert set(found) == made
    assert len(found) == 25
    assert ids(ask(env, action)) == []


@LISTS
def test_creating_while_walking_repeats_nothing(
    env: Environment, action: str, ids: Ids, make: Callable[[Environment, int], str], delete: str, key: str
) -> None:
    """What was there at the beginning comes once, in parts of the size that was asked for first."""
    before = [make(env, number) for number in range(12)]
    more = iter(range(100, 103))
    sizes: list[int] = []

    def add(part: list[str]) -> None:
        sizes.append(len(part))
        for number in [next(more, None)]:
            if number is not None:
                make(env, number)

    found = walk(env, action, ids, add, PageSize="5")
    assert len(found) == len(set(found))
    assert set(before) <= set(found)
    assert set(sizes[:-1]) == {5}


def remove(env: Environment, action: str, key: str, each: str) -> None:
    if action == "DeleteActivation":
        ask(env, "DisableActivation", ActivationId=each)
    ask(env, action, **{key: each})


def names(answer: dict[str, Any]) -> list[str]:
    return [each["Name"] for each in answer["Commands"]["Command"]]


def test_a_token_carries_the_filter_and_the_size(env: Environment) -> None:
    """They may be repeated; another filter with it is refused, and so is another list, account, or anything changed."""
    for number in range(30):
        make_command(env, number)
    first = ask(env, "DescribeCommands", Name="c1*", PageSize="6")
    token = first["NextToken"]
    second = ask(env, "DescribeCommands", NextToken=token)
    assert (second["PageSize"], second["PageNumber"], second["TotalCount"]) == (6, 2, 11)
    assert sorted(names(first) + names(second)) == sorted(["c1", *(f"c{n}" for n in range(10, 20))])
    assert names(ask(env, "DescribeCommands", NextToken=token, Name="c1*")) == names(second)
    bigger = ask(env, "DescribeCommands", NextToken=token, MaxResults="50")
    assert names(bigger) == names(second)
    changed = base64.urlsafe_b64encode(base64.urlsafe_b64decode(token)[:-1] + b"x").decode()
    for action, fields, caller in (
        ("DescribeCommands", {"NextToken": token, "Name": "c2*"}, None),
        ("DescribeActivations", {"NextToken": token}, None),
        ("DescribeCommands", {"NextToken": token}, env.other_account),
        ("DescribeCommands", {"NextToken": changed}, None),
        ("DescribeCommands", {"NextToken": "p2"}, None),
        ("DescribeCommands", {"NextToken": "x" * 9000}, None),
        ("ListTagResources", {"NextToken": token, "ResourceType": "command"}, None),
    ):
        status, answer = env.ask(ECS, action, caller, RegionId=REGION, **fields)
        assert (status, answer["Code"]) == (400, "InvalidParameter.NextToken"), fields


def test_a_filter_too_long_for_a_token_is_repeated(env: Environment) -> None:
    """The token then only knows whether it is the same."""
    hosts = [env.host() for _ in range(12)]
    wanted = [*hosts, *(f"i-{number:060}" for number in range(38))]
    fields = {f"InstanceId.{number}": each for number, each in enumerate(wanted, 1)}
    first = ask(env, "DescribeManagedInstances", **fields)
    token = first["NextToken"]
    assert len(token) < 1500
    second = ask(env, "DescribeManagedInstances", NextToken=token, **fields)
    assert [each["InstanceId"] for each in second["Instances"]] == hosts[10:]
    status, answer = env.ask(ECS, "DescribeManagedInstances", RegionId=REGION, NextToken=token)
    assert (status, answer["Code"]) == (400, "InvalidParameter.NextToken")


def test_invocations_and_results_are_walked(env: Environment, agents: Agents) -> None:
    """Of twelve runs on two hosts, some of them at the same moment."""
    hosts = [env.host(), env.host()]
    for number in range(12):
        env.now += timedelta(milliseconds=number % 2)
        run = {f"InstanceId.{place}": each for place, each in enumerate(hosts, 1)}
        agents.ask("RunCommand", Type="RunShellScript", CommandContent="true", Name=f"r{number}", **run)

    def invocations(answer: dict[str, Any]) -> list[str]:
        return [each["InvokeId"] for each in answer["Invocations"]["Invocation"]]

    def results(answer: dict[str, Any]) -> list[str]:
        found = answer["Invocation"]["InvocationResults"]["InvocationResult"]
        answer["NextToken"] = answer["Invocation"]["NextToken"]
        return [f"{each['InvokeId']} {each['InstanceId']}" for each in found]

    assert len(set(walk(env, "DescribeInvocations", invocations, lambda _: None, PageSize="5"))) == 12
    assert len(set(walk(env, "DescribeInvocationResults", results, lambda _: None, PageSize="5"))) == 24
