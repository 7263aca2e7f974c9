"""STS, called by the same callers as RAM."""

from operations.ram.conftest import data, elsewhere, ram, services

__all__ = ["data", "elsewhere", "ram", "services"]
