"""RAM, called as the endpoint calls it: permission, parameters, answer, audit."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from backfleet import identity
from backfleet.identity._tables import accounts
from backfleet.ids import Draw
from backfleet.ids import draw as real_draw
from backfleet.operations import perform
from backfleet.operations.catalogue import RAM, STS, Call, Services, find
from backfleet.settings import Settings
from backfleet.storage import Database
from backfleet.wire import answers
from backfleet.wire.errors import ApiError
from backfleet.wire.shapes import misfits
from made_keys import open_keys
from operations.environment import Environment, make_environment

OTHER = "9999999999999999"
SHARED = {"MissingParameter", "InvalidParameter", "Forbidden.RAM", "NoPermission"}


class Ram:
    """RAM for one caller. `ram("CreateUser", UserName="alice")` returns the JSON of the answer or error."""

    def __init__(self, services: Services, caller: identity.Caller, now: datetime) -> None:
        self.services, self.caller, self.now = services, caller, now

    def __call__(self, action: str, **flat: str) -> dict[str, Any]:
        return self.ask(RAM.version, action, flat)

    def sts(self, action: str, **flat: str) -> dict[str, Any]:
        """Call STS as the same caller."""
        return self.ask(STS.version, action, flat)

    def ask(self, version: str, action: str, flat: dict[str, str]) -> dict[str, Any]:
        """Call an operation of any product."""
        request_id = f"R-{real_draw(20)}"
        call = Call(request_id, self.caller, "cn-hangzhou", self.now, "10.0.0.7", True, self.services)
        operation = find(version, action)
        try:
            reply = perform.run(perform.admit(operation, call, flat, "LTAItest"), call)
            sent = answers.success(action, reply, request_id, xml=False)
        except ApiError as problem:
            sent = answers.failure(problem, request_id, "localhost", xml=False)
        body: dict[str, Any] = json.loads(sent.body)
        assert body.pop("RequestId") == request_id
        if sent.status == 200:
            assert list(misfits(operation.answer, body, action)) == []
        else:
            assert body["Code"] in SHARED | {error.code for error in operation.errors}, action
        return body if sent.status == 200 else {**body, "Status": sent.status}

    def assume(self, arn: str, name: str = "session", **more: str) -> "Ram":
        """Return RAM, called with temporary credentials of a role, as the endpoint reads them."""
        given = self.sts("AssumeRole", RoleArn=arn, RoleSessionName=name, **more)["Credentials"]
        return self.with_token(given["SecurityToken"])

    def with_token(self, token: str) -> "Ram":
        """Return RAM, called with a session token."""
        ticket = identity.open_token(self.services.vault, token)
        with self.services.database.reading() as tx:
            caller = identity.session_caller(tx, ticket, now=self.now)
        assert caller is not None
        return Ram(self.services, caller, self.now)

    def refused(self, action: str, **flat: str) -> tuple[int, str]:
        """Return status and code of a refusal."""
        body = self(action, **flat)
        return body["Status"], body["Code"]

    def as_user(self, name: str) -> "Ram":
        """Return RAM, called with a new key of an existing user."""
        key_id = self("CreateAccessKey", UserName=name)["AccessKey"]["AccessKeyId"]
        with self.services.database.reading() as tx:
            known = identity.find_key(tx, self.services.vault, key_id)
        assert known is not None
        return Ram(self.services, known.caller, self.now)


@pytest.fixture
def services(database: Database, tmp_path: Path, draw: Draw) -> Services:
    """What operations may use."""
    return Services(database, Settings(data=tmp_path), *open_keys(tmp_path), draw)


@pytest.fixture
def ram(services: Services, now: datetime, draw: Draw) -> Ram:
    """RAM, called by the root of the administrator account."""
    with services.database.transaction() as tx:
        made = identity.first_account(tx, services.vault, now=now, draw=draw)
        assert made is not None
        known = identity.find_key(tx, services.vault, made.access_key_id)
    assert known is not None
    return Ram(services, known.caller, now)


@pytest.fixture
def elsewhere(ram: Ram, now: datetime) -> Ram:
    """RAM, called by the root of another account."""
    with ram.services.database.transaction() as tx:
        tx.add(accounts, [{"id": OTHER, "created_at": now}])
    return Ram(ram.services, identity.Caller(OTHER, "Account", f"acs:ram::{OTHER}:root", OTHER), now)


@pytest.fixture
def env(database: Database, tmp_path: Path, now: datetime, draw: Draw) -> Environment:
    """Services and callers, on each engine in turn."""
    return make_environment(database, tmp_path, now, draw)
