"""Tags: giving, removing and listing them, and finding resources by them."""

from typing import Any

import pytest

from operations.ecs.agents import Agents, base64_of
from operations.environment import OTHER, Environment


def tag(agents: Agents, kind: str, resource: str, **tags: str) -> None:
    fields = {}
    for number, (key, value) in enumerate(tags.items(), 1):
        fields |= {f"Tag.{number}.Key": key, f"Tag.{number}.Value": value}
    agents.ask("TagResources", ResourceType=kind, **{"ResourceId.1": resource}, **fields)


def tags(agents: Agents, kind: str, caller: Any = None, **fields: Any) -> list[tuple[str, str, str]]:
    found = agents.ask("ListTagResources", caller, ResourceType=kind, **fields)["TagResources"]["TagResource"]
    assert {each["ResourceType"] for each in found} <= {kind}
    return [(each["ResourceId"], each["TagKey"], each["TagValue"]) for each in found]


def resources(env: Environment, agents: Agents) -> dict[str, str]:
    """Return the id of one resource of each type that has tags."""
    fields = {"Name": "a", "Type": "RunShellScript", "CommandContent": base64_of("true")}
    host = env.host()
    return {
        "managedinstance": host,
        "instance": host,
        "activation": agents.ask("CreateActivation")["ActivationId"],
        "command": agents.ask("CreateCommand", **fields)["CommandId"],
        "invocation": agents.run(host),
    }


@pytest.mark.parametrize("kind", ["managedinstance", "instance", "activation", "command", "invocation"])
def test_every_type_of_resource_has_tags(env: Environment, agents: Agents, kind: str) -> None:
    """A new value replaces the old one; removing one tag leaves the others."""
    thing = resources(env, agents)[kind]
    tag(agents, kind, thing, team="shop", tier="1")
    tag(agents, kind, thing, tier="2")
    assert tags(agents, kind) == [(thing, "team", "shop"), (thing, "tier", "2")]
    assert tags(agents, kind, **{"ResourceId.1": thing, "Tag.1.Key": "tier", "Tag.1.Value": "1"}) == []
    fields = {"ResourceType": kind, "ResourceId.1": thing}
    agents.ask("UntagResources", **fields, **{"TagKey.1": "team"}, All="true")
    assert tags(agents, kind) == [(thing, "tier", "2")]
    agents.ask("UntagResources", **fields, All="true")
    assert tags(agents, kind) == []


def test_instances_are_found_by_tags(env: Environment, agents: Agents) -> None:
    """All of the tags must match; a key alone matches any value."""
    one, two = env.host(), env.host()
    tag(agents, "managedinstance", one, team="shop", tier="1")
    tag(agents, "instance", two, team="shop")
    shop, tier = {"Tag.1.Key": "team", "Tag.1.Value": "shop"}, {"Tag.2.Key": "tier"}
    for action, place in (("DescribeInstances", "Instance"), ("DescribeManagedInstances", "")):
        for fields, wanted in (
            (shop, [one, two]),
            (shop | tier, [one]),
            ({"Tag.1.Key": "team", "Tag.1.Value": "x"}, []),
        ):
            found = agents.ask(action, **fields)["Instances"]
            listed = found[place] if place else found
            assert [each["InstanceId"] for each in listed] == wanted, (action, fields)
    (found,) = agents.ask("DescribeManagedInstances", **shop, **tier)["Instances"]
    assert found["Tags"] == [{"TagKey": "team", "TagValue": "shop"}, {"TagKey": "tier", "TagValue": "1"}]
    (shown,) = agents.ask("DescribeInstances", **shop, **tier)["Instances"]["Instance"]
    assert shown["Tags"] == {"Tag": found["Tags"]}


def test_a_command_runs_on_instances_with_a_tag(env: Environment, agents: Agents) -> None:
    """ResourceTag instead of InstanceId."""
    one, two, three = env.host(), env.host(), env.host()
    for host in (one, three):
        tag(agents, "instance", host, team="shop")
    invoke_id = agents.run(**{"ResourceTag.1.Key": "team", "ResourceTag.1.Value": "shop"})
    listed = agents.invocation(invoke_id)["InvokeInstances"]["InvokeInstance"]
    assert [each["InstanceId"] for each in listed] == [one, three]
    fields = {"Type": "RunShellScript", "CommandContent": "true"}
    for tags_asked, code in (
        ({"ResourceTag.1.Key": "none"}, "InvalidResourceTag.InstanceNotFound"),
        ({"ResourceTag.1.Value": "shop"}, "MissingParameter.ResourceTagKey"),
        ({"ResourceTag.1.Key": "a", "ResourceTag.2.Key": "a"}, "Duplicate.ResourceTagKey"),
        ({f"ResourceTag.{n}.Key": f"k{n}" for n in range(21)}, "NumberExceed.ResourceTags"),
    ):
        assert agents.refused("RunCommand", **fields, **tags_asked) == (400, code)
    agents.run_worker()
    assert agents.handed_out(two) == []


