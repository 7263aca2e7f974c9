"""CreateConsoleLogin: who gets a code."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from backfleet import identity, logins
from backfleet.ids import draw as really_draw
from backfleet.operations.catalogue import BACKFLEET
from backfleet.storage import Database
from operations.environment import Environment, make_environment

ALLOW = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'


@pytest.fixture
def env(database: Database, tmp_path: Path, now: datetime) -> Environment:
    return make_environment(database, tmp_path, now, really_draw)


def test_the_code_stands_for_the_key_that_signed(env: Environment) -> None:
    caller = env.user("eve", "AdministratorAccess")
    status, body = env.ask(BACKFLEET.version, "CreateConsoleLogin", caller)
    assert status == 200
    assert body["Url"].endswith(f":8080/console/login#{body['LoginCode']}")
    with env.services.database.transaction() as tx:
        assert logins.use_code(tx, body["LoginCode"], now=env.now) == caller.access_key_id
    assert body["ExpireTime"] == env.now.timestamp() + 600


def test_a_session_gets_none_since_its_own_policy_would_be_lost(env: Environment) -> None:
    caller = env.user("eve", "AdministratorAccess")
    limited = replace(caller, session=identity.Session("ops", "night", policy=ALLOW))
    assert env.ask(BACKFLEET.version, "CreateConsoleLogin", limited)[1]["Code"] == "OperationDenied.NoConsoleLogin"
    keyless = replace(caller, access_key_id="")
    assert env.ask(BACKFLEET.version, "CreateConsoleLogin", keyless)[0] == 400


def test_a_key_has_only_so_many_codes_that_wait(env: Environment) -> None:
    caller = env.user("eve", "AdministratorAccess")
    answers = [env.ask(BACKFLEET.version, "CreateConsoleLogin", caller) for _ in range(21)]
    assert [status for status, _ in answers] == [200] * 20 + [400]
