"""Pages of long lists: which part is asked for, and the part with the total.

Any part of the program may use it; it imports nothing of the product. A query takes a `Page` and returns a `Listing`.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

LAST_PAGE = 1_000_000  # the highest page number that can be asked for

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page:
    """The part of a list that is asked for. `number` counts from 1."""

    number: int = 1
    size: int = 10

    @property
    def offset(self) -> int:
        """The number of items before this page."""
        return (self.number - 1) * self.size


@dataclass(frozen=True, slots=True)
class Listing(Generic[Item]):
    """The items of one page, and the number of items on all pages."""

    items: list[Item]
    total: int
