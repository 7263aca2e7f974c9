"""Activations: making, listing, disabling and deleting the codes with which hosts enrol."""

from datetime import timedelta
from typing import Any

import pytest

from backfleet import fleet
from operations.environment import REGION, Environment

ECS = "2014-05-26"


def make(env: Environment, caller: Any = None, **fields: Any) -> dict[str, Any]:
    status, answer = env.ask(ECS, "CreateActivation", caller, RegionId=REGION, **fields)
    assert status == 200, answer
    return answer


def listed(env: Environment, caller: Any = None, **fields: Any) -> dict[str, Any]:
    status, answer = env.ask(ECS, "DescribeActivations", caller, RegionId=REGION, **fields)
    assert status == 200, answer
    return answer


def test_a_code_is_shown_once(env: Environment) -> None:
    """The list has everything but the code."""
    made = make(
        env, InstanceCount="3", TimeToLiveInHours="2", InstanceName="web", Description="shop",
        IpAddressRange="10.0.0.0/8",
    )  # fmt: skip
    assert made["ActivationCode"].startswith("a-")
    (found,) = listed(env)["ActivationList"]
    assert found == {
        "ActivationId": made["ActivationId"], "InstanceName": "web", "Description": "shop", "InstanceCount": 3,
        "RegisteredCount": 0, "DeregisteredCount": 0, "TimeToLiveInHours": 2, "IpAddressRange": "10.0.0.0/8",
        "Disabled": False, "CreationTime": "2026-01-02T03:04:05Z", "ResourceGroupId": "", "Tags": [],
    }  # fmt: skip
    assert made["ActivationCode"] not in str(listed(env))


def test_optional_parameters_have_defaults(env: Environment) -> None:
    """Ten hosts, four hours."""
    make(env)
    (found,) = listed(env)["ActivationList"]
    assert (found["InstanceCount"], found["TimeToLiveInHours"], found["InstanceName"]) == (10, 4, "")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param({"InstanceCount": "0"}, "ActivationCount.ExceedLimit", id="no host"),
        pytest.param({"InstanceCount": "1001"}, "ActivationCount.ExceedLimit", id="too many hosts"),
        pytest.param({"InstanceCount": "many"}, "ActivationCount.ExceedLimit", id="no number of hosts"),
        pytest.param({"TimeToLiveInHours": "0"}, "ActivationTTL.ExceedLimit", id="no time"),
        pytest.param({"TimeToLiveInHours": "25"}, "ActivationTTL.ExceedLimit", id="too long a time"),
        pytest.param({"InstanceName": "x" * 51}, "InstanceName.ExceedLimit", id="too long a name"),
        pytest.param({"InstanceName": "x"}, "InstanceName.ExceedLimit", id="too short a name"),
        pytest.param({"InstanceName": "1web"}, "InstanceName.InvalidPattern", id="a name that begins with a digit"),
        pytest.param({"InstanceName": "http://web"}, "InstanceName.InvalidPattern", id="an address for a name"),
        pytest.param({"Description": "x" * 101}, "ActivationDesc.ExceedLimit", id="too long a description"),
        pytest.param({"IpAddressRange": "here"}, "AddressRange.InvalidPattern", id="no network"),
        pytest.param({"IpAddressRange": "10.0.0.0/33"}, "AddressRange.InvalidPattern", id="too long a mask"),
    ],
)
def test_bad_parameters_are_refused(env: Environment, fields: dict[str, str], code: str) -> None:
    """With the code of the table, and nothing is made."""
    status, answer = env.ask(ECS, "CreateActivation", RegionId=REGION, **fields)
    assert (status, answer["Code"]) == (400, code)
    assert listed(env)["TotalCount"] == 0


@pytest.mark.parametrize("action", ["CreateActivation", "DescribeActivations"])
def test_the_region_is_required_and_must_be_ours(env: Environment, action: str) -> None:
    """Each with its code."""
    assert env.ask(ECS, action)[1]["Code"] == "MissingParameter"
    status, answer = env.ask(ECS, action, RegionId="cn-beijing")
    assert (status, answer["Code"]) == (404, "InvalidRegionId.NotFound")


