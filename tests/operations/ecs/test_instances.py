"""Machines as ECS shows them, as managed instances, and by their agents: shapes, filters, pages, tenancy."""

from typing import Any

import pytest

from operations.world import OTHER, REGION, World

ECS = "2014-05-26"


def ask(world: World, action: str, caller: Any = None, **said: Any) -> dict[str, Any]:
    status, answer = world.ask(ECS, action, caller, RegionId=REGION, **said)
    assert status == 200, answer
    return answer


def refused(world: World, action: str, caller: Any = None, **said: Any) -> tuple[int, str]:
    status, answer = world.ask(ECS, action, caller, **({"RegionId": REGION} | said))
    assert status != 200, answer
    return status, answer["Code"]


def ecs(world: World, caller: Any = None, **said: Any) -> list[str]:
    return [i["InstanceId"] for i in ask(world, "DescribeInstances", caller, **said)["Instances"]["Instance"]]


def managed(world: World, caller: Any = None, **said: Any) -> list[str]:
    return [i["InstanceId"] for i in ask(world, "DescribeManagedInstances", caller, **said)["Instances"]]


def agents(world: World, caller: Any = None, **said: Any) -> list[dict[str, Any]]:
    answer = ask(world, "DescribeCloudAssistantStatus", caller, **said)
    found: list[dict[str, Any]] = answer["InstanceCloudAssistantStatusSet"]["InstanceCloudAssistantStatus"]
    return found


# --- DescribeInstances ----------------------------------------------------------------------------------------------


def test_a_machine_as_ecs_shows_it(world: World) -> None:
    """The fields that a fleet can know; every list wrapped."""
    host = world.host(name="shop")
    (found,) = ask(world, "DescribeInstances")["Instances"]["Instance"]
    expected = {
        "InstanceId": host, "InstanceName": "shop", "HostName": "web-0", "Status": "Running", "RegionId": REGION,
        "OSType": "linux", "CreationTime": "2026-01-02T03:04Z", "SerialNumber": "0" * 32,
        "Tags": {"Tag": []}, "SecurityGroupIds": {"SecurityGroupId": []},
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert found["VpcAttributes"]["PrivateIpAddress"] == {"IpAddress": ["10.0.0.1"]}


def test_which_machines(world: World) -> None:
    """Filters are joined with AND. An empty list of ids gives none, not all."""
    one, two, three = world.host(name="web-a"), world.host(name="web_b", stopped=True), world.host(name="db")
    assert ecs(world) == [one, two, three]
    assert ecs(world, InstanceIds=[]) == []
    assert ecs(world, InstanceIds=[two, three, "i-none"]) == [two, three]
    assert ecs(world, InstanceName="web*") == [one, two]
    assert ecs(world, InstanceName="web_*") == [two]
    assert ecs(world, Status="Stopped") == [two]
    assert ecs(world, Status="Starting") == []
    assert ecs(world, PrivateIpAddresses=["10.0.0.3"]) == [three]
    assert ecs(world, InstanceIds=[one], Status="Stopped") == []
    assert ecs(world, VpcId="vpc-1") == ecs(world, ZoneId="z") == []


def test_machines_by_page_and_by_token(world: World) -> None:
    """The token of the last page is empty."""
    hosts = [world.host() for _ in range(12)]
    assert ecs(world, PageNumber="3", PageSize="5") == hosts[10:]
    first = ask(world, "DescribeInstances", MaxResults="1")
    assert [i["InstanceId"] for i in first["Instances"]["Instance"]] == hosts[:10]
    second = ask(world, "DescribeInstances", NextToken=first["NextToken"], MaxResults="10")
    assert [i["InstanceId"] for i in second["Instances"]["Instance"]] == hosts[10:]
    assert (second["NextToken"], second["TotalCount"]) == ("", 12)


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        pytest.param({"RegionId": "us-east-1"}, 404, "InvalidRegionId.NotFound", id="another region"),
        pytest.param({"InstanceIds": ["i-1"] * 101}, 403, "InstanceIds.ExceedLimit", id="too many ids"),
        pytest.param({"InstanceIds": "null"}, 400, "InvalidParameter", id="null for a list"),
        pytest.param({"PageSize": "101"}, 400, "InvalidParam.PageSize", id="too large a page"),
        pytest.param({"NextToken": "q1"}, 400, "InvalidParameter.NextToken", id="a token of nobody"),
        pytest.param({"Status": "Sleeping"}, 400, "InvalidParameter", id="no such state"),
        pytest.param({"DryRun": "true"}, 400, "DryRunOperation", id="a rehearsal that would do well"),
        pytest.param({f"Tag.{n}.Key": f"k{n}" for n in range(21)}, 400, "NumberExceed.Tags", id="too many tags"),
        pytest.param({"Tag.1.Value": "v"}, 400, "MissingParameter.TagKey", id="a tag without a key"),
    ],
)
def test_what_describe_instances_refuses(world: World, said: dict[str, Any], status: int, code: str) -> None:
    """With the code of the table."""
    assert refused(world, "DescribeInstances", **said) == (status, code)