def test_an_activation_is_made_with_tags(agents: Agents) -> None:
    """And is found by them."""
    made = agents.ask("CreateActivation", **{"Tag.1.Key": "team", "Tag.1.Value": "shop"})["ActivationId"]
    agents.ask("CreateActivation")
    (found,) = agents.ask("DescribeActivations", **{"Tag.1.Key": "team"})["ActivationList"]
    assert (found["ActivationId"], found["Tags"]) == (made, [{"TagKey": "team", "TagValue": "shop"}])


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        pytest.param({"ResourceType": "disk"}, 404, "InvalidResourceType.NotFound", id="no such kind here"),
        pytest.param({"ResourceId.2": "i-none"}, 404, "InvalidResourceId.NotFound", id="one that is not there"),
        pytest.param({"Tag.1.Key": ""}, 400, "MissingParameter.TagKey", id="no key"),
        pytest.param({"Tag.1.Key": "aliyun"}, 400, "InvalidTagKey.Malformed", id="a key of the cloud's own"),
        pytest.param({"Tag.1.Key": "https://x"}, 400, "InvalidTagKey.Malformed", id="an address for a key"),
        pytest.param({"Tag.1.Key": "k" * 65}, 400, "InvalidTagKey.Malformed", id="too long a key"),
        pytest.param({"Tag.1.Value": "http://x"}, 400, "InvalidTagValue.Malformed", id="an address for a value"),
        pytest.param({"Tag.1.Value": "v" * 129}, 400, "InvalidTagValue.Malformed", id="too long a value"),
        pytest.param({"Tag.2.Key": "a"}, 400, "Duplicate.TagKey", id="a key twice"),
        pytest.param(
            {f"ResourceId.{n}": f"i-{n}" for n in range(2, 60)},
            400,
            "NumberExceed.ResourceIds",
            id="too many resources",
        ),
    ],
)
def test_bad_tags_are_refused(env: Environment, agents: Agents, fields: dict[str, str], status: int, code: str) -> None:
    """Nothing is tagged."""
    host = env.host()
    whole = {"ResourceType": "instance", "ResourceId.1": host, "Tag.1.Key": "a", "Tag.1.Value": "v"} | fields
    assert agents.refused("TagResources", **whole) == (status, code)
    assert tags(agents, "instance") == []


def test_a_resource_has_at_most_twenty_tags(env: Environment, agents: Agents) -> None:
    """If one is too many, none of that call stays."""
    host = env.host()
    tag(agents, "instance", host, **{f"k{n}": "" for n in range(19)})
    fields = {"ResourceType": "instance", "ResourceId.1": host, "Tag.1.Key": "a", "Tag.2.Key": "b"}
    assert agents.refused("TagResources", **fields) == (400, "NumberExceed.Tags")
    assert len(tags(agents, "instance")) == 19


def test_tagging_needs_resources_and_tags(env: Environment, agents: Agents) -> None:
    """Without either it is refused."""
    host = env.host()
    fields = {"ResourceType": "instance", "ResourceId.1": host}
    assert agents.refused("UntagResources", **fields) == (400, "MissingParameter.TagKeys")
    assert agents.refused("TagResources", **fields) == (400, "MissingParameter")
    only = {"ResourceType": "instance", "Tag.1.Key": "a", "All": "true"}
    assert agents.refused("TagResources", **only) == (400, "MissingParameter.ResourceIds")
    assert agents.refused("UntagResources", **only) == (400, "MissingParameter.ResourceIds")


def test_long_lists_of_tags_come_in_pages(env: Environment, agents: Agents) -> None:
    """Of fifty, with a token for the rest."""
    hosts = [env.host() for _ in range(3)]
    for host in hosts:
        tag(agents, "instance", host, **{f"k{n:02d}": "" for n in range(20)})
    first = agents.ask("ListTagResources", ResourceType="instance")
    second = agents.ask("ListTagResources", ResourceType="instance", NextToken=first["NextToken"])
    both = [*first["TagResources"]["TagResource"], *second["TagResources"]["TagResource"]]
    assert (len(both), second["NextToken"]) == (60, "")
    assert len({(each["ResourceId"], each["TagKey"]) for each in both}) == 60


@pytest.mark.parametrize("kind", ["managedinstance", "activation", "command", "invocation"])
def test_tags_of_other_accounts_do_not_exist(env: Environment, agents: Agents, kind: str) -> None:
    """They are neither shown nor changed; their resources do not exist."""
    thing = resources(env, agents)[kind]
    tag(agents, kind, thing, team="shop")
    fields = {"ResourceType": kind, "ResourceId.1": thing, "Tag.1.Key": "a", "All": "true"}
    for action in ("TagResources", "UntagResources"):
        assert agents.refused(action, env.other_account, **fields) == (404, "InvalidResourceId.NotFound")
    assert tags(agents, kind, env.other_account, **{"ResourceId.1": thing}) == []
    assert tags(agents, kind) == [(thing, "team", "shop")]
    env.host(account=OTHER)


def test_tags_are_deleted_with_their_resource(env: Environment, agents: Agents) -> None:
    """An instance that is deregistered, a command, an activation."""
    for kind, thing in resources(env, agents).items():
        tag(agents, kind, thing, team="shop")
    found = resources(env, agents)
    host = tags(agents, "instance")[0][0]
    agents.ask("DeregisterManagedInstance", InstanceId=host)
    agents.ask("DeleteCommand", CommandId=tags(agents, "command")[0][0])
    agents.ask("DeleteActivation", ActivationId=tags(agents, "activation")[0][0])
    assert [tags(agents, kind) for kind in found if kind != "invocation"] == [[], [], [], []]
