"""Instances as ECS instances, as managed instances, and by their agents: fields, filters, pages, accounts."""

from typing import Any

import pytest

from operations.environment import OTHER, REGION, Environment

ECS = "2014-05-26"


def ask(env: Environment, action: str, caller: Any = None, **fields: Any) -> dict[str, Any]:
    status, answer = env.ask(ECS, action, caller, RegionId=REGION, **fields)
    assert status == 200, answer
    return answer


def refused(env: Environment, action: str, caller: Any = None, **fields: Any) -> tuple[int, str]:
    status, answer = env.ask(ECS, action, caller, **({"RegionId": REGION} | fields))
    assert status != 200, answer
    return status, answer["Code"]


def ecs(env: Environment, caller: Any = None, **fields: Any) -> list[str]:
    return [i["InstanceId"] for i in ask(env, "DescribeInstances", caller, **fields)["Instances"]["Instance"]]


def managed(env: Environment, caller: Any = None, **fields: Any) -> list[str]:
    return [i["InstanceId"] for i in ask(env, "DescribeManagedInstances", caller, **fields)["Instances"]]


def agents(env: Environment, caller: Any = None, **fields: Any) -> list[dict[str, Any]]:
    answer = ask(env, "DescribeCloudAssistantStatus", caller, **fields)
    found: list[dict[str, Any]] = answer["InstanceCloudAssistantStatusSet"]["InstanceCloudAssistantStatus"]
    return found


# --- DescribeInstances ----------------------------------------------------------------------------------------------


def test_an_instance_shows_every_ecs_field(env: Environment) -> None:
    """The fields that a fleet can know; every list is wrapped."""
    host = env.host(name="shop")
    (found,) = ask(env, "DescribeInstances")["Instances"]["Instance"]
    expected = {
        "InstanceId": host, "InstanceName": "shop", "HostName": "web-0", "Status": "Running", "RegionId": REGION,
        "OSType": "linux", "CreationTime": "2026-01-02T03:04Z", "SerialNumber": "0" * 32,
        "Tags": {"Tag": []}, "SecurityGroupIds": {"SecurityGroupId": []},
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert found["VpcAttributes"]["PrivateIpAddress"] == {"IpAddress": ["10.0.0.1"]}


def test_instances_can_be_filtered(env: Environment) -> None:
    """Filters are joined with AND. An empty list of ids lists none, not all."""
    one, two, three = env.host(name="web-a"), env.host(name="web_b", stopped=True), env.host(name="db")
    assert ecs(env) == [one, two, three]
    assert ecs(env, InstanceIds=[]) == []
    assert ecs(env, InstanceIds=[two, three, "i-none"]) == [two, three]
    assert ecs(env, InstanceName="web*") == [one, two]
    assert ecs(env, InstanceName="web_*") == [two]
    assert ecs(env, Status="Stopped") == [two]
    assert ecs(env, Status="Starting") == []
    assert ecs(env, PrivateIpAddresses=["10.0.0.3"]) == [three]
    assert ecs(env, InstanceIds=[one], Status="Stopped") == []
    assert ecs(env, VpcId="vpc-1") == ecs(env, ZoneId="z") == []


def test_instances_are_listed_by_page_and_by_token(env: Environment) -> None:
    """The token of the last page is empty."""
    hosts = [env.host() for _ in range(12)]
    assert ecs(env, PageNumber="3", PageSize="5") == hosts[10:]
    first = ask(env, "DescribeInstances", MaxResults="1")
    assert [i["InstanceId"] for i in first["Instances"]["Instance"]] == hosts[:10]
    second = ask(env, "DescribeInstances", NextToken=first["NextToken"], MaxResults="10")
    assert [i["InstanceId"] for i in second["Instances"]["Instance"]] == hosts[10:]
    assert (second["NextToken"], second["TotalCount"]) == ("", 12)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        pytest.param({"RegionId": "us-east-1"}, 404, "InvalidRegionId.NotFound", id="another region"),
        pytest.param({"InstanceIds": ["i-1"] * 101}, 403, "InstanceIds.ExceedLimit", id="too many ids"),
        pytest.param({"InstanceIds": "null"}, 400, "InvalidParameter", id="null for a list"),
        pytest.param({"PageSize": "101"}, 400, "InvalidParam.PageSize", id="too large a page"),
        pytest.param({"NextToken": "q1"}, 400, "InvalidParameter.NextToken", id="an invented token"),
        pytest.param({"Status": "Sleeping"}, 400, "InvalidParameter", id="no such state"),
        pytest.param({"DryRun": "true"}, 400, "DryRunOperation", id="a dry run without problems"),
        pytest.param({f"Tag.{n}.Key": f"k{n}" for n in range(21)}, 400, "NumberExceed.Tags", id="too many tags"),
        pytest.param({"Tag.1.Value": "v"}, 400, "MissingParameter.TagKey", id="a tag without a key"),
    ],
)
def test_bad_filters_of_instances_are_refused(env: Environment, fields: dict[str, Any], status: int, code: str) -> None:
    """With the codes of the table."""
    assert refused(env, "DescribeInstances", **fields) == (status, code)


