"""A part of a list, and how many there are in all."""

from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part: `number` counts from 1."""

    number: int = 1
    size: int = 10

    @property
    def offset(self) -> int:
        """How many items come before it."""
        return (self.number - 1) * self.size


@dataclass(frozen=True, slots=True)
class Found(Generic[Item]):
    """The items of a page, and how many there are over all pages."""

    items: list[Item]
    total: int
