"""An account, a second one that it must never see, and the verbs of identity."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from backfleet import identity
from backfleet.identity._tables import accounts
from backfleet.identity.policy import decide
from backfleet.ids import Draw
from backfleet.storage import Database

OTHER = "9999999999999999"
ALLOW = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"hbr:*","Resource":"*"}]}'
DENY = ALLOW.replace("Allow", "Deny")
TRUST = json.dumps(
    {
        "Version": "1",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": "acs:ram::1:root"}}],
    }
)


@pytest.fixture
def vault(tmp_path: Path) -> identity.Vault:
    """Return a vault of its own for every test."""
    return identity.Vault.open(tmp_path)


@pytest.fixture
def root(database: Database, vault: identity.Vault, now: datetime, draw: Draw) -> identity.NewAccessKey:
    """Create the first account and return its key."""
    with database.transaction() as tx:
        made = identity.first_account(tx, vault, now=now, draw=draw)
    assert made is not None
    return made


@pytest.fixture
def account(root: identity.NewAccessKey) -> str:
    """Return the id of the first account."""
    return root.account_id


@pytest.fixture
def other(database: Database, root: identity.NewAccessKey, now: datetime) -> str:
    """Create a second account and return its id."""
    with database.transaction() as tx:
        tx.add(accounts, [{"id": OTHER, "created_at": now}])
    return OTHER


class Verbs:
    """The verbs of identity, each called in a transaction of its own."""

    def __init__(self, database: Database, account: str, now: datetime, draw: Draw) -> None:
        self.database, self.account, self.now, self.draw = database, account, now, draw

    def __call__(self, verb: str, *arguments: Any, account: str = "", **more: Any) -> Any:
        with self.database.transaction() as tx:
            return getattr(identity, verb)(tx, account or self.account, *arguments, **more)

    def refused(self, error: type[Exception], verb: str, *arguments: Any, **more: Any) -> str:
        with pytest.raises(error) as refusal:
            self(verb, *arguments, **more)
        return str(getattr(refusal.value, "kind", ""))

    def user(self, name: str = "ann") -> identity.Caller:
        made = self("create_user", name, now=self.now, draw=self.draw)
        return identity.Caller(self.account, "RAMUser", f"acs:ram::{self.account}:user/{name}", made.id, made.id, name)

    def group(self, name: str = "ops") -> identity.Group:
        return self("create_group", name, now=self.now, draw=self.draw)

    def role(self, name: str = "Ops", trust: str = TRUST, **more: Any) -> identity.Role:
        return self("create_role", name, trust, now=self.now, draw=self.draw, **more)

    def policy(self, name: str = "Own", document: str = ALLOW) -> None:
        self("create_policy", name, document, now=self.now)

    def may(self, caller: identity.Caller, action: str = "hbr:DescribeTask") -> bool:
        with self.database.reading() as tx:
            return decide(identity.statements_for(tx, caller), action, "*", {}).allowed


@pytest.fixture
def verbs(database: Database, account: str, now: datetime, draw: Draw) -> Verbs:
    return Verbs(database, account, now, draw)