def test_a_caller_without_permission_sees_no_instance(env: Environment) -> None:
    """The list is empty, as in the cloud, and there is no error."""
    env.host()
    nobody = env.user("nobody")
    assert ecs(env, nobody) == ecs(env, nobody, DryRun="true") == []


# --- DescribeManagedInstances ---------------------------------------------------------------------------------------


def test_a_managed_instance_shows_every_field(env: Environment) -> None:
    """The list is plain, and Connected is a boolean."""
    host = env.host(name="shop")
    answer = ask(env, "DescribeManagedInstances")
    (found,) = answer["Instances"]
    assert found == {
        "InstanceId": host, "InstanceName": "shop", "Hostname": "web-0", "MachineId": "0" * 32,
        "ActivationId": found["ActivationId"], "AgentVersion": "backfleet-0.1.0", "Connected": True,
        "IntranetIp": "10.0.0.1", "InternetIp": "203.0.113.9", "OsType": "linux", "OsVersion": "Linux_x86_64",
        "RegistrationTime": "2026-01-02T03:04:05Z", "LastInvokedTime": "", "InvocationCount": 0,
        "ResourceGroupId": "", "Tags": [],
    }  # fmt: skip
    assert (answer["PageNumber"], answer["PageSize"], answer["TotalCount"]) == (1, 10, 1)


