"""STS, asked by the same callers as RAM."""

from operations.ram.conftest import data, elsewhere, house, ram

__all__ = ["data", "elsewhere", "house", "ram"]
