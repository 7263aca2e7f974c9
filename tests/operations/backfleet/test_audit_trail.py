"""LookupEvents: events as ActionTrail words them, in parts, of one account only, and without secrets."""

import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backfleet import identity
from backfleet.operations import audit_event
from backfleet.operations._tables import audit_events
from backfleet.operations.catalogue import BACKFLEET, HBR, Operation, every_operation
from backfleet.wire.parameters import Parameter, parameters_of
from operations.environment import OTHER, Environment
from operations.hbr.conftest import data, env

__all__ = ["data", "env"]

FORM = "%Y-%m-%dT%H:%M:%SZ"


def lookup(env: Environment, caller: identity.Caller | None = None, **fields: Any) -> dict[str, Any]:
    status, body = env.ask(BACKFLEET.version, "LookupEvents", caller, **fields)
    assert status == 200, body
    return body


def names(env: Environment, **fields: Any) -> list[str]:
    return [event["eventName"] for event in lookup(env, **fields)["Events"]]


def attributes(**wanted: str) -> dict[str, str]:
    flat = {}
    for number, (key, value) in enumerate(wanted.items(), 1):
        flat |= {f"LookupAttribute.{number}.Key": key, f"LookupAttribute.{number}.Value": value}
    return flat


@pytest.fixture
def busy(env: Environment) -> Environment:
    """An account after a day of calls by several people, some of them refused."""
    ann = env.user("ann", "AliyunHBRReadOnlyAccess")
    for action, caller, fields in (
        ("DescribeBackupClients", None, {"ClientType": "ECS_CLIENT"}),
        ("UpgradeBackupClients", None, {"InstanceIds": ["mi-none"]}),
        ("DescribeTask", ann, {"TaskId": "t-none"}),
        ("UpgradeBackupClients", ann, {"InstanceIds": ["mi-none"]}),
        ("DescribeBackupClients", env.other_account, {"ClientType": "ECS_CLIENT"}),
    ):
        env.now += timedelta(minutes=1)
        env.ask(HBR.version, action, caller, **fields)
    env.now += timedelta(minutes=1)
    return env


def test_an_event_shows_who_did_what_and_how_it_ended(busy: Environment) -> None:
    """As ActionTrail words it."""
    newest = lookup(busy, **attributes(User="ann"))["Events"][0]
    assert newest["eventName"] == "UpgradeBackupClients"
    assert newest["userIdentity"]["type"] == "ram-user"
    assert newest["userIdentity"]["userName"] == "ann"
    assert newest["userIdentity"]["accessKeyId"] == "LTAItest"
    assert newest["recipientAccountId"] == newest["userIdentity"]["accountId"] == busy.root.account_id
    assert (newest["eventRW"], newest["serviceName"], newest["apiVersion"]) == ("Write", "Hbr", HBR.version)
    assert (newest["sourceIpAddress"], newest["acsRegion"], newest["eventType"]) == (
        "10.0.0.7",
        "cn-hangzhou",
        "ApiCall",
    )
    assert newest["requestParameters"] == {"InstanceIds": '["mi-none"]'}
    assert newest["eventTime"] == (busy.now - timedelta(minutes=2)).strftime(FORM)
    assert (newest["errorCode"], newest["additionalEventData"]["verdict"]) == ("NoPermission", "denied")
    assert newest["eventId"] == newest["requestId"]


