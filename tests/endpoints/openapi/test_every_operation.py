"""Every operation with every official client: each succeeds once, is refused once, and its answer is fully parsed."""

import importlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from alibabacloud_tea_openapi.client import Client as OpenApi
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_openapi.models import Config, OpenApiRequest, Params
from alibabacloud_tea_util.models import RuntimeOptions
from aliyunsdkcore.acs_exception.exceptions import ServerException as LegacyServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest

from backfleet.operations.catalogue import Operation, every_operation
from backfleet.wire.credentials import Credentials
from backfleet.wire.shapes import misfits
from endpoints.openapi.client_programs import GENERIC, Begin
from endpoints.openapi.client_programs import TYPED as TYPED_PROGRAMS
from endpoints.openapi.scenario import REGION, SCENARIO, Call, Installation, Refused, at, filled, flat, prepare
from endpoints.openapi.server import Server
from sdk_timeouts import SDK_SECONDS, SDK_TIMEOUTS

TYPED = {"hbr": "alibabacloud_hbr20170908", "ecs": "alibabacloud_ecs20140526", "sts": "alibabacloud_sts20150401"}
UNTYPED = {
    "DeleteClient": "the typed clients have no model of it",
    "DecodeDiagnosticMessage": "asked by the others",
}
NOT_IN_JAVA = {"UpgradeBackupClients", "InstallBackupClients", "UninstallBackupClients", "DescribeBackupClients"}
"""The typed Java client takes a map where these have a list of ids; its generic call takes the list."""
REFUSALS = {"hbr": "NoPermission", "sts": "NoPermission"}
STREAMED = {
    "AddRelease",
    "PublishSignatures",
}  # a file's body, which these clients do not stream; see tests/operations/own


# --- Python ---------------------------------------------------------------------------------------------------------


def config(installation: Installation, key: Credentials, mode: str) -> Config:
    made = Config(
        access_key_id=key.access_key_id, access_key_secret=key.access_key_secret, endpoint=installation.server.host,
        protocol="HTTP", region_id=REGION, **SDK_TIMEOUTS,
    )  # fmt: skip
    if mode == "v1":
        made.signature_algorithm = "v2"  # the client's name for signature version 1
    return made


def by_new_sdk(mode: str) -> Begin:
    """The generic call of the new SDK."""

    @contextmanager
    def begin(installation: Installation, key: Credentials) -> Iterator[Call]:
        client = OpenApi(config(installation, key, mode))

        def call(operation: Operation, parameters: dict[str, Any]) -> dict[str, Any]:
            params = Params(
                action=operation.name, version=operation.product.version, protocol="HTTP", method="POST",
                auth_type="AK", style="RPC", pathname="/", req_body_type="formData", body_type="json",
            )  # fmt: skip
            try:
                found: dict[str, Any] = client.call_api(
                    params, OpenApiRequest(query=flat(operation, parameters)), RuntimeOptions()
                )["body"]
            except ClientException as problem:
                raise Refused(problem.code, f"{operation.name}: {problem.message}") from None
            return found

        yield call

    return begin


@contextmanager
def by_legacy_sdk(installation: Installation, key: Credentials) -> Iterator[Call]:
    """The common request of the legacy SDK."""
    client = AcsClient(key.access_key_id, key.access_key_secret, REGION, timeout=SDK_SECONDS)

    def call(operation: Operation, parameters: dict[str, Any]) -> dict[str, Any]:
        request = CommonRequest(
            domain=installation.server.host, version=operation.product.version, action_name=operation.name
        )
        request.set_protocol_type("http")
        request.set_method("POST")
        for name, value in flat(operation, parameters).items():
            request.add_query_param(name, value)
        try:
            found: dict[str, Any] = json.loads(client.do_action_with_exception(request))
        except LegacyServerException as problem:
            raise Refused(problem.error_code, f"{operation.name}: {problem}") from None
        return found

    yield call


CLIENTS = [
    pytest.param(by_new_sdk("v3"), id="new Python SDK, V3"),
    pytest.param(by_new_sdk("v1"), id="new Python SDK, V1"),
    pytest.param(by_legacy_sdk, id="legacy Python SDK"),
    *GENERIC,
]


BIG = re.compile(r" is '\d{16,}', not of type integer$")
"""pop-core reads numbers that JavaScript cannot hold, account ids for one, as text."""


@pytest.fixture
def installation(server: Server) -> Installation:
    return prepare(server)


@pytest.fixture(scope="module")
def untouched(shared_server: Server) -> Installation:
    """The same for all clients of somebody who may do nothing."""
    return prepare(shared_server)


def test_the_scenario_has_every_operation() -> None:
    """A new operation must be added to it."""
    called = {step.operation.name for step in SCENARIO} | STREAMED
    ours = {operation.name for operation in every_operation() if operation.name not in ("Echo", "Whisper", "Keep")}
    assert called == ours


def is_refused(operation: Operation) -> bool:
    """Whether who may do nothing gets an error: some need no permission, some answer with an empty list instead."""
    return operation.action is not None and operation.denied is None


def diagnosis(installation: Installation, begin: Begin) -> str:
    """What a refusal carries for the administrator; every client hands it on in its own way, so it is asked here."""
    from endpoints.openapi.signed_requests import V3

    _status, _headers, body = installation.server.raw(
        bytes(V3(installation.server, "DescribeTask", key=installation.nobody).raw())
    )
    message: str = json.loads(body)["AccessDeniedDetail"]["EncodedDiagnosticMessage"]
    return message


