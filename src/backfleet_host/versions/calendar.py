"""Versions that are dates: `2024.04.1`, `24.04`, `20240401`, `2024-04-01T12-00-00Z`, each with a modifier if need be.

The first number is the year, in full or counted from 2000 with two or three digits. Zeros at the end count for
nothing: 24.4 is 2024.04.0.
Source: calver.org, "Scheme" and "Modifier".
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, List, Optional, Tuple

from backfleet_host.versions.parts import number
from backfleet_host.versions.ranges import ranges_by
from backfleet_host.versions.scheme import Scheme

_FORM = re.compile(r"v?([0-9]+(?:[._T-][0-9]+)*)Z?(?:[._+~-]?([A-Za-z]+)[._-]?([0-9]*))?")
_DAY = re.compile(r"([0-9]{4})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])")
_SHORT_YEAR_DIGITS = (2, 3)
_FIRST_YEAR = 1970
_MODIFIERS = {
    "dev": -4, "a": -3, "alpha": -3, "b": -2, "beta": -2, "c": -1, "rc": -1, "pre": -1, "preview": -1,
    "": 0, "p": 1, "patch": 1, "post": 1, "r": 1, "rev": 1, "hotfix": 1,
}  # fmt: skip


@lru_cache(maxsize=4096)
def order_of(version: str) -> Optional[Tuple[Any, ...]]:
    """Return a version in the form in which it compares with others; None if it is no date."""
    found = _FORM.fullmatch(version)
    place = _MODIFIERS.get((found[2] or "").lower()) if found else None
    numbers = _numbers(found[1]) if found else []
    if found is None or place is None or not numbers:
        return None
    return tuple(map(number, numbers)), place, number(found[3] or "")


def _numbers(text: str) -> List[str]:
    """Return the numbers of a date, the year in full and without zeros at the end; none if it is no date."""
    first, *rest = re.split(r"[._T-]", text)
    day = _DAY.fullmatch(first)
    if day:
        first, rest = day[1], [day[2], day[3], *rest]
    if not rest or len(first) not in (*_SHORT_YEAR_DIGITS, 4):
        return []
    year = int(first) + 2000 if len(first) in _SHORT_YEAR_DIGITS else int(first)
    while rest and not rest[-1].strip("0"):
        rest.pop()
    return [str(year), *rest] if year >= _FIRST_YEAR else []


SCHEME = Scheme("calendar", "2024.04.1 or 20240401", order_of, ranges_by(order_of))
