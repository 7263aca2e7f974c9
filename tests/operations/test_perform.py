"""The only way in: permission first, then parameters, then the deed; one row of audit whatever happens."""

import json
from collections.abc import Callable
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
from backfleet.releases import Repository
from backfleet.settings import Settings
from backfleet.storage import Database, metadata
from backfleet.wire.errors import ActionNotFound, ApiError, InternalError, InvalidParameter, InvalidVersion
from backfleet.wire.parameters import boolean, repeat
from backfleet.wire.shapes import Anything

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
    return Operation(product, "Act", Asked, f"{product.code}:Act", act, Anything, **more)


@pytest.fixture
def services(database: Database, tmp_path: Path, draw: Draw, now: datetime) -> Services:
    """A services with its first account."""
    found = Services(
        database, Settings(data=tmp_path), identity.Vault.open(tmp_path), Repository.open(tmp_path), draw
    )  # fmt: skip
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
    """The same call by a user with these statements."""

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


def test_what_was_done_is_on_the_trail(call: Call, now: datetime) -> None:
    """Who, with which key, from where, what, when; and no parameter but those that name things."""
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
    """403 with details; the trail has what the caller was told."""
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


def test_a_denial_is_told_from_silence(by: Callable[..., Call]) -> None:
    """One Deny outweighs every Allow, and the sealed diagnosis names the policy."""
    call = by(may("hbr:*"), may("hbr:Act", effect="Deny"))
    with pytest.raises(NoPermission) as refused:
        perform_it(touching(HBR), call)
    detail: Any = refused.value.extra["AccessDeniedDetail"]
    assert detail["NoPermissionType"] == "ExplicitDeny"
    opened = call.services.vault.box("diagnoses").unseal(detail["EncodedDiagnosticMessage"])
    assert '"PolicyIdentifier": "p"' in opened


def test_a_policy_on_one_vault_is_not_one_on_all(by: Callable[..., Call]) -> None:
    """HBR's operations are about everything: `acs:hbr:<region>:<account>:*`."""
    call = by(may("hbr:Act", "acs:hbr:*:*:vault/v-1"))
    with pytest.raises(NoPermission):
        perform_it(touching(HBR), call)


def test_one_resource_that_may_not_be_touched_refuses_it_all(by: Callable[..., Call]) -> None:
    """The refusal names it, sealed; the allowed ones alone are allowed."""
    call = by(may("ecs:Act", "acs:ecs:*:*:instance/i-1*"))
    operation = touching(ECS, resources=instances)
    assert perform_it(operation, call, Name__1="i-1", Name__2="i-12") == {"Did": ["i-1", "i-12"]}
    with pytest.raises(Forbidden) as refused:
        perform_it(operation, replace(call, request_id="2"), Name__1="i-1", Name__2="i-2")
    detail: Any = refused.value.extra["AccessDeniedDetail"]
    assert "instance/i-2" in call.services.vault.box("diagnoses").unseal(detail["EncodedDiagnosticMessage"])


def test_naming_nothing_is_asking_about_everything(by: Callable[..., Call]) -> None:
    """An empty list of resources is no way around a policy."""
    call = by(may("ecs:Act", "acs:ecs:*:*:instance/i-1"))
    with pytest.raises(Forbidden):
        perform_it(touching(ECS, resources=instances), call)


def test_who_may_not_ask_learns_nothing_of_how(by: Callable[..., Call]) -> None:
    """Permission comes before parameters; for those who may, the malformed request is on the trail with its code."""
    with pytest.raises(NoPermission):
        perform_it(touching(HBR), by(), Broken="perhaps")


def test_a_malformed_request_is_on_the_trail(call: Call) -> None:
    """Allowed, and refused with its code."""
    with pytest.raises(InvalidParameter):
        perform_it(touching(HBR), call, Broken="perhaps")
    assert [(row["verdict"], row["error_code"]) for row in audited(call.services)] == [("allowed", "InvalidParameter")]


def test_some_operations_have_an_answer_for_those_who_may_not(by: Callable[..., Call]) -> None:
    """DescribeInstances gives an empty list; the trail has the denial all the same."""
    call = by()
    operation = touching(ECS, denied=lambda call, asked: {"Did": []})
    assert perform_it(operation, call, Name__1="i-1") == {"Did": []}
    assert [(row["verdict"], row["error_code"]) for row in audited(call.services)] == [("denied", "")]


def test_an_operation_without_an_action_needs_no_permission(by: Callable[..., Call]) -> None:
    """Whoever has a key may ask."""
    assert perform_it(replace(touching(STS), action=None), by()) == {"Did": []}


def test_a_refusal_of_the_operation_completes_the_row(call: Call) -> None:
    """Its code, and the caller is told the same."""
    with pytest.raises(InvalidParameter, match="taken"):
        perform_it(touching(HBR), call, Refuse="true")
    assert [row["error_code"] for row in audited(call.services)] == ["InvalidParameter"]


def test_what_breaks_is_logged_and_not_told(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    """The traceback under the request id; to the caller one sentence."""
    with pytest.raises(InternalError) as told:
        perform_it(touching(HBR), call, Broken="true")
    assert "broken" not in told.value.message
    assert [row["error_code"] for row in audited(call.services)] == ["InternalError"]
    record = next(record for record in caplog.records if record.exc_info)
    assert vars(record)["request_id"] == ID


def test_conditions_know_the_call(by: Callable[..., Call], call: Call) -> None:
    """Address, time, transport and principal."""
    arn = f"acs:ram::{call.account_id}:user/*"
    strict = {
        "IpAddress": {"acs:SourceIp": "10.0.0.0/8"},
        "DateLessThan": {"acs:CurrentTime": "2026-01-02T03:04:06Z"},
        "Bool": {"acs:SecureTransport": "true", "acs:MFAPresent": "false"},
        "StringLike": {"acs:PrincipalARN": arn},
    }
    asking = by(may("hbr:Act", Condition=strict))
    assert perform_it(touching(HBR), replace(asking, secure=True)) == {"Did": []}
    for number, odd in enumerate(({"secure": False}, {"secure": True, "source_ip": "11.0.0.1"})):
        with pytest.raises(NoPermission):
            perform_it(touching(HBR), replace(asking, request_id=str(number), **odd))


def test_a_trail_is_not_kept_for_ever(call: Call, now: datetime) -> None:
    """Rows older than the moment go, the others stay."""
    perform_it(touching(HBR), call)
    with call.services.database.transaction() as tx:
        _store.drop_before(tx, now)
    assert len(audited(call.services)) == 1
    with call.services.database.transaction() as tx:
        assert not _store.drop_before(tx, now.replace(year=now.year + 1)), "there is no more to do"
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
    """`<product>:<Operation>`, as the RAM tables have it, or none; and its function is explained."""
    for found in catalogue.every_operation():
        assert found.action in (None, f"{found.product.code}:{found.name}"), found.name
        assert found.run.__doc__, found.name