def test_a_caller_without_permission_sees_no_machine(world: World) -> None:
    """An empty list, as the cloud answers, and no error that would tell."""
    world.host()
    nobody = world.user("nobody")
    assert ecs(world, nobody) == ecs(world, nobody, DryRun="true") == []


# --- DescribeManagedInstances ---------------------------------------------------------------------------------------


def test_a_managed_instance_in_every_field(world: World) -> None:
    """A plain list, and Connected is a boolean."""
    host = world.host(name="shop")
    answer = ask(world, "DescribeManagedInstances")
    (found,) = answer["Instances"]
    assert found == {
        "InstanceId": host, "InstanceName": "shop", "Hostname": "web-0", "MachineId": "0" * 32,
        "ActivationId": found["ActivationId"], "AgentVersion": "backfleet-0.1.0", "Connected": True,
        "IntranetIp": "10.0.0.1", "InternetIp": "203.0.113.9", "OsType": "linux", "OsVersion": "Linux_x86_64",
        "RegistrationTime": "2026-01-02T03:04:05Z", "LastInvokedTime": "", "InvocationCount": 0,
        "ResourceGroupId": "", "Tags": [],
    }  # fmt: skip
    assert (answer["PageNumber"], answer["PageSize"], answer["TotalCount"]) == (1, 10, 1)


def test_which_managed_instances(world: World) -> None:
    """By everything that the API filters by."""
    one, two = world.host(name="a"), world.host(name="b", silent=True)
    activation = ask(world, "DescribeManagedInstances", **{"InstanceId.1": two})["Instances"][0]["ActivationId"]
    for said, wanted in (
        ({}, [one, two]),
        ({"InstanceId.1": one, "InstanceId.3": "mi-none"}, [one]),
        ({"InstanceName": "b"}, [two]),
        ({"InstanceIp": "10.0.0.2"}, [two]),
        ({"InstanceIp": "203.0.113.9"}, [one, two]),
        ({"ActivationId": activation}, [two]),
        ({"OsType": "Linux"}, [one, two]),
        ({"OsType": "windows"}, []),
        ({"MachineId": f"{1:032d}"}, [two]),
        ({"Connected": "true"}, [one]),
        ({"Connected": "false"}, [two]),
        ({"Connected": "false", "InstanceName": "a"}, []),
    ):
        assert managed(world, **said) == wanted, said


@pytest.mark.parametrize(
    ("action", "most"),
    [("DescribeManagedInstances", 50), ("DescribeCloudAssistantStatus", 100)],
)
def test_how_many_ids_one_call_may_carry(world: World, action: str, most: int) -> None:
    """One more is refused with the code of the table."""
    said = {f"InstanceId.{n}": f"mi-{n}" for n in range(1, most + 2)}
    assert refused(world, action, **said) == (403, "InstanceIds.ExceedLimit")
    del said["InstanceId.1"]
    world.ask(ECS, action, RegionId=REGION, **said)


# --- DeregisterManagedInstance --------------------------------------------------------------------------------------


def test_a_deregistered_instance_is_gone_everywhere(world: World) -> None:
    """The answer shows it for the last time; a second time there is nothing to find."""
    host, other = world.host(), world.host()
    assert ask(world, "DeregisterManagedInstance", InstanceId=host)["Instance"]["InstanceId"] == host
    assert managed(world) == ecs(world) == [a["InstanceId"] for a in agents(world)] == [other]
    assert refused(world, "DeregisterManagedInstance", InstanceId=host) == (404, "InvalidInstance.NotFound")


def test_an_instance_must_be_named(world: World) -> None:
    """Deregistering nobody is refused."""
    assert refused(world, "DeregisterManagedInstance") == (400, "MissingParameter")


# --- DescribeCloudAssistantStatus -----------------------------------------------------------------------------------


def test_an_agent_in_every_field(world: World) -> None:
    """Whether it is there is a text."""
    host, silent = world.host(), world.host(silent=True)
    found, quiet = agents(world)
    assert found == {
        "InstanceId": host, "CloudAssistantStatus": "true", "CloudAssistantVersion": "backfleet-0.1.0",
        "LastInvokedTime": "", "LastHeartbeatTime": "2026-01-02T03:04:05Z", "ActiveTaskCount": 0,
        "InvocationCount": 0, "OSType": "Linux", "SupportSessionManager": False,
    }  # fmt: skip
    assert (quiet["InstanceId"], quiet["CloudAssistantStatus"]) == (silent, "false")


