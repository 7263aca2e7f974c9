"""Machines as ECS shows them, as managed instances, and by their agents: shapes, filters, pages, tenancy."""

from typing import Any

import pytest

from operations.environment import OTHER, REGION, Environment

ECS = "2014-05-26"


def ask(env: Environment, action: str, caller: Any = None, **said: Any) -> dict[str, Any]:
    status, answer = env.ask(ECS, action, caller, RegionId=REGION, **said)
    assert status == 200, answer
    return answer


def refused(env: Environment, action: str, caller: Any = None, **said: Any) -> tuple[int, str]:
    status, answer = env.ask(ECS, action, caller, **({"RegionId": REGION} | said))
    assert status != 200, answer
    return status, answer["Code"]


def ecs(env: Environment, caller: Any = None, **said: Any) -> list[str]:
    return [i["InstanceId"] for i in ask(env, "DescribeInstances", caller, **said)["Instances"]["Instance"]]


def managed(env: Environment, caller: Any = None, **said: Any) -> list[str]:
    return [i["InstanceId"] for i in ask(env, "DescribeManagedInstances", caller, **said)["Instances"]]


def agents(env: Environment, caller: Any = None, **said: Any) -> list[dict[str, Any]]:
    answer = ask(env, "DescribeCloudAssistantStatus", caller, **said)
    found: list[dict[str, Any]] = answer["InstanceCloudAssistantStatusSet"]["InstanceCloudAssistantStatus"]
    return found


# --- DescribeInstances ----------------------------------------------------------------------------------------------


