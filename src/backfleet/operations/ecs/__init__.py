"""ECS 2014-05-26: Cloud Assistant and managed instances, the part a fleet needs."""

from backfleet.operations.ecs import activations, instances

__all__ = ["activations", "instances"]
