"""Values for an operation that nobody gave values: what its description accepts, so that documentation has a call."""

import json

from backfleet.operations.catalogue import Operation
from backfleet.wire.parameters import Parameter, parameters_of

EXAMPLES = {
    "ActionName": "hbr:DescribeTask",
    "TaskId": "t-0123456789abcdef",
    "InstanceId": "mi-0123456789abcdef",
    "InstanceIds": '["mi-0123456789abcdef"]',
    "ClientId": "c-0123456789abcdef",
    "ClientIds": '["c-0123456789abcdef"]',
    "RegionId": "cn-hangzhou",
    "PackageName": "courier",
    "ReleaseVersion": "2.0",
    "Platform": "linux-amd64",
    "TargetDir": "/tmp",  # noqa: S108 - a folder on a host, in an example
}
TEXT = "example"


def example_values(operation: Operation) -> dict[str, str]:
    """Return values of the parameters that a call must have, and of the clients that an order goes to."""
    parameters = parameters_of(operation.request)
    needed = [each for each in parameters if each.required or each.name in ("InstanceIds", "ClientIds")]
    return dict(_example(parameter) for parameter in needed)


def _example(parameter: Parameter) -> tuple[str, str]:
    name = f"{parameter.name}.1" if parameter.kind == "repeat list" else parameter.name
    if parameter.name in EXAMPLES:
        return name, EXAMPLES[parameter.name]
    limits = parameter.limits
    texts = {
        "integer": str(limits.get("least") or 1),
        "boolean": "true",
        "json list": json.dumps([TEXT]),
        "json object": "{}",
    }
    return name, (limits.get("choices") or [texts.get(parameter.kind, TEXT)])[0]
