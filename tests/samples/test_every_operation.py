"""The sample of every operation runs as it stands: it succeeds, and is refused as the client itself is."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from alibabacloud_tea_openapi.client import Client as OpenApi
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_openapi.models import Config, OpenApiRequest, Params
from alibabacloud_tea_util.models import RuntimeOptions

from backfleet.operations.catalogue import Operation
from backfleet.samples import make_sample, sample_call
from backfleet.wire.shapes import misfits
from endpoints.openapi.scenario import REGION, SCENARIO, at, filled, flat
from endpoints.openapi.server import Server
from samples.running import Run, Secured, in_python, node, secured, values_of
from sdk_timeouts import SDK_TIMEOUTS

SAVED = {name for step in SCENARIO for name in step.saves} | {"diagnosis"}
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def refusal_by_client(secured: Secured, operation: Operation, values: dict[str, str]) -> str:
    """The code of the refusal that the official Python client gets for a user who may do nothing; empty for none."""
    key = secured.installation.nobody
    client = OpenApi(
        Config(access_key_id=key.access_key_id, access_key_secret=key.access_key_secret, region_id=REGION,
               endpoint=secured.installation.server.host, protocol="HTTPS", ca=str(secured.authority), **SDK_TIMEOUTS)
    )  # fmt: skip
    params = Params(
        action=operation.name, version=operation.product.version, protocol="HTTPS", method="POST", auth_type="AK",
        style="RPC", pathname="/", req_body_type="formData", body_type="json",
    )  # fmt: skip
    try:
        answer = client.call_api(params, OpenApiRequest(query=values), RuntimeOptions())["body"]
    except ClientException as problem:
        return str(problem.code)
    return str(answer["Code"]) if answer.get("Success") is False else ""


@contextmanager
def by_python() -> Iterator[Run]:
    yield in_python


@contextmanager
def by_node() -> Iterator[Run]:
    with node() as process:
        yield process.run


@pytest.mark.parametrize(
    ("language", "begin"), [("python", by_python), ("python-generic", by_python), ("typescript", by_node)]
)
def test_the_sample_of_every_operation_runs(
    start_server: Callable[..., Server], tmp_path: Path, language: str, begin: Callable[[], AbstractContextManager[Run]]
) -> None:
    """In the order of the scenario, with answers of the described shape to the last list."""
    with secured(start_server, tmp_path) as server, begin() as run:
        known = dict(server.installation.known)
        for step in SCENARIO:
            if step.action == "DecodeDiagnosticMessage":  # it needs what a refusal carries
                continue
            values, secrets = values_of(step.operation, filled(step.parameters, known))
            code = make_sample(sample_call(step.operation, values, server.target), language).code
            done = run(code, server.environment(server.installation.somebody, secrets))
            if step.refused:
                assert done.err.startswith(f"{step.refused}: ")
                continue
            body = done.answer
            assert body.pop("RequestId"), step.action
            wrong = list(misfits(step.operation.answer, body, step.action))
            assert [each for each in wrong if not is_left_out_by_model(language, each)] == []
            known |= {name: at(body, path) for name, path in step.saves.items()}


@pytest.mark.parametrize(
    ("language", "begin", "most"), [("python", by_python, len(SCENARIO)), ("typescript", by_node, 2)]
)
def test_the_sample_of_every_operation_shows_a_refusal(
    start_server: Callable[..., Server],
    tmp_path: Path,
    language: str,
    begin: Callable[[], AbstractContextManager[Run]],
    most: int,
) -> None:
    """For who may do nothing: exit code 1, nothing on stdout, and the code that the client itself gets.

    In TypeScript, whose samples differ in the values only, `most` of each product.
    """
    with secured(start_server, tmp_path) as server, begin() as run:
        known, done_of = server.installation.known | dict.fromkeys(SAVED, "t1"), Counter[str]()
        for step in SCENARIO:
            if not is_refused(step.operation) or done_of[step.product] == most:
                continue
            done_of[step.product] += 1
            values, secrets = values_of(step.operation, filled(step.parameters, known))
            code = make_sample(sample_call(step.operation, values, server.target), language).code
            done = run(code, server.environment(server.installation.nobody, secrets))
            assert (done.code, done.out) == (1, ""), step.action
            expected = refusal_by_client(server, step.operation, flat(step.operation, filled(step.parameters, known)))
            assert done.err.startswith(f"{expected}: "), step.action
            assert re.search("request id: [0-9A-F-]{36}|RequestId [0-9A-F-]{36}", done.err), step.action


def is_refused(operation: Operation) -> bool:
    """Whether who may do nothing gets an error: some need no permission, some answer with an empty list instead."""
    return operation.action is not None and operation.denied is None


def is_left_out_by_model(language: str, misfit: str) -> bool:
    """Whether a typed client has no member for what is missing: it prints what its model has."""
    return language == "python" and misfit.endswith((" is missing", " is not described"))