FOUND = [
    pytest.param(
        {}, ["UpgradeBackupClients", "DescribeTask", "UpgradeBackupClients", "DescribeBackupClients"], id="all"
    ),
    pytest.param(
        {"Direction": "FORWARD"},
        ["DescribeBackupClients", "UpgradeBackupClients", "DescribeTask", "UpgradeBackupClients", "LookupEvents"],
        id="oldest first",
    ),
    pytest.param(attributes(EventName="DescribeTask"), ["DescribeTask"], id="a name"),
    pytest.param(attributes(User="ann", EventRW="Read"), ["DescribeTask"], id="a user's reads"),
    pytest.param(attributes(Verdict="denied"), ["UpgradeBackupClients"], id="refused"),
    pytest.param(attributes(ErrorCode="TaskNotFound"), ["DescribeTask"], id="an error"),
    pytest.param(attributes(ServiceName="Ram"), [], id="another service"),
    pytest.param(attributes(EventRW="Sideways"), [], id="neither read nor write"),
    pytest.param(attributes(EventAccessKeyId="LTAInone"), [], id="another key"),
    pytest.param({"EndTime": "2025-01-01T00:00:00Z"}, [], id="too early"),
]


@pytest.mark.parametrize(("fields", "expected"), FOUND)
def test_events_can_be_filtered(busy: Environment, fields: dict[str, str], expected: list[str]) -> None:
    """A LookupEvents call is an event too, for later calls."""
    found = names(busy, **fields)
    assert [name for name in found if name != "LookupEvents" or fields.get("Direction")] == expected


@pytest.mark.parametrize("name", ["StartTime", "EndTime"])
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "0001-01-05T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_the_first_and_the_last_moment_can_be_asked_for(env: Environment, name: str, moment: str) -> None:
    """The week before them may lie outside the calendar."""
    status, body = env.ask(BACKFLEET.version, "LookupEvents", **{name: moment})
    assert (status, body[name]) == (200, moment)


def test_another_account_sees_only_its_own_events(busy: Environment) -> None:
    """None of ours."""
    found = lookup(busy, busy.other_account)["Events"]
    assert {event["recipientAccountId"] for event in found} == {OTHER}
    assert "DescribeBackupClients" in [event["eventName"] for event in found]


@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize("direction", ["BACKWARD", "FORWARD"])
def test_every_event_is_in_one_part(env: Environment, size: int, direction: str) -> None:
    """Also where many happened at the same time."""
    for _ in range(7):
        env.ask(HBR.version, "DescribeRegions")
    env.now += timedelta(seconds=1)
    wanted = {**attributes(EventName="DescribeRegions"), "Direction": direction, "MaxResults": str(size)}
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        part = lookup(env, **wanted, **token)
        assert len(part["Events"]) <= size
        seen += [event["eventId"] for event in part["Events"]]
        if "NextToken" not in part:
            break
        token = {"NextToken": part["NextToken"]}
    assert len(seen) == len(set(seen)) == 7
    assert seen == sorted(seen, reverse=direction == "BACKWARD")


def test_new_events_do_not_shift_the_parts(env: Environment) -> None:
    """The next part begins after the last event, not at a number."""
    for _ in range(4):
        env.now += timedelta(seconds=1)
        env.ask(HBR.version, "DescribeRegions")
    wanted = {**attributes(EventName="DescribeRegions"), "MaxResults": "2"}
    first = lookup(env, **wanted)
    env.now += timedelta(seconds=1)
    env.ask(HBR.version, "DescribeRegions")
    second = lookup(env, **wanted, NextToken=first["NextToken"])
    times = [event["eventTime"] for event in first["Events"] + second["Events"]]
    assert times == sorted(set(times), reverse=True)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param({"StartTime": "yesterday"}, "InvalidParameter", id="a time in words"),
        pytest.param({"StartTime": "\uff12026-01-02T03:04:05Z"}, "InvalidParameter", id="a digit of another script"),
        pytest.param({"EndTime": "2026-02-30T00:00:00Z"}, "InvalidParameter", id="a day there is not"),
        pytest.param({"Direction": "UP"}, "InvalidParameter", id="another direction"),
        pytest.param({"MaxResults": "0"}, "InvalidParameter", id="nothing"),
        pytest.param({"MaxResults": "201"}, "InvalidParameter", id="too much"),
        pytest.param({"NextToken": "x"}, "InvalidParameter", id="an invented token"),
        pytest.param({"NextToken": "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTkgeA"}, "InvalidParameter", id="beyond time"),
        pytest.param(attributes(Colour="red"), "InvalidParameter", id="no such attribute"),
        pytest.param({"LookupAttribute.1.Key": "User"}, "MissingParameter", id="no value"),
        pytest.param({"LookupAttribute.1.Value": "ann"}, "MissingParameter", id="no key"),
    ],
)
def test_bad_filters_are_refused(env: Environment, fields: dict[str, str], code: str) -> None:
    """Each with one clear error."""
    status, body = env.ask(BACKFLEET.version, "LookupEvents", **fields)
    assert (status, body["Code"]) == (400, code)


