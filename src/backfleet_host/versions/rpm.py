"""Versions of RPM packages, as rpm compares them: `[epoch:]version[-release]`.

A missing release is older than any, as for `rpmdev-vercmp`.
Source: rpm-version(7); rpmio/rpmvercmp.c; lib/rpmver.c.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, List, Optional, Tuple

from backfleet_host.versions.parts import number
from backfleet_host.versions.ranges import ranges_by
from backfleet_host.versions.scheme import Scheme

_FORM = re.compile(r"(?:([0-9]+):)?([A-Za-z0-9._+~^]+)(?:-([A-Za-z0-9._+~^]+))?")
_SEGMENTS = re.compile(r"([0-9]+)|([A-Za-z]+)|([~^])")
_LARGEST_EPOCH = number("4294967295")

# What comes first is older. Whatever separates segments counts for nothing.
_TILDE, _END, _CARET, _LETTERS, _NUMBER = range(5)


@lru_cache(maxsize=4096)
def order_of(version: str) -> Optional[Tuple[Any, ...]]:
    """Return a version in the form in which it compares with others; None if it is not of the form."""
    found = _FORM.fullmatch(version)
    if found is None or number(found[1] or "0") > _LARGEST_EPOCH:
        return None
    release = () if found[3] is None else _segments(found[3])
    return number(found[1] or "0"), _segments(found[2]), release


def _segments(text: str) -> Tuple[Any, ...]:
    segments: List[Tuple[Any, ...]] = []
    for digits, letters, mark in _SEGMENTS.findall(text):
        if digits:
            segments.append((_NUMBER, number(digits)))
        elif letters:
            segments.append((_LETTERS, letters))
        else:
            segments.append((_TILDE if mark == "~" else _CARET,))
    return (*segments, (_END,))


SCHEME = Scheme("rpm", "1:2.8.1~rc1-3.fc40", order_of, ranges_by(order_of))