def test_managed_instances_can_be_filtered(env: Environment) -> None:
    """By everything that the API filters by."""
    one, two = env.host(name="a"), env.host(name="b", silent=True)
    activation = ask(env, "DescribeManagedInstances", **{"InstanceId.1": two})["Instances"][0]["ActivationId"]
    for fields, wanted in (
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
        assert managed(env, **fields) == wanted, fields


@pytest.mark.parametrize(
    ("action", "most"),
    [("DescribeManagedInstances", 50), ("DescribeCloudAssistantStatus", 100)],
)
def test_too_many_ids_are_refused(env: Environment, action: str, most: int) -> None:
    """One more than the limit is refused with the code of the table."""
    fields = {f"InstanceId.{n}": f"mi-{n}" for n in range(1, most + 2)}
    assert refused(env, action, **fields) == (403, "InstanceIds.ExceedLimit")
    del fields["InstanceId.1"]
    env.ask(ECS, action, RegionId=REGION, **fields)


# --- DeregisterManagedInstance --------------------------------------------------------------------------------------


def test_a_deregistered_instance_is_gone_everywhere(env: Environment) -> None:
    """The answer shows it for the last time; a second call finds nothing."""
    host, other = env.host(), env.host()
    assert ask(env, "DeregisterManagedInstance", InstanceId=host)["Instance"]["InstanceId"] == host
    assert managed(env) == ecs(env) == [a["InstanceId"] for a in agents(env)] == [other]
    assert refused(env, "DeregisterManagedInstance", InstanceId=host) == (404, "InvalidInstance.NotFound")


def test_deregistering_needs_an_instance(env: Environment) -> None:
    """Without an id it is refused."""
    assert refused(env, "DeregisterManagedInstance") == (400, "MissingParameter")


# --- DescribeCloudAssistantStatus -----------------------------------------------------------------------------------


def test_an_agent_shows_every_field(env: Environment) -> None:
    """CloudAssistantStatus is a text."""
    host, silent = env.host(), env.host(silent=True)
    found, quiet = agents(env)
    assert found == {
        "InstanceId": host, "CloudAssistantStatus": "true", "CloudAssistantVersion": "backfleet-0.1.0",
        "LastInvokedTime": "", "LastHeartbeatTime": "2026-01-02T03:04:05Z", "ActiveTaskCount": 0,
        "InvocationCount": 0, "OSType": "Linux", "SupportSessionManager": False,
    }  # fmt: skip
    assert (quiet["InstanceId"], quiet["CloudAssistantStatus"]) == (silent, "false")


def test_agents_can_be_filtered(env: Environment) -> None:
    """By id and system; if every id is unknown, the call is refused."""
    one, two = env.host(), env.host()
    assert [a["InstanceId"] for a in agents(env, **{"InstanceId.1": two, "InstanceId.2": "i-none"})] == [two]
    assert [a["InstanceId"] for a in agents(env, OSType="Linux")] == [one, two]
    assert agents(env, OSType="Windows") == []
    fields = {"InstanceId.1": "i-none"}
    assert refused(env, "DescribeCloudAssistantStatus", **fields) == (404, "InvalidInstance.NotFound")


# --- Whose ----------------------------------------------------------------------------------------------------------


def test_instances_of_other_accounts_do_not_exist(env: Environment) -> None:
    """They are in no list, and cannot be deregistered."""
    theirs, mine = env.host(account=OTHER), env.host()
    assert ecs(env) == managed(env) == [mine]
    assert ecs(env, InstanceIds=[theirs]) == managed(env, **{"InstanceId.1": theirs}) == []
    for fields in ({"InstanceId.1": theirs}, {"InstanceId.1": "mi-none"}):
        assert refused(env, "DescribeCloudAssistantStatus", **fields) == (404, "InvalidInstance.NotFound")
    theirs_to_end = env.ask(ECS, "DeregisterManagedInstance", RegionId=REGION, InstanceId=theirs)
    nobodys_to_end = env.ask(ECS, "DeregisterManagedInstance", RegionId=REGION, InstanceId="mi-none")
    assert theirs_to_end == nobodys_to_end
    assert managed(env, env.other_account) == [theirs]


@pytest.mark.parametrize(
    "action", ["DescribeManagedInstances", "DescribeCloudAssistantStatus", "DeregisterManagedInstance"]
)
def test_callers_without_permission_are_refused(env: Environment, action: str) -> None:
    """Before parameters are checked."""
    host = env.host()
    assert refused(env, action, env.user("nobody"), InstanceId=host) == (403, "Forbidden.RAM")
    assert managed(env) == [host]


def test_the_only_region_is_that_of_this_installation(env: Environment) -> None:
    """In a wrapped list, as in the cloud."""
    _, found = env.ask(ECS, "DescribeRegions")
    assert [region["RegionId"] for region in found["Regions"]["Region"]] == [REGION]


# --- ModifyManagedInstance and DescribeInstanceStatus ---------------------------------------------------------------


def test_an_instance_can_be_renamed(env: Environment) -> None:
    """Every list shows the new name."""
    host = env.host(name="a")
    fields = {"InstanceId": host, "InstanceName": "shop"}
    assert ask(env, "ModifyManagedInstance", **fields)["Instance"] == fields
    assert managed(env, InstanceName="shop") == ecs(env, InstanceName="shop") == [host]


@pytest.mark.parametrize("name", ["x", "x" * 129, "http://shop", "a\nb"])
def test_bad_names_are_refused(env: Environment, name: str) -> None:
    """The old name stays."""
    host = env.host(name="a-b")
    assert refused(env, "ModifyManagedInstance", InstanceId=host, InstanceName=name)[0] == 400
    assert managed(env, InstanceName="a-b") == [host]


def test_an_instance_of_another_account_cannot_be_renamed(env: Environment) -> None:
    """The answer is that for an unknown id."""
    for host in (env.host(account=OTHER, name="theirs"), "mi-none"):
        fields = {"InstanceId": host, "InstanceName": "mine"}
        assert refused(env, "ModifyManagedInstance", **fields) == (404, "InvalidInstance.NotFound")
    assert managed(env, env.other_account, InstanceName="theirs") != []


def test_the_status_of_instances_is_listed(env: Environment) -> None:
    """Those of the account, in pages without a token."""
    one, two = env.host(), env.host(stopped=True)
    theirs = env.host(account=OTHER)
    answer = ask(env, "DescribeInstanceStatus")
    assert answer == {
        "InstanceStatuses": {
            "InstanceStatus": [{"InstanceId": one, "Status": "Running"}, {"InstanceId": two, "Status": "Stopped"}]
        },
        "PageNumber": 1, "PageSize": 10, "TotalCount": 2,
    }  # fmt: skip
    some = ask(env, "DescribeInstanceStatus", **{"InstanceId.1": two, "InstanceId.2": theirs})
    assert [each["InstanceId"] for each in some["InstanceStatuses"]["InstanceStatus"]] == [two]
    assert ask(env, "DescribeInstanceStatus", ZoneId="z")["TotalCount"] == 0
    assert refused(env, "DescribeInstanceStatus", PageSize="51") == (400, "InvalidParam.PageSize")
