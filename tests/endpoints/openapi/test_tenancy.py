"""Another account that knows our ids learns nothing and changes nothing, at every step of the scenario."""

import json
import re
from typing import Any

import pytest

from backfleet import identity
from backfleet.wire.credentials import Credentials
from endpoints.openapi.scenario import SCENARIO, Installation, Step, at, filled, flat, prepare
from endpoints.openapi.server import Server
from endpoints.openapi.signed_requests import V3

DOCUMENTS = {"trust", "federated", "keys", "token", "until"}  # what is not an id of ours
NEW = re.compile(r"\b(t|c|f|mi)-[a-z0-9]{16,}")  # an id that the call itself made
SELF_AUTHENTICATED = {"AssumeRoleWithOIDC"}  # the provider's token authenticates the call, whatever its account
NAMED = re.compile(r"<(\w+)>")


@pytest.fixture
def installation(server: Server) -> Installation:
    return prepare(server)


@pytest.fixture
def other_account(installation: Installation) -> Credentials:
    """The root of another account: what is theirs they may do everything with."""
    services = installation.server.services
    with services.database.transaction() as tx:
        made = identity.create_account(tx, services.vault, "other", now=installation.server.clock(), draw=services.draw)
    return Credentials(made.access_key_id, made.access_key_secret)


def ask(installation: Installation, key: Credentials, step: Step, known: dict[str, str]) -> tuple[int, dict[str, Any]]:
    query = flat(step.operation, filled(step.parameters, known))
    raw = V3(installation.server, step.action, step.operation.product.version, key=key, query=query).raw()
    status, _headers, body = installation.server.raw(bytes(raw))
    return status, json.loads(body)


def ids_of(step: Step, known: dict[str, str]) -> dict[str, str]:
    """The ids of ours that a step sends."""
    return {name: known[name] for name in NAMED.findall(json.dumps(step.parameters)) if name not in DOCUMENTS}


def nobodys(value: str) -> str:
    """An id of the same form that nobody has."""
    last = value[-1]
    return value[:-1] + ("x" if last != "x" else "y")


def outcome(
    installation: Installation, key: Credentials, step: Step, known: dict[str, str], ids: dict[str, str]
) -> tuple[int, str]:
    """The answer, with each id as its name, and without what differs from call to call."""
    status, body = ask(installation, key, step, known | ids)
    body.pop("RequestId")
    body.get("AccessDeniedDetail", {}).pop("EncodedDiagnosticMessage", None)
    text = json.dumps(body, sort_keys=True)
    for name, value in sorted(ids.items(), key=lambda pair: -len(pair[1])):
        text = text.replace(json.dumps(value)[1:-1], f"<{name}>")
    return status, NEW.sub("new", text)


def taken(installation: Installation, step: Step, known: dict[str, str]) -> dict[str, str]:
    """Take a step of ours, which must end as the scenario says; return what later steps name by it."""
    status, body = ask(installation, installation.somebody, step, known)
    assert (status == 200) is (not step.refused), (step.action, body)
    assert not step.refused or body["Code"] == step.refused, (step.action, body)
    return {name: at(body, path) for name, path in step.saves.items()}


def test_another_account_cannot_use_our_ids(installation: Installation, other_account: Credentials) -> None:
    """It gets the same answers for our ids as for made-up ones, and our own step then works as before."""
    message = ask(installation, installation.nobody, SCENARIO[6], installation.known | {"task": "t-1"})[1][
        "AccessDeniedDetail"
    ]
    known = installation.known | {"diagnosis": str(message["EncodedDiagnosticMessage"])}
    walked = 0
    for step in SCENARIO:
        ours = ids_of(step, known)
        if ours and step.action not in SELF_AUTHENTICATED:
            walked += 1
            theirs = {name: nobodys(value) for name, value in ours.items()}
            first = outcome(installation, other_account, step, known, ours)
            second = outcome(installation, other_account, step, known, theirs)
            assert first == second, step.action
            assert first[0] < 500
            assert not [value for value in ours.values() if value in first[1]], step.action
        known |= taken(installation, step, known)
    assert walked > 30


def test_another_account_cannot_list_what_is_ours(installation: Installation, other_account: Credentials) -> None:
    """Every operation that needs no id, called by another account while ours has everything."""
    known = installation.known | {"diagnosis": "x"}
    for step in SCENARIO:
        if step.action.startswith(("Delete", "Deregister", "Remove", "Detach", "Withdraw", "Decode", "AssumeRole")):
            continue
        if step.action == "UpdateRole" and "NewAssumeRolePolicyDocument" in step.parameters:
            continue
        known |= taken(installation, step, known)
    ours = [value for name, value in known.items() if name not in DOCUMENTS and len(value) > 3]
    for step in SCENARIO:
        if not step.action.startswith(("Describe", "List", "Lookup")) or ids_of(step, known):
            continue
        _status, body = ask(installation, other_account, step, known)
        assert not [value for value in ours if value in json.dumps(body)], step.action
        assert installation.server.root_caller.account_id not in json.dumps(body), step.action
