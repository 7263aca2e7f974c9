"""Ranges of versions, such as `>=1.70,<1.75`: bounds that must all hold, each by the order of the scheme.

PEP 440 has ranges of its own, which are read by its library.
"""

from __future__ import annotations

import operator
import re
from functools import lru_cache
from typing import Any, Callable, Optional

LONGEST_RANGE = 500  # characters

InRange = Callable[[str], bool]
"""Tells whether a version is in a range."""

OrderOf = Callable[[str], Optional[Any]]

_BOUND = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*([^\s<>=!,]+)\s*")
_COMPARE = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def ranges_by(order_of: OrderOf) -> Callable[[str], Optional[InRange]]:
    """Return the reader of ranges over an order. Nothing but the order decides: a pre-release is below its release."""

    @lru_cache(maxsize=1024)
    def range_of(text: str) -> Optional[InRange]:
        bounds = []
        for part in text.split(","):
            found = _BOUND.fullmatch(part)
            limit = order_of(found[2]) if found else None
            if found is None or limit is None:
                return None
            bounds.append((_COMPARE[found[1]], limit))

        def contains(version: str) -> bool:
            order = order_of(version)
            return order is not None and all(compare(order, limit) for compare, limit in bounds)

        return contains

    return range_of
