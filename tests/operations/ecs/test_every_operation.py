"""Every operation of this product: refused without permission, in another region, and described to the last word."""

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
    """Something for each parameter that must be there."""
    words = {"Type": "RunShellScript", "ResourceType": "instance", "CommandContent": "dHJ1ZQ==", "TargetDir": "/srv"}
    return {
        parameter.name: words.get(parameter.name, "mi-none")
        for parameter in parameters_of(operation.request)
        if parameter.required
    } | {"RegionId": REGION}


@EVERY
def test_nobody_without_permission_gets_anywhere(env: Environment, operation: Operation) -> None:
    """Before any parameter is looked at; DescribeInstances alone answers with an empty list."""
    nobody = env.user("nobody")
    status, answer = env.ask(ECS.version, operation.name, nobody, **anything_for(operation))
    if operation.denied is not None:
        assert (status, answer["Instances"]) == (200, {"Instance": []})
    else:
        assert (status, answer["Code"]) == (403, "Forbidden.RAM")


@EVERY
def test_every_region_but_ours_is_unknown(env: Environment, operation: Operation) -> None:
    """Whatever else is asked."""
    if operation.name == "DescribeRegions":
        return
    status, answer = env.ask(ECS.version, operation.name, **anything_for(operation) | {"RegionId": "us-east-1"})
    assert (status, answer["Code"]) == (404, "InvalidRegionId.NotFound")


@EVERY
def test_every_operation_is_described(operation: Operation) -> None:
    """Its answer, its permission, and each of its errors with a code of its own and a sentence."""
    assert operation.answer is not Anything
    assert operation.action == f"ecs:{operation.name}"
    codes = [error.code for error in operation.errors]
    assert sorted(set(codes)) == sorted(codes)
    for error in operation.errors:
        assert error.code != ApiError.code
        assert error().message  # type: ignore[call-arg]
