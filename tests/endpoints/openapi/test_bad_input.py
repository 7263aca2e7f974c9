"""Bad input to every parameter of every operation: one clear refusal with a code, and never an internal error."""

import json
import re
from typing import Any

import pytest

from backfleet.operations.catalogue import Operation, every_operation
from backfleet.wire.parameters import Parameter, parameters_of
from endpoints.openapi.server import Server
from endpoints.openapi.signed_requests import V1, V3

EVERY = pytest.mark.parametrize(
    "operation", [o for o in every_operation() if not o.streams], ids=lambda o: f"{o.product.code}-{o.name}"
)
ELSEWHERE = chr(0x661)  # a digit one, in Arabic


def ask(server: Server, operation: Operation, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
    raw = V3(server, operation.name, operation.product.version, query=query).raw()
    status, _headers, body = server.raw(bytes(raw))
    return status, json.loads(body)


def needed(operation: Operation) -> dict[str, str]:
    """Something in every parameter that must be there, of its kind."""
    return {
        (f"{one.name}.1" if one.kind.startswith("repeat") else one.name): _something(one)
        for one in parameters_of(operation.request)
        if one.required
    }


def _something(parameter: Parameter) -> str:
    choices = parameter.limits.get("choices")
    kinds = {"integer": "1", "boolean": "true", "json list": '["mi-1"]', "json object": "{}"}
    pattern = parameter.limits.get("pattern") or ""
    fitting = [value for value in ("x1", "hbr:DescribeTask") if re.fullmatch(pattern or ".*", value)]
    return kinds.get(parameter.kind) or (choices[0] if choices else (*fitting, "x1")[0])


def wrong(parameter: Parameter) -> list[tuple[str, str]]:
    """Values that a parameter does not take, and what is wrong with each."""
    found = {
        "integer": [("one", "a word"), ("1.5", "a fraction"), ("9" * 30, "endless"), (ELSEWHERE, "another digit")],
        "boolean": [("maybe", "neither"), ("2", "a number")],
        "json list": [("null", "null"), ("x", "a bare word"), ("7", "a number"), ('[["a"]]', "a list in it"),
                      ("[1]", "a number in it"), ('[""]', "nothing in it"), ("[" * 3000, "deep")],
        "json object": [("[]", "a list"), ("null", "null"), ("{", "broken")],
    }.get(parameter.kind, [])  # fmt: skip
    if parameter.kind == "string":
        if parameter.limits.get("choices"):
            found = [*found, ("none-of-these", "no choice")]
        if parameter.limits.get("longest"):
            found = [*found, ("x" * (parameter.limits["longest"] + 1), "too long")]
    return found


@EVERY
def test_a_wrong_value_is_named(shared_server: Server, operation: Operation) -> None:
    """By its parameter, or by a code of that parameter's own."""
    for parameter in parameters_of(operation.request):
        for value, what in wrong(parameter):
            if len(value) > 60_000:
                continue  # longer than the URL that carries it; what is in a body is tested with bodies
            status, body = ask(shared_server, operation, {**needed(operation), parameter.name: value})
            failure = f"{operation.name} {parameter.name} {what}: {status} {body}"
            assert 400 <= status < 500, failure
            assert body["Code"] != "InternalError", failure
            own = {error.code for error in operation.errors}
            assert parameter.name in body["Message"] or body["Code"] in own, failure
            assert len(body["Message"]) < 2000, failure


@EVERY
def test_a_missing_parameter_is_named(shared_server: Server, operation: Operation) -> None:
    """Absent and empty alike; whatever else was sent."""
    required = [one.name for one in parameters_of(operation.request) if one.required]
    if not required:
        return
    for query in ({}, dict.fromkeys(required, "")):
        status, body = ask(shared_server, operation, query)
        assert (status, body["Code"]) == (400, "MissingParameter")
        assert any(body["Message"].startswith(name) for name in required), body


@EVERY
def test_unknown_parameters_do_not_matter(server: Server, operation: Operation) -> None:
    """Official clients send some of their own."""
    known = needed(operation)
    first = ask(server, operation, known)
    second = ask(server, operation, {**known, "SdkVersion": "1", "X.1.Y": "z", "__class__": "x", "": "nothing"})
    assert first[0] < 500
    assert second[0] < 500
    if first[0] >= 400:
        assert first[1]["Code"] == second[1]["Code"] or operation.name.startswith(("Create", "Delete", "Update"))


@EVERY
def test_a_parameter_given_twice_is_refused(shared_server: Server, operation: Operation) -> None:
    """Two readers could resolve it differently: in the query, and once there and once in the form."""
    for parameter in parameters_of(operation.request)[:3]:
        request = V1(
            shared_server,
            parameters={"Action": operation.name, "Version": operation.product.version, parameter.name: "a"},
            form={parameter.name: "b"},
        ).raw()
        status, _headers, body = shared_server.raw(bytes(request))
        found = json.loads(body)
        assert (status, found["Code"]) == (400, "InvalidParameter")
        assert "is given twice" in found["Message"]
        assert parameter.name in found["Message"]
