"""Pages of long lists: which part is asked for, and the part with the total.

Any part of the program may use it; it imports nothing of the product. A query takes a `Page` and returns a `Listing`.
"""

from datetime import datetime
from typing import Generic, TypeVar

from backfleet.values import value_object

LAST_PAGE = 1_000_000  # the highest page number that can be asked for

Item = TypeVar("Item")
Position = tuple[datetime | int | str, ...]
"""Where a part of a list ended: what its last item is ordered by. It stays right whatever is added or deleted."""


@value_object
class Page:
    """The part of a list that is asked for: what comes after a position, or else the page of a number, from 1 on."""

    number: int = 1
    size: int = 10
    after: Position | None = None

    @property
    def offset(self) -> int:
        """The number of items to leave out before this page."""
        return 0 if self.after is not None else (self.number - 1) * self.size


@value_object
class Listing(Generic[Item]):
    """The items of one page, the number of items on all pages, and where this one ended if there are more."""

    items: list[Item]
    total: int
    ended: Position | None = None
