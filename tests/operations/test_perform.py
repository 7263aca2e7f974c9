"""The only way in: permission first, then parameters, then the operation; one audit row whatever happens."""

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backfleet import identity
from backfleet.ids import Draw
from backfleet.operations import _store, catalogue, perform
from backfleet.operations.catalogue import ECS, HBR, RAM, STS, Answer, Call, Operation, Product, Services, operation
from backfleet.operations.errors import Forbidden, NoPermission, StsNoPermission
from backfleet.operations.perform import Authenticated, Performer
from backfleet.settings import Settings
from backfleet.storage import Database, metadata
from backfleet.wire.errors import (
    ActionNotFound,
    ApiError,
    InternalError,
    InvalidParameter,
    InvalidVersion,
    SignatureDoesNotMatch,
    ThrottlingUser,
)
from backfleet.wire.parameters import boolean, repeat
from backfleet.wire.shapes import Anything
from made_keys import open_keys

ID = "8B1D1C0E-5B0E-4E4B-8F5A-0123456789AB"


@dataclass(frozen=True, slots=True)
class Asked:
    broken: bool | None = boolean("Broken", default=False)
    refuse: bool | None = boolean("Refuse", default=False)
    names: tuple[str, ...] = repeat("Name")


def act(call: Call, asked: Asked) -> dict[str, Any]:
    if asked.broken:
        raise RuntimeError("broken")
    if asked.refuse:
        raise InvalidParameter("Name is taken.")
    return {"Did": list(asked.names)}


def instances(call: Call, asked: Asked) -> list[str]:
    return [f"acs:ecs:{call.region}:{call.account_id}:instance/{name}" for name in asked.names]


def touching(product: Product, **more: Any) -> Operation:
    return Operation(product, "Act", Asked, act, f"{product.code}:Act", Anything, **more)


@pytest.fixture
def services(database: Database, tmp_path: Path, draw: Draw, now: datetime) -> Services:
    """The services, with the first account."""
    found = Services(database, Settings(data=tmp_path), *open_keys(tmp_path), draw)
    with database.transaction() as tx:
        assert identity.first_account(tx, found.vault, now=now, draw=draw)
    return found


@pytest.fixture
def call(services: Services, now: datetime) -> Call:
    """A call by the root of the account."""
    table = metadata.tables["accounts"]
    with services.database.reading() as tx:
        account = tx.scalar(sa.select(table.c.id))
    root = identity.Caller(account, "Account", f"acs:ram::{account}:root", account)
    return Call(ID, root, "cn-hangzhou", now, "10.0.0.1", False, services)


@pytest.fixture
def by(call: Call) -> Callable[..., Call]:
    """Return a function that gives the same call by a user with these policy statements."""

    def made(*statements: dict[str, Any]) -> Call:
        services, account, now = call.services, call.account_id, call.now
        with services.database.transaction() as tx:
            user = identity.create_user(tx, account, "ann", now=now, draw=services.draw)
            if statements:
                document = json.dumps({"Version": "1", "Statement": list(statements)})
                identity.create_policy(tx, account, "p", document, description="", now=now)
                identity.attach_policy(tx, account, "ann", "p", "Custom", now=now)
        caller = identity.Caller(account, "RAMUser", f"acs:ram::{account}:user/ann", user.id, user.id, "ann")
        return replace(call, caller=caller)

    return made


