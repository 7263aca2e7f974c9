"""Every operation of RAM and STS: it is fully described, needs permission, and shows nothing of other accounts."""

import json
from typing import Any

import pytest

from backfleet.operations.catalogue import RAM, STS, Operation, every_operation
from backfleet.operations.ram.errors import REFUSALS
from backfleet.wire.errors import ApiError
from backfleet.wire.parameters import parameters_of
from backfleet.wire.shapes import Anything

OURS = [found for found in every_operation() if found.product in (RAM, STS)]
EVERY = pytest.mark.parametrize("operation", OURS, ids=lambda operation: operation.name)
GUARDED = pytest.mark.parametrize(
    "operation", [found for found in OURS if found.action], ids=lambda operation: operation.name
)
LOCAL = ("ListPolicies", "DecodeDiagnosticMessage")


def something(operation: Operation, **known: str) -> dict[str, str]:
    """Return a value for each required parameter."""
    known = {"PolicyType": "Custom", "VersionId": "v1", "Status": "Active", "RoleSessionName": "session", **known}
    return {
        parameter.name: known.get(parameter.name, "x1")
        for parameter in parameters_of(operation.request)
        if parameter.required
    }


@EVERY
def test_every_operation_is_described(operation: Operation) -> None:
    """Its answer, its permission, and each error once, with its own code and a 4xx status."""
    assert operation.answer is not Anything
    assert operation.needs_tls
    assert operation.action in (None, f"{operation.product.code}:{operation.name}")
    codes = [error.code for error in operation.errors]
    assert sorted(set(codes)) == sorted(codes)
    for error in operation.errors:
        assert error.code != ApiError.code
        assert 400 <= error.status < 500
        assert error.__doc__


def test_every_error_belongs_to_an_operation() -> None:
    """No code of the table is unused."""
    fields = {error.code for operation in OURS for error in operation.errors}
    assert set(REFUSALS) <= fields


@GUARDED
def test_callers_without_permission_are_refused(ram: Any, operation: Operation) -> None:
    """Before parameters are checked."""
    ram("CreateUser", UserName="nobody")
    nobody = ram.as_user("nobody")
    code = "NoPermission" if operation.product is STS else "Forbidden.RAM"
    for fields in ({}, something(operation)):
        answer = nobody.ask(operation.product.version, operation.name, fields)
        assert (answer["Status"], answer["Code"]) == (403, code)
        assert answer["AccessDeniedDetail"]["AuthAction"] == operation.action


@GUARDED
def test_a_missing_parameter_is_named(ram: Any, operation: Operation) -> None:
    """The first required one."""
    needed = list(something(operation))
    if needed:
        answer = ram.ask(operation.product.version, operation.name, {})
        assert (answer["Status"], answer["Code"]) == (400, "MissingParameter")
        assert answer["Message"].startswith(needed[0])


NAMES = {
    "UserName": "ann", "GroupName": "ops", "RoleName": "Ops", "PolicyName": "Own", "OIDCProviderName": "hub",
    "NewDescription": "x",
    "PolicyDocument": '{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
}  # fmt: skip


@GUARDED
def test_another_account_learns_nothing(filled: Any, elsewhere: Any, operation: Operation) -> None:
    """The answer is that of an empty server, and nothing is changed."""
    if operation.name.startswith("Create") and operation.name not in ("CreatePolicyVersion", "CreateAccessKey"):
        return  # there they make their own
    fields = something(operation, **NAMES, UserAccessKeyId=filled.key)
    if operation.name == "CreateAccessKey":  # it would be the caller's own if nobody were named
        fields["UserName"] = NAMES["UserName"]
    before = filled.everything()
    there = elsewhere.ask(operation.product.version, operation.name, fields)
    nowhere = elsewhere.ask(
        operation.product.version,
        operation.name,
        {**fields, **{k: f"{v}-none" for k, v in fields.items() if k in NAMES and k.endswith("Name")}},
    )
    assert there.get("Code") == nowhere.get("Code")
    assert there.get("Code", "") != "InternalError"
    if "Code" not in there:
        assert operation.name.startswith(("List", "Get")) or operation.name in LOCAL
        assert not any(name in str(there) for name in ("'ann'", "'ops'", "'Own'", "'hub'"))
    assert filled.everything() == before


class Filled:
    """An account that has one of everything."""

    def __init__(self, ram: Any) -> None:
        self.ram = ram
        ram("CreateUser", UserName="ann")
        self.key = ram("CreateAccessKey", UserName="ann")["AccessKey"]["AccessKeyId"]
        ram("CreateGroup", GroupName="ops")
        ram("CreatePolicy", PolicyName="Own", PolicyDocument=NAMES["PolicyDocument"])
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": "acs:ram::1:root"}}
        document = json.dumps({"Version": "1", "Statement": [trust]})
        ram("CreateRole", RoleName="Ops", AssumeRolePolicyDocument=document)

    def everything(self) -> list[Any]:
        ram = self.ram
        own = {"PolicyName": "Own", "PolicyType": "Custom"}
        return [
            ram("GetUser", UserName="ann"), ram("GetGroup", GroupName="ops"), ram("GetRole", RoleName="Ops"),
            ram("ListPolicyVersions", **own), ram("ListAccessKeys", UserName="ann"),
            ram("ListEntitiesForPolicy", **own),
        ]  # fmt: skip


@pytest.fixture
def filled(ram: Any) -> Filled:
    return Filled(ram)