@pytest.mark.parametrize("begin", CLIENTS)
def test_every_operation_succeeds(installation: Installation, begin: Begin) -> None:
    """In the order of the scenario; and each answer has its described shape to the last list."""
    known = installation.known | {"diagnosis": diagnosis(installation, begin)}
    with begin(installation, installation.somebody) as call:
        for step in SCENARIO:
            if step.refused:
                with pytest.raises(Refused, match=re.escape(step.refused)):
                    call(step.operation, filled(step.parameters, known))
                continue
            body = call(step.operation, filled(step.parameters, known))
            assert body.pop("RequestId"), step.action
            wrong = [misfit for misfit in misfits(step.operation.answer, body, step.action) if not BIG.search(misfit)]
            assert wrong == []
            known |= {name: at(body, path) for name, path in step.saves.items()}


@pytest.mark.parametrize("begin", CLIENTS)
def test_every_operation_is_refused(untouched: Installation, begin: Begin) -> None:
    """For a user who may do nothing, with the code of its product; and nothing is changed."""
    known = untouched.known | dict.fromkeys((name for step in SCENARIO for name in step.saves), "x")
    with begin(untouched, untouched.nobody) as call:
        for step in SCENARIO:
            if not is_refused(step.operation):
                continue
            with pytest.raises(Refused) as refused:
                call(step.operation, filled(step.parameters, known | {"diagnosis": "x"}))
            assert refused.value.code == REFUSALS.get(step.product, "Forbidden.RAM"), step.action


# --- Typed clients --------------------------------------------------------------------------------------------------


def snake(name: str) -> str:
    """The method that a typed Python client has for an operation."""
    found = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z\d])([A-Z])", r"\1_\2", found).lower()


def by_typed_sdk(installation: Installation, key: Credentials, mode: str) -> Call:
    """Requests and answers as the models of the typed new SDK."""

    def call(operation: Operation, parameters: dict[str, Any]) -> dict[str, Any]:
        package = TYPED[operation.product.code]
        models = importlib.import_module(f"{package}.models")
        client = importlib.import_module(f"{package}.client").Client(config(installation, key, mode))
        method = getattr(client, snake(operation.name))
        request = getattr(models, f"{operation.name}Request", None)
        try:
            answer = method() if request is None else method(request().from_map(parameters))
        except ClientException as problem:
            raise Refused(problem.code, f"{operation.name}: {problem.message}") from None
        found: dict[str, Any] = answer.body.to_map()
        return found

    return call


def empty_places(value: Any, place: str) -> list[str]:
    """Lists with holes: what a typed client makes of a list that is not where it looks for it."""
    if isinstance(value, dict):
        return [hole for name, member in value.items() for hole in empty_places(member, f"{place}.{name}")]
    if isinstance(value, list):
        return [hole for number, one in enumerate(value) for hole in empty_places(one, f"{place}[{number}]")]
    return [place] if value is None else []


def wrong_kinds(operation: Operation, body: dict[str, Any]) -> list[str]:
    """What of a typed answer has another type than described; members that the model does not know are left out."""
    found = misfits(operation.answer, body, operation.name)
    return [misfit for misfit in found if not misfit.endswith((" is missing", " is not described"))]


@pytest.mark.parametrize("mode", ["v3", "v1"])
def test_typed_python_clients_parse_every_answer(installation: Installation, mode: str) -> None:
    """HBR, ECS and STS: no list has a hole, every value has its type; a refusal is a typed exception."""
    known = dict(installation.known)
    call, refused = (
        by_typed_sdk(installation, installation.somebody, mode),
        by_typed_sdk(installation, installation.nobody, mode),
    )
    other = by_new_sdk(mode)
    with other(installation, installation.somebody) as generic:
        for step in SCENARIO:
            if step.action == "DecodeDiagnosticMessage" or step.refused:
                continue
            parameters = filled(step.parameters, known)
            if step.product not in TYPED or step.action == "DeleteClient":
                body = generic(step.operation, parameters)
            else:
                parameters = parameters | {
                    name: json.dumps(value) for name, value in parameters.items() if name == "ClientInfo"
                }
                if is_refused(step.operation):
                    with pytest.raises(Refused) as no:
                        refused(step.operation, parameters)
                    assert no.value.code == REFUSALS.get(step.product, "Forbidden.RAM"), step.action
                body = call(step.operation, parameters)
                assert empty_places(body, step.action) == []
                assert wrong_kinds(step.operation, body) == []
            known |= {name: at(body, path) for name, path in step.saves.items()}


@pytest.mark.parametrize(("begin", "product"), TYPED_PROGRAMS)
def test_typed_clients_of_other_languages_parse_every_answer(
    installation: Installation, begin: Begin, product: str
) -> None:
    """Every operation of the product that the client has: success, with no hole in a list, and refusal."""
    known = dict(installation.known)
    with (
        begin(installation, installation.somebody) as call,
        begin(installation, installation.nobody) as refused,
        by_new_sdk("v3")(installation, installation.somebody) as generic,
    ):
        for step in SCENARIO:
            if step.product != product:
                continue
            parameters = filled(step.parameters, known)
            if step.action in UNTYPED or (product == "hbr" and step.action in NOT_IN_JAVA):
                body = generic(step.operation, parameters)
                known |= {name: at(body, path) for name, path in step.saves.items()}
                continue
            parameters |= {name: json.dumps(value) for name, value in parameters.items() if name == "ClientInfo"}
            if is_refused(step.operation):
                with pytest.raises(Refused) as no:
                    refused(step.operation, parameters)
                assert no.value.code == REFUSALS.get(product, "Forbidden.RAM"), step.action
            body = call(step.operation, parameters)
            assert empty_places(body, step.action) == []
            assert wrong_kinds(step.operation, body) == []
            known |= {name: at(body, path) for name, path in step.saves.items()}