def may(action: str, resource: str = "*", effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def audited(services: Services) -> list[dict[str, Any]]:
    table = metadata.tables["audit_events"]
    with services.database.reading() as tx:
        return [dict(row._mapping) for row in tx.rows(sa.select(table))]


def perform_it(operation: Operation, call: Call, **flat: str) -> Answer:
    named = {name.replace("__", "."): value for name, value in flat.items()}
    return perform.run(perform.admit(operation, call, named, "LTAIkey"), call)


def test_a_call_is_audited(call: Call, now: datetime) -> None:
    """Who, with which key, from where, what and when; of the parameters only those that name things."""
    assert perform_it(touching(HBR), call, Name__1="hush") == {"Did": ["hush"]}
    expected = {
        "request_id": ID,
        "at": now,
        "account_id": call.account_id,
        "kind": call.caller.kind,
        "principal": call.caller.arn,
        "principal_id": call.caller.principal_id,
        "user_name": call.caller.user_name or "root",
        "access_key_id": "LTAIkey",
        "product": "hbr",
        "version": HBR.version,
        "action": "Act",
        "writes": True,
        "region": call.region,
        "source_ip": "10.0.0.1",
        "user_agent": "",
        "named": '{"Name.1": "hush"}',
        "verdict": "allowed",
        "error_code": "",
    }
    assert audited(call.services) == [expected]


@pytest.mark.parametrize(
    ("product", "error"), [(HBR, NoPermission), (STS, StsNoPermission), (ECS, Forbidden), (RAM, Forbidden)]
)
def test_each_product_refuses_in_its_own_words(
    by: Callable[..., Call], product: Product, error: type[ApiError]
) -> None:
    """403 with details; the audit trail has the code that the caller got."""
    call = by()
    with pytest.raises(error) as refused:
        perform_it(touching(product), call)
    assert refused.value.status == 403
    detail = refused.value.extra["AccessDeniedDetail"]
    assert isinstance(detail, dict)
    sealed = detail.pop("EncodedDiagnosticMessage")
    assert detail == {
        "AuthAction": f"{product.code}:Act",
        "AuthPrincipalType": "SubUser",
        "AuthPrincipalDisplayName": call.caller.user_id,
        "AuthPrincipalOwnerId": call.account_id,
        "PolicyType": "AccountLevelIdentityBasedPolicy",
        "NoPermissionType": "ImplicitDeny",
    }
    diagnosis = json.loads(call.services.vault.box("diagnoses").unseal(sealed))
    assert diagnosis["AuthResource"] == f"acs:{product.code}:cn-hangzhou:{call.account_id}:*"
    assert "user/ann" not in sealed
    assert [(row["verdict"], row["error_code"]) for row in audited(call.services)] == [("denied", error.code)]


def test_an_explicit_denial_differs_from_a_missing_permission(by: Callable[..., Call]) -> None:
    """One Deny outweighs every Allow, and the sealed diagnosis names the policy."""
    call = by(may("hbr:*"), may("hbr:Act", effect="Deny"))
    with pytest.raises(NoPermission) as refused:
        perform_it(touching(HBR), call)
    detail: Any = refused.value.extra["AccessDeniedDetail"]
    assert detail["NoPermissionType"] == "ExplicitDeny"
    opened = call.services.vault.box("diagnoses").unseal(detail["EncodedDiagnosticMessage"])
    assert '"PolicyIdentifier": "p"' in opened


def test_a_policy_on_one_vault_does_not_allow_all(by: Callable[..., Call]) -> None:
    """HBR's operations concern everything: `acs:hbr:<region>:<account>:*`."""
    call = by(may("hbr:Act", "acs:hbr:*:*:vault/v-1"))
    with pytest.raises(NoPermission):
        perform_it(touching(HBR), call)


def test_one_refused_resource_refuses_the_call(by: Callable[..., Call]) -> None:
    """The sealed diagnosis names it; a call on the others alone is allowed."""
    call = by(may("ecs:Act", "acs:ecs:*:*:instance/i-1*"))
    operation = touching(ECS, resources=instances)
    assert perform_it(operation, call, Name__1="i-1", Name__2="i-12") == {"Did": ["i-1", "i-12"]}
    with pytest.raises(Forbidden) as refused:
        perform_it(operation, replace(call, request_id="2"), Name__1="i-1", Name__2="i-2")
    detail: Any = refused.value.extra["AccessDeniedDetail"]
    assert "instance/i-2" in call.services.vault.box("diagnoses").unseal(detail["EncodedDiagnosticMessage"])


def test_naming_no_resource_means_all_of_them(by: Callable[..., Call]) -> None:
    """An empty list of resources is no way around a policy."""
    call = by(may("ecs:Act", "acs:ecs:*:*:instance/i-1"))
    with pytest.raises(Forbidden):
        perform_it(touching(ECS, resources=instances), call)


def test_permission_comes_before_parameters(by: Callable[..., Call]) -> None:
    """Without permission a caller learns nothing about parameters; a malformed request is audited with its code."""
    with pytest.raises(NoPermission):
        perform_it(touching(HBR), by(), Broken="perhaps")


def test_a_malformed_request_is_audited(call: Call) -> None:
    """It was allowed, and refused with its code."""
    with pytest.raises(InvalidParameter):
        perform_it(touching(HBR), call, Broken="perhaps")
    assert [(row["verdict"], row["error_code"]) for row in audited(call.services)] == [("allowed", "InvalidParameter")]


def test_some_operations_answer_callers_without_permission(by: Callable[..., Call]) -> None:
    """DescribeInstances gives an empty list; the audit trail has the denial all the same."""
    call = by()
    operation = touching(ECS, denied=lambda call, asked: {"Did": []})
    assert perform_it(operation, call, Name__1="i-1") == {"Did": []}
    assert [(row["verdict"], row["error_code"]) for row in audited(call.services)] == [("denied", "")]


def test_an_operation_without_an_action_needs_no_permission(by: Callable[..., Call]) -> None:
    """Every key may call it."""
    assert perform_it(replace(touching(STS), action=None), by()) == {"Did": []}


def test_a_refusal_by_the_operation_is_audited(call: Call) -> None:
    """The row has its code, and the caller gets the same."""
    with pytest.raises(InvalidParameter, match="taken"):
        perform_it(touching(HBR), call, Refuse="true")
    assert [row["error_code"] for row in audited(call.services)] == ["InvalidParameter"]


def test_an_unexpected_failure_is_logged_and_not_shown(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    """The log has the traceback under the request id; the caller gets one sentence."""
    with pytest.raises(InternalError) as raised:
        perform_it(touching(HBR), call, Broken="true")
    assert "broken" not in raised.value.message
    assert [row["error_code"] for row in audited(call.services)] == ["InternalError"]
    record = next(record for record in caplog.records if record.exc_info)
    assert vars(record)["request_id"] == ID


def test_conditions_know_the_call(by: Callable[..., Call], call: Call) -> None:
    """Address, time, transport and principal."""
    arn = f"acs:ram::{call.account_id}:user/*"
    strict = {
        "IpAddress": {"acs:SourceIp": "10.0.0.0/8"},
        "DateLessThan": {"acs:CurrentTime": "2026-01-02T03:04:06Z"},
        "Bool": {"acs:SecureTransport": "true"},
        "StringLike": {"acs:PrincipalARN": arn},
    }
    asking = by(may("hbr:Act", Condition=strict))
    assert perform_it(touching(HBR), replace(asking, secure=True)) == {"Did": []}
    for number, odd in enumerate(({"secure": False}, {"secure": True, "source_ip": "11.0.0.1"})):
        with pytest.raises(NoPermission):
            perform_it(touching(HBR), replace(asking, request_id=str(number), **odd))


def test_old_audit_rows_are_deleted(call: Call, now: datetime) -> None:
    """Rows older than the moment go, the others stay."""
    perform_it(touching(HBR), call)
    with call.services.database.transaction() as tx:
        _store.delete_before(tx, now)
    assert len(audited(call.services)) == 1
    with call.services.database.transaction() as tx:
        assert not _store.delete_before(tx, now.replace(year=now.year + 1)), "there is no more to do"
    assert audited(call.services) == []


# --- The catalogue --------------------------------------------------------------------------------------------------


@pytest.fixture
def empty_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_OPERATIONS", {})


@pytest.mark.usefixtures("empty_catalogue")
def test_an_operation_is_entered_once_and_found_by_version_and_name() -> None:
    """The request's type is read from the function; the same name in another product is another operation."""
    operation(HBR, "Act", action="hbr:Act")(act)
    operation(ECS, "Act", action="ecs:Act")(act)
    found = catalogue.find("2017-09-08", "Act")
    assert (found.product, found.request, found.run) == (HBR, Asked, act)
    assert [found.product.code for found in catalogue.every_operation()] == ["ecs", "hbr"]
    with pytest.raises(ValueError, match="twice"):
        operation(HBR, "Act", action="hbr:Act")(act)
    with pytest.raises(ActionNotFound):
        catalogue.find("2017-09-08", "act")
    with pytest.raises(InvalidVersion):
        catalogue.find("2017-09-09", "Act")


def test_every_operation_has_the_action_of_its_name() -> None:
    """`<product>:<Operation>`, as the RAM tables have it, or none; and its function has a docstring."""
    for found in catalogue.every_operation():
        assert found.action in (None, f"{found.product.code}:{found.name}"), found.name
        assert found.run.__doc__, found.name


# --- Performer ------------------------------------------------------------------------------------------------------


@pytest.fixture
def performer(services: Services) -> Iterator[Performer]:
    """One whose accounts may make two calls of each operation at once."""
    few = replace(services, settings=replace(services.settings, calls_per_second=1, calls_burst=2))
    found = Performer(few)
    yield found
    found.close()


async def test_every_endpoint_is_throttled(performer: Performer, call: Call) -> None:
    """The third call of a burst of two is refused, and the refusal says when to call again."""
    numbers = itertools.count()

    def authenticate() -> Authenticated:
        return Authenticated(replace(call, request_id=f"request-{next(numbers)}"))

    for _ in range(2):
        assert await performer.perform(touching(HBR), {"Name.1": "a"}, authenticate) == {"Did": ["a"]}
    with pytest.raises(ThrottlingUser) as refusal:
        await performer.perform(touching(HBR), {}, authenticate)
    assert int(refusal.value.headers["x-acs-retry-after"]) > 0
    assert await performer.perform(touching(ECS), {}, authenticate) == {"Did": []}, (
        "another operation has its own calls"
    )


async def test_the_work_is_done_in_a_thread_of_the_performer(performer: Performer, call: Call) -> None:
    """The event loop is never blocked: authentication, decision and operation run elsewhere."""
    names = list[str]()

    def authenticate() -> Authenticated:
        names.append(threading.current_thread().name)
        return Authenticated(call)

    await performer.perform(touching(HBR), {}, authenticate)
    assert names[0].startswith("api")


async def test_a_refused_caller_spends_nothing(performer: Performer, call: Call) -> None:
    """Authentication comes first: without it no call is counted and nothing is audited."""

    def refuse() -> Authenticated:
        raise SignatureDoesNotMatch("x")

    for _ in range(5):
        with pytest.raises(SignatureDoesNotMatch):
            await performer.perform(touching(HBR), {}, refuse)
    assert audited(call.services) == []
    await performer.perform(touching(HBR), {}, lambda: Authenticated(call))


async def test_an_upload_is_admitted_before_it_runs(performer: Performer, call: Call) -> None:
    """The audit row is there before the file is, and gets the error if the file is refused."""
    authenticated = Authenticated(call, "LTAIkey")
    await performer.admit(touching(HBR), {}, authenticated)
    await performer.note_failure(call, "Wrong")
    assert [(row["access_key_id"], row["error_code"]) for row in audited(call.services)] == [("LTAIkey", "Wrong")]
