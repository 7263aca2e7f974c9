"""STS 2015-04-01: who am I, and temporary credentials."""

from backfleet.operations.sts import asking, assuming, federated

__all__ = ["asking", "assuming", "federated"]