def test_which_agents(world: World) -> None:
    """By id and system; ids that all name nothing are refused."""
    one, two = world.host(), world.host()
    assert [a["InstanceId"] for a in agents(world, **{"InstanceId.1": two, "InstanceId.2": "i-none"})] == [two]
    assert [a["InstanceId"] for a in agents(world, OSType="Linux")] == [one, two]
    assert agents(world, OSType="Windows") == []
    said = {"InstanceId.1": "i-none"}
    assert refused(world, "DescribeCloudAssistantStatus", **said) == (404, "InvalidInstance.NotFound")


# --- Whose ----------------------------------------------------------------------------------------------------------


def test_other_accounts_machines_do_not_exist(world: World) -> None:
    """In no list, by no id, and they cannot be deregistered."""
    theirs, mine = world.host(account=OTHER), world.host()
    assert ecs(world) == managed(world) == [mine]
    assert ecs(world, InstanceIds=[theirs]) == managed(world, **{"InstanceId.1": theirs}) == []
    for said in ({"InstanceId.1": theirs}, {"InstanceId.1": "mi-none"}):
        assert refused(world, "DescribeCloudAssistantStatus", **said) == (404, "InvalidInstance.NotFound")
    theirs_to_end = world.ask(ECS, "DeregisterManagedInstance", RegionId=REGION, InstanceId=theirs)
    nobodys_to_end = world.ask(ECS, "DeregisterManagedInstance", RegionId=REGION, InstanceId="mi-none")
    assert theirs_to_end == nobodys_to_end
    assert managed(world, world.stranger) == [theirs]


@pytest.mark.parametrize(
    "action", ["DescribeManagedInstances", "DescribeCloudAssistantStatus", "DeregisterManagedInstance"]
)
def test_without_permission_nothing_is_told_or_done(world: World, action: str) -> None:
    """Before any parameter is looked at."""
    host = world.host()
    assert refused(world, action, world.user("nobody"), InstanceId=host) == (403, "Forbidden.RAM")
    assert managed(world) == [host]


def test_the_region_is_the_one_this_installation_answers_for(world: World) -> None:
    """In the cloud's wrapped list."""
    _, found = world.ask(ECS, "DescribeRegions")
    assert [region["RegionId"] for region in found["Regions"]["Region"]] == [REGION]


# --- ModifyManagedInstance and DescribeInstanceStatus ---------------------------------------------------------------


def test_a_machine_gets_another_name(world: World) -> None:
    """Everywhere."""
    host = world.host(name="a")
    said = {"InstanceId": host, "InstanceName": "shop"}
    assert ask(world, "ModifyManagedInstance", **said)["Instance"] == said
    assert managed(world, InstanceName="shop") == ecs(world, InstanceName="shop") == [host]


@pytest.mark.parametrize("name", ["x", "x" * 129, "http://shop", "a\nb"])
def test_names_that_no_machine_may_have(world: World, name: str) -> None:
    """The old one stays."""
    host = world.host(name="a-b")
    assert refused(world, "ModifyManagedInstance", InstanceId=host, InstanceName=name)[0] == 400
    assert managed(world, InstanceName="a-b") == [host]


def test_another_accounts_machine_is_not_renamed(world: World) -> None:
    """As one that never was."""
    for host in (world.host(account=OTHER, name="theirs"), "mi-none"):
        said = {"InstanceId": host, "InstanceName": "mine"}
        assert refused(world, "ModifyManagedInstance", **said) == (404, "InvalidInstance.NotFound")
    assert managed(world, world.stranger, InstanceName="theirs") != []


def test_whether_machines_run(world: World) -> None:
    """Those of the account; pages without a token."""
    one, two = world.host(), world.host(stopped=True)
    theirs = world.host(account=OTHER)
    answer = ask(world, "DescribeInstanceStatus")
    assert answer == {
        "InstanceStatuses": {
            "InstanceStatus": [{"InstanceId": one, "Status": "Running"}, {"InstanceId": two, "Status": "Stopped"}]
        },
        "PageNumber": 1, "PageSize": 10, "TotalCount": 2,
    }  # fmt: skip
    some = ask(world, "DescribeInstanceStatus", **{"InstanceId.1": two, "InstanceId.2": theirs})
    assert [each["InstanceId"] for each in some["InstanceStatuses"]["InstanceStatus"]] == [two]
    assert ask(world, "DescribeInstanceStatus", ZoneId="z")["TotalCount"] == 0
    assert refused(world, "DescribeInstanceStatus", PageSize="51") == (400, "InvalidParam.PageSize")