def test_every_activation_is_on_one_page(env: Environment) -> None:
    """Newest first, by number and by token."""
    wanted = []
    for _ in range(12):
        env.now += timedelta(seconds=1)
        wanted.insert(0, make(env)["ActivationId"])
    numbered = [listed(env, PageNumber=str(n), PageSize="5") for n in (1, 2, 3, 4)]
    assert [[a["ActivationId"] for a in page["ActivationList"]] for page in numbered] == [
        wanted[:5], wanted[5:10], wanted[10:], [],
    ]  # fmt: skip
    assert {(p["PageSize"], p["TotalCount"]) for p in numbered} == {(5, 12)}
    assert [bool(p["NextToken"]) for p in numbered] == [True, True, False, False]
    first = listed(env, MaxResults="3")  # below ten becomes ten
    assert [a["ActivationId"] for a in first["ActivationList"]] == wanted[:10]
    second = listed(env, NextToken=first["NextToken"], PageNumber="7")
    assert [a["ActivationId"] for a in second["ActivationList"]] == wanted[10:]
    assert second["NextToken"] == ""


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param({"PageNumber": "0"}, "InvalidParam.PageNumber", id="page 0"),
        pytest.param({"PageNumber": "1000001"}, "InvalidParam.PageNumber", id="a page beyond all"),
        pytest.param({"PageSize": "51"}, "InvalidParam.PageSize", id="too large a page"),
        pytest.param({"PageSize": "ten"}, "InvalidParam.PageSize", id="no number"),
        pytest.param({"NextToken": "p0"}, "InvalidParameter.NextToken", id="an invented token"),
        pytest.param({"MaxResults": "x"}, "InvalidParameter.MaxResults", id="no number of results"),
    ],
)
def test_bad_pages_are_refused(env: Environment, fields: dict[str, str], code: str) -> None:
    """With the codes of the table."""
    status, answer = env.ask(ECS, "DescribeActivations", RegionId=REGION, **fields)
    assert (status, answer["Code"]) == (400, code)


def test_activations_can_be_filtered(env: Environment) -> None:
    """By id and by name."""
    one, two = make(env, InstanceName="web"), make(env, InstanceName="db")
    assert [a["ActivationId"] for a in listed(env, InstanceName="db")["ActivationList"]] == [two["ActivationId"]]
    found = listed(env, ActivationId=one["ActivationId"])["ActivationList"]
    assert [a["ActivationId"] for a in found] == [one["ActivationId"]]


def test_other_accounts_see_nothing(env: Environment) -> None:
    """The id of an activation of another account does not exist."""
    made = make(env)
    assert listed(env, env.other_account, ActivationId=made["ActivationId"])["TotalCount"] == 0
    assert listed(env, env.other_account)["ActivationList"] == []


def test_callers_without_permission_are_refused(env: Environment) -> None:
    """Nothing is made."""
    nobody = env.user("nobody")
    for action in ("CreateActivation", "DescribeActivations"):
        status, answer = env.ask(ECS, action, nobody, RegionId=REGION)
        assert (status, answer["Code"]) == (403, "Forbidden.RAM")
    assert listed(env)["TotalCount"] == 0


def test_hosts_of_an_activation_are_counted(env: Environment) -> None:
    """Registered and deregistered ones."""
    host = env.host()
    (found,) = listed(env)["ActivationList"]
    assert (found["RegisteredCount"], found["DeregisteredCount"]) == (1, 0)
    with env.services.database.transaction() as tx:
        fleet.deregister(tx, host, now=env.now)
    (found,) = listed(env)["ActivationList"]
    assert (found["RegisteredCount"], found["DeregisteredCount"]) == (1, 1)


# --- Ending ---------------------------------------------------------------------------------------------------------


def test_a_disabled_code_enrols_nobody(env: Environment) -> None:
    """It stays in the list, and hosts that have enrolled stay."""
    made = make(env)
    status, answer = env.ask(ECS, "DisableActivation", RegionId=REGION, ActivationId=made["ActivationId"])
    assert (status, answer["Activation"]["Disabled"]) == (200, True)
    assert [a["Disabled"] for a in listed(env)["ActivationList"]] == [True]
    with env.services.database.transaction() as tx:
        known = fleet.activation(tx, env.root.account_id, REGION, made["ActivationId"])
    assert known is not None
    assert known.refusal(made["ActivationCode"], "10.0.0.1", env.now) == "the activation is disabled"


def test_an_activation_in_use_cannot_be_deleted(env: Environment) -> None:
    """Once its host is deregistered, it can."""
    unused = make(env)["ActivationId"]
    assert env.ask(ECS, "DeleteActivation", RegionId=REGION, ActivationId=unused)[0] == 200
    assert listed(env)["TotalCount"] == 0
    host = env.host()
    (used,) = listed(env)["ActivationList"]
    status, answer = env.ask(ECS, "DeleteActivation", RegionId=REGION, ActivationId=used["ActivationId"])
    assert (status, answer["Code"], listed(env)["TotalCount"]) == (403, "Activation.Used", 1)
    env.ask(ECS, "DeregisterManagedInstance", RegionId=REGION, InstanceId=host)
    assert env.ask(ECS, "DeleteActivation", RegionId=REGION, ActivationId=used["ActivationId"])[0] == 200


@pytest.mark.parametrize("action", ["DisableActivation", "DeleteActivation"])
def test_an_activation_of_another_account_does_not_exist(env: Environment, action: str) -> None:
    """The answer is that for an unknown id, and it stays as it is."""
    made = make(env)["ActivationId"]
    for named in (made, "none"):
        status, answer = env.ask(ECS, action, env.other_account, RegionId=REGION, ActivationId=named)
        assert (status, answer["Code"]) == (404, "InvalidActivationId.NotFound")
    assert [a["Disabled"] for a in listed(env)["ActivationList"]] == [False]
