"""Another account, with our very ids in its hands, learns nothing and changes nothing: at every step of the story."""

import json
import re
from typing import Any

import pytest

from backfleet import identity
from backfleet.wire.credentials import Credentials
from endpoints.openapi.by_hand import V3
from endpoints.openapi.serving import Served
from endpoints.openapi.story import STORY, Stage, Step, at, filled, flat, set_stage

DOCUMENTS = {"trust", "federated", "keys", "token"}  # what is not an id of ours
NEW = re.compile(r"\b(t|c|f|mi)-[a-z0-9]{16,}")  # an id that the call itself made
PROVEN = {"AssumeRoleWithOIDC"}  # the provider's token is the proof, whoever hands it in
NAMED = re.compile(r"<(\w+)>")


@pytest.fixture
def stage(served: Served) -> Stage:
    return set_stage(served)


@pytest.fixture
def stranger(stage: Stage) -> Credentials:
    """The root of another account: what is theirs they may do everything with."""
    services = stage.served.services
    with services.database.transaction() as tx:
        made = identity.create_account(tx, services.vault, "other", now=stage.served.clock(), draw=services.draw)
    return Credentials(made.access_key_id, made.access_key_secret)


def asked(stage: Stage, key: Credentials, step: Step, known: dict[str, str]) -> tuple[int, dict[str, Any]]:
    query = flat(step.operation, filled(step.said, known))
    raw = V3(stage.served, step.action, step.operation.product.version, key=key, query=query).raw()
    status, _headers, body = stage.served.raw(bytes(raw))
    return status, json.loads(body)


def ids_of(step: Step, known: dict[str, str]) -> dict[str, str]:
    """The ids of ours that a step sends."""
    return {name: known[name] for name in NAMED.findall(json.dumps(step.said)) if name not in DOCUMENTS}


def nobodys(value: str) -> str:
    """An id of the same form that nobody has."""
    last = value[-1]
    return value[:-1] + ("x" if last != "x" else "y")


def told(stage: Stage, key: Credentials, step: Step, known: dict[str, str], ids: dict[str, str]) -> tuple[int, str]:
    """The answer, with each id as its name, and without what differs from call to call."""
    status, body = asked(stage, key, step, known | ids)
    body.pop("RequestId")
    body.get("AccessDeniedDetail", {}).pop("EncodedDiagnosticMessage", None)
    text = json.dumps(body, sort_keys=True)
    for name, value in sorted(ids.items(), key=lambda pair: -len(pair[1])):
        text = text.replace(json.dumps(value)[1:-1], f"<{name}>")
    return status, NEW.sub("new", text)


def test_our_ids_are_as_good_as_nobodys(stage: Stage, stranger: Credentials) -> None:
    """The answer to our ids is the answer to made-up ones; and our own step then goes as if nobody had asked."""
    message = asked(stage, stage.nobody, STORY[6], stage.known | {"task": "t-1"})[1]["AccessDeniedDetail"]
    known = stage.known | {"diagnosis": str(message["EncodedDiagnosticMessage"])}
    walked = 0
    for step in STORY:
        ours = ids_of(step, known)
        if ours and step.action not in PROVEN:
            walked += 1
            theirs = {name: nobodys(value) for name, value in ours.items()}
            first = told(stage, stranger, step, known, ours)
            second = told(stage, stranger, step, known, theirs)
            assert first == second, step.action
            assert first[0] < 500
            assert not [value for value in ours.values() if value in first[1]], step.action
        status, body = asked(stage, stage.somebody, step, known)
        assert status == 200, (step.action, body)
        known |= {name: at(body, path) for name, path in step.keeps.items()}
    assert walked > 30


def test_what_is_ours_is_on_no_list_of_theirs(stage: Stage, stranger: Credentials) -> None:
    """Every operation that needs no id, asked by the other account while ours is full of everything."""
    known = stage.known | {"diagnosis": "x"}
    for step in STORY:
        if step.action.startswith(("Delete", "Deregister", "Remove", "Detach", "Withdraw", "Decode", "AssumeRole")):
            continue
        if step.action == "UpdateRole" and "NewAssumeRolePolicyDocument" in step.said:
            continue
        status, body = asked(stage, stage.somebody, step, known)
        assert status == 200, (step.action, body)
        known |= {name: at(body, path) for name, path in step.keeps.items()}
    ours = [value for name, value in known.items() if name not in DOCUMENTS and len(value) > 3]
    for step in STORY:
        if not step.action.startswith(("Describe", "List", "Lookup")) or ids_of(step, known):
            continue
        _status, body = asked(stage, stranger, step, known)
        assert not [value for value in ours if value in json.dumps(body)], step.action
        assert stage.served.root_caller.account_id not in json.dumps(body), step.action
