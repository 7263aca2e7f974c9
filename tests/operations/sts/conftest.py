"""STS, called by the same callers as RAM."""

from operations.ram.conftest import elsewhere, ram, services

__all__ = ["elsewhere", "ram", "services"]
