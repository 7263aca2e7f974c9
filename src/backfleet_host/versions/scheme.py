"""What a version scheme is: one total order of the versions that it reads, and ranges over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional

from backfleet_host.texts import NOT_IN_LINE
from backfleet_host.versions.ranges import LONGEST_RANGE, InRange


@dataclass(frozen=True)
class Scheme:
    """One way to number versions."""

    name: str
    example: str  # of versions, for people whose version was refused
    order_of: Callable[[str], Any]
    """Return a version in the form in which it compares with others of this scheme; None if it does not."""
    range_of: Callable[[str], Optional[InRange]]
    """Return a test for the versions in a range; None if the text is no range."""

    def within(self, version: str, allowed: str) -> bool:
        """Return whether a version is in a range such as `>=1.70,<1.75` ("" = any).

        A range or a version that cannot be read allows nothing.
        """
        if not allowed:
            return True
        is_in_range = self.range_of(allowed)
        return is_in_range is not None and is_in_range(version)

    def is_range(self, text: str) -> bool:
        """Return whether this is a range of versions. "" is: it allows any."""
        if NOT_IN_LINE.search(text):
            return False
        return not text or (len(text) <= LONGEST_RANGE and self.range_of(text) is not None)

    def is_newer(self, one: str, other: str) -> bool:
        """Return whether one version is newer than another; True if they do not compare, because it may be."""
        first, second = self.order_of(one), self.order_of(other)
        return first is None or second is None or bool(first > second)

    def is_older(self, one: str, other: str) -> bool:
        """Return whether one version is older than another; False if they do not compare."""
        first, second = self.order_of(one), self.order_of(other)
        return first is not None and second is not None and bool(first < second)

    def is_equal(self, one: str, other: str) -> bool:
        """Return whether two versions have the same place in the order, as `1.2` and `1.2.0` have in some schemes."""
        first, second = self.order_of(one), self.order_of(other)
        return one == other if first is None or second is None else bool(first == second)
