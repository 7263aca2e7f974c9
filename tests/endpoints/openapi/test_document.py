"""The OpenAPI document: valid, complete, and true, as a fuzzer finds."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from backfleet.endpoints.openapi.document import document, path_of
from backfleet.operations.catalogue import Operation, every_operation
from backfleet.wire.parameters import parameters_of
from endpoints.openapi.server import Server
from endpoints.openapi.signed_requests import V3

EVERY = pytest.mark.parametrize("operation", every_operation(), ids=lambda o: f"{o.product.code}-{o.name}")
LONGEST_URL = 32 * 1024  # what a fuzzer makes longer is not a question to an operation any more


def test_the_document_is_valid() -> None:
    """By the schema of OpenAPI 3.1."""
    OpenAPIV31SpecValidator(document(every_operation())).validate()


def test_every_server_serves_the_document(server: Server) -> None:
    """Without a key: it shows no more than the documentation."""
    with urllib.request.urlopen(f"http://{server.host}/openapi.json", timeout=10) as answer:
        found = json.load(answer)
    described = {path_of(operation) for operation in every_operation()}
    assert set(found["paths"]) == described


@EVERY
def test_every_parameter_is_described(operation: Operation) -> None:
    """By its name, or by that of its first member."""
    listed = document([operation])["paths"][path_of(operation)]["post"]["parameters"]
    described = {one["name"].partition(".")[0] for one in listed}
    assert described == {"Action", "Version"} | {one.name for one in parameters_of(operation.request)}


def test_the_reference_is_up_to_date() -> None:
    """After a change of an operation, tools/write_reference.py writes it again."""
    tool = Path(__file__).parents[3] / "tools" / "write_reference.py"
    found = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True, timeout=60, check=False)
    assert (found.returncode, found.stdout.strip()) == (0, "")


# --- The fuzzer -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def schema() -> Any:
    """The document, as the fuzzer reads it: values that fit, and values that do not."""
    loaded = schemathesis.openapi.from_dict(document(every_operation()))
    loaded.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    return loaded


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """One connection for all calls of a test."""
    with requests.Session() as made:
        yield made


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def sendable(query: dict[str, Any]) -> dict[str, str]:
    """What of the fuzzer's query is text at all: half a character cannot be put into a URL."""
    flat = {name: as_text(value) for name, value in query.items()}
    return {
        name.encode("utf-8", "replace").decode(): value.encode("utf-8", "replace").decode()
        for name, value in flat.items()
    }


CHECKS = [
    schemathesis.checks.not_a_server_error,
    response_schema_conformance,
    content_type_conformance,
    status_code_conformance,
]
FUZZED = [operation for operation in every_operation() if not operation.streams]


@pytest.mark.parametrize("operation", FUZZED, ids=lambda o: f"{o.product.code}-{o.name}")
def test_no_request_breaks_the_server(
    server: Server, schema: Any, session: requests.Session, operation: Operation
) -> None:
    """Signed calls of every kind: no 5xx, and every answer has the described shape."""
    described = schema[path_of(operation)]["POST"]

    @settings(
        max_examples=12,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=described.as_strategy())
    def fuzz(case: Any) -> None:
        query = sendable(dict(case.query or {}))
        if sum(len(name) + 3 * len(value.encode()) for name, value in query.items()) > LONGEST_URL:
            return
        query = {name: value for name, value in query.items() if name not in ("Action", "Version")}
        raw = V3(server, operation.name, operation.product.version, query=query).raw()
        answer = session.post(f"http://{server.host}{raw.target}", headers=dict(raw.headers), data=b"", timeout=20)
        assert answer.status_code < 500, (query, answer.text)
        case.validate_response(answer, checks=CHECKS)

    fuzz()