@settings(suppress_health_check=list(HealthCheck), max_examples=50)
@given(token=st.text(max_size=40))
def test_any_token_is_accepted_or_refused(env: Environment, token: str) -> None:
    """Callers may invent them."""
    status, _ = env.ask(BACKFLEET.version, "LookupEvents", NextToken=token)
    assert status in (200, 400)


# --- Secrets --------------------------------------------------------------------------------------------------------


EVERY = pytest.mark.parametrize("operation", every_operation(), ids=lambda operation: operation.name)
SECRET = "hush-hush"


def sent(operation: Operation) -> dict[str, str]:
    """Return a secret for every parameter that does not name a resource, and a name for the others."""
    flat = {}
    for parameter in parameters_of(operation.request):
        value = "x1" if audit_event._is_kept(parameter) else f"{SECRET}-{parameter.name}"
        repeated = parameter.kind.startswith("repeat")
        flat[f"{parameter.name}.1.Value" if repeated else parameter.name] = value
    return flat


@EVERY
def test_no_secret_gets_into_the_audit_trail(
    env: Environment, operation: Operation, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor into the log, whatever a caller sends to any operation."""
    caplog.set_level(logging.DEBUG)
    before = len(_rows(env))
    env.ask(operation.product.version, operation.name, **sent(operation))
    rows = _rows(env)
    assert len(rows) == before + 1
    assert SECRET not in "".join(rows) + caplog.text


def _rows(env: Environment) -> list[str]:
    with env.services.database.reading() as tx:
        return [str(row) for row in tx.rows(audit_events.select())]


SENSITIVE = {
    "CommandContent", "Content", "Parameters", "PolicyDocument", "Policy", "AssumeRolePolicyDocument", "OIDCToken",
    "ProxyPassword", "ProxyUser", "ClientInfo", "ClientToken", "EncodedDiagnosticMessage", "Keys", "ExternalId",
}  # fmt: skip


@EVERY
def test_only_parameters_that_name_resources_are_kept(operation: Operation) -> None:
    """None that may be a secret, a document or a script."""
    flat = {parameter.name: "x" for parameter in parameters_of(operation.request)}
    kept = audit_event.parameters_to_keep(parameters_of(operation.request), flat)
    assert not kept.keys() & (SENSITIVE - {"ExternalId"})


def test_kept_parameters_are_bounded() -> None:
    """However much was sent."""
    parameter = Parameter("InstanceId", "repeat list", lambda flat: None, lambda value: [])
    flat = {f"InstanceId.{number}": "i" * 1000 for number in range(1000)} | {"Other": "x", "InstanceIdentity": "x"}
    kept = audit_event.parameters_to_keep([parameter], flat)
    assert len(kept) == audit_event.MOST_PARAMETERS
    assert {len(value) for value in kept.values()} == {audit_event.LONGEST_VALUE}
    assert len(json.dumps(kept)) < 32 * 1024


def test_a_reason_is_kept_as_long_as_it_may_be() -> None:
    """It is why somebody put a pin, or took one away."""
    parameter = Parameter("Reason", "string", lambda flat: None, lambda value: [])
    kept = audit_event.parameters_to_keep([parameter], {"Reason": "r" * 1000})
    assert kept == {"Reason": "r" * audit_event.LONGEST_REASON}
