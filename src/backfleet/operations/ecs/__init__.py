"""ECS 2014-05-26: Cloud Assistant and managed instances, the part a fleet needs."""

from backfleet.operations.ecs import (
    activations,
    commands,
    files,
    instances,
    invocation_results,
    invocations,
    managed_instances,
    tags,
)

__all__ = [
    "activations",
    "commands",
    "files",
    "instances",
    "invocation_results",
    "invocations",
    "managed_instances",
    "tags",
]