def test_a_machine_as_ecs_shows_it(env: Environment) -> None:
    """The fields that a fleet can know; every list wrapped."""
    host = env.host(name="shop")
    (found,) = ask(env, "DescribeInstances")["Instances"]["Instance"]
    expected = {
        "InstanceId": host, "InstanceName": "shop", "HostName": "web-0", "Status": "Running", "RegionId": REGION,
        "OSType": "linux", "CreationTime": "2026-01-02T03:04Z", "SerialNumber": "0" * 32,
        "Tags": {"Tag": []}, "SecurityGroupIds": {"SecurityGroupId": []},
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert found["VpcAttributes"]["PrivateIpAddress"] == {"IpAddress": ["10.0.0.1"]}


def test_which_machines(env: Environment) -> None:
    """Filters are joined with AND. An empty list of ids gives none, not all."""
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


def test_machines_by_page_and_by_token(env: Environment) -> None:
    """The token of the last page is empty."""
    hosts = [env.host() for _ in range(12)]
    assert ecs(env, PageNumber="3", PageSize="5") == hosts[10:]
    first = ask(env, "DescribeInstances", MaxResults="1")
    assert [i["InstanceId"] for i in first["Instances"]["Instance"]] == hosts[:10]
    second = ask(env, "DescribeInstances", NextToken=first["NextToken"], MaxResults="10")
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
def test_what_describe_instances_refuses(env: Environment, said: dict[str, Any], status: int, code: str) -> None:
    """With the code of the table."""
    assert refused(env, "DescribeInstances", **said) == (status, code)


def test_a_caller_without_permission_sees_no_machine(env: Environment) -> None:
    """An empty list, as the cloud answers, and no error that would tell."""
    env.host()
    nobody = env.user("nobody")
    assert ecs(env, nobody) == ecs(env, nobody, DryRun="true") == []


# --- DescribeManagedInstances ---------------------------------------------------------------------------------------


def test_a_managed_instance_in_every_field(env: Environment) -> None:
    """A plain list, and Connected is a boolean."""
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


def test_which_managed_instances(env: Environment) -> None:
    """By everything that the API filters by."""
    one, two = env.host(name="a"), env.host(name="b", silent=True)
    activation = ask(env, "DescribeManagedInstances", **{"InstanceId.1": two})["Instances"][0]["ActivationId"]
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
        assert managed(env, **said) == wanted, said


@pytest.mark.parametrize(
    ("action", "most"),
    [("DescribeManagedInstances", 50), ("DescribeCloudAssistantStatus", 100)],
)
def test_how_many_ids_one_call_may_carry(env: Environment, action: str, most: int) -> None:
    """One more is refused with the code of the table."""
    said = {f"InstanceId.{n}": f"mi-{n}" for n in range(1, most + 2)}
    assert refused(env, action, **said) == (403, "InstanceIds.ExceedLimit")
    del said["InstanceId.1"]
    env.ask(ECS, action, RegionId=REGION, **said)


# --- DeregisterManagedInstance --------------------------------------------------------------------------------------


def test_a_deregistered_instance_is_gone_everywhere(env: Environment) -> None:
    """The answer shows it for the last time; a second time there is nothing to find."""
    host, other = env.host(), env.host()
    assert ask(env, "DeregisterManagedInstance", InstanceId=host)["Instance"]["InstanceId"] == host
    assert managed(env) == ecs(env) == [a["InstanceId"] for a in agents(env)] == [other]
    assert refused(env, "DeregisterManagedInstance", InstanceId=host) == (404, "InvalidInstance.NotFound")


def test_an_instance_must_be_named(env: Environment) -> None:
    """Deregistering nobody is refused."""
    assert refused(env, "DeregisterManagedInstance") == (400, "MissingParameter")


# --- DescribeCloudAssistantStatus -----------------------------------------------------------------------------------


def test_an_agent_in_every_field(env: Environment) -> None:
    """Whether it is there is a text."""
    host, silent = env.host(), env.host(silent=True)
    found, quiet = agents(env)
    assert found == {
        "InstanceId": host, "CloudAssistantStatus": "true", "CloudAssistantVersion": "backfleet-0.1.0",
        "LastInvokedTime": "", "LastHeartbeatTime": "2026-01-02T03:04:05Z", "ActiveTaskCount": 0,
        "InvocationCount": 0, "OSType": "Linux", "SupportSessionManager": False,
    }  # fmt: skip
    assert (quiet["InstanceId"], quiet["CloudAssistantStatus"]) == (silent, "false")


def test_which_agents(env: Environment) -> None:
    """By id and system; ids that all name nothing are refused."""
    one, two = env.host(), env.host()
    assert [a["InstanceId"] for a in agents(env, **{"InstanceId.1": two, "InstanceId.2": "i-none"})] == [two]
    assert [a["InstanceId"] for a in agents(env, OSType="Linux")] == [one, two]
    assert agents(env, OSType="Windows") == []
    said = {"InstanceId.1": "i-none"}
    assert refused(env, "DescribeCloudAssistantStatus", **said) == (404, "InvalidInstance.NotFound")


# --- Whose ----------------------------------------------------------------------------------------------------------


def test_other_accounts_machines_do_not_exist(env: Environment) -> None:
    """In no list, by no id, and they cannot be deregistered."""
    theirs, mine = env.host(account=OTHER), env.host()
    assert ecs(env) == managed(env) == [mine]
    assert ecs(env, InstanceIds=[theirs]) == managed(env, **{"InstanceId.1": theirs}) == []
    for said in ({"InstanceId.1": theirs}, {"InstanceId.1": "mi-none"}):
        assert refused(env, "DescribeCloudAssistantStatus", **said) == (404, "InvalidInstance.NotFound")
    theirs_to_end = env.ask(ECS, "DeregisterManagedInstance", RegionId=REGION, InstanceId=theirs)
    nobodys_to_end = env.ask(ECS, "DeregisterManagedInstance", RegionId=REGION, InstanceId="mi-none")
    assert theirs_to_end == nobodys_to_end
    assert managed(env, env.other_account) == [theirs]


@pytest.mark.parametrize(
    "action", ["DescribeManagedInstances", "DescribeCloudAssistantStatus", "DeregisterManagedInstance"]
)
def test_without_permission_nothing_is_told_or_done(env: Environment, action: str) -> None:
    """Before any parameter is looked at."""
    host = env.host()
    assert refused(env, action, env.user("nobody"), InstanceId=host) == (403, "Forbidden.RAM")
    assert managed(env) == [host]


def test_the_region_is_the_one_this_installation_answers_for(env: Environment) -> None:
    """In the cloud's wrapped list."""
    _, found = env.ask(ECS, "DescribeRegions")
    assert [region["RegionId"] for region in found["Regions"]["Region"]] == [REGION]


# --- ModifyManagedInstance and DescribeInstanceStatus ---------------------------------------------------------------


def test_a_machine_gets_another_name(env: Environment) -> None:
    """Everywhere."""
    host = env.host(name="a")
    said = {"InstanceId": host, "InstanceName": "shop"}
    assert ask(env, "ModifyManagedInstance", **said)["Instance"] == said
    assert managed(env, InstanceName="shop") == ecs(env, InstanceName="shop") == [host]


@pytest.mark.parametrize("name", ["x", "x" * 129, "http://shop", "a\nb"])
def test_names_that_no_machine_may_have(env: Environment, name: str) -> None:
    """The old one stays."""
    host = env.host(name="a-b")
    assert refused(env, "ModifyManagedInstance", InstanceId=host, InstanceName=name)[0] == 400
    assert managed(env, InstanceName="a-b") == [host]


def test_another_accounts_machine_is_not_renamed(env: Environment) -> None:
    """As one that never was."""
    for host in (env.host(account=OTHER, name="theirs"), "mi-none"):
        said = {"InstanceId": host, "InstanceName": "mine"}
        assert refused(env, "ModifyManagedInstance", **said) == (404, "InvalidInstance.NotFound")
    assert managed(env, env.other_account, InstanceName="theirs") != []


def test_whether_machines_run(env: Environment) -> None:
    """Those of the account; pages without a token."""
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
