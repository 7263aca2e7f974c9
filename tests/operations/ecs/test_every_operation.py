"""Every ECS operation: it needs permission and our region, and is fully described."""

from typing import Any

import pytest

from backfleet.operations.catalogue import ECS, Operation, every_operation
from backfleet.wire.errors import ApiError
from backfleet.wire.parameters import parameters_of
from backfleet.wire.shapes import Anything
from operations.environment import REGION, Environment

OPERATIONS = [operation for operation in every_operation() if operation.product is ECS]
EVERY = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


def anything_for(operation: Operation) -> dict[str, Any]:
    """Return a value for each required parameter."""
    words = {"Type": "RunShellScript", "ResourceType": "instance", "CommandContent": "dHJ1ZQ==", "TargetDir": "/srv"}
    return {
        parameter.name: words.get(parameter.name, "mi-none")
        for parameter in parameters_of(operation.request)
        if parameter.required
    } | {"RegionId": REGION}


@EVERY
def test_callers_without_permission_are_refused(env: Environment, operation: Operation) -> None:
    """Before parameters are checked. DescribeInstances alone answers with an empty list."""
    nobody = env.user("nobody")
    status, answer = env.ask(ECS.version, operation.name, nobody, **anything_for(operation))
    if operation.denied is not None:
        assert (status, answer["Instances"]) == (200, {"Instance": []})
    else:
        assert (status, answer["Code"]) == (403, "Forbidden.RAM")


@EVERY
def test_other_regions_are_refused(env: Environment, operation: Operation) -> None:
    """Whatever else the request has."""
    if operation.name == "DescribeRegions":
        return
    status, answer = env.ask(ECS.version, operation.name, **anything_for(operation) | {"RegionId": "us-east-1"})
    assert (status, answer["Code"]) == (404, "InvalidRegionId.NotFound")


@EVERY
def test_every_operation_is_described(operation: Operation) -> None:
    """Its answer, its permission, and each error with its own code and a text."""
    assert operation.answer is not Anything
    assert operation.action == f"ecs:{operation.name}"
    codes = [error.code for error in operation.errors]
    assert sorted(set(codes)) == sorted(codes)
    for error in operation.errors:
        assert error.code != ApiError.code
        assert error().message  # type: ignore[call-arg]
