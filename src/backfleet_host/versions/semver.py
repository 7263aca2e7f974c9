"""Semantic versions. `v1.2.3`, as tags have it, is 1.2.3; build metadata counts for nothing.

Source: Semantic Versioning 2.0.0, sections 2, 9, 10 and 11.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Optional, Tuple

from backfleet_host.versions.parts import number
from backfleet_host.versions.ranges import ranges_by
from backfleet_host.versions.scheme import Scheme

_NUMBER = r"(?:0|[1-9][0-9]*)"
_IDENTIFIER = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_FORM = re.compile(
    rf"v?({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_RELEASE = (1,)  # after all of its pre-releases


@lru_cache(maxsize=4096)
def order_of(version: str) -> Optional[Tuple[Any, ...]]:
    """Return a version in the form in which it compares with others; None if it is no semantic version."""
    found = _FORM.fullmatch(version)
    if found is None:
        return None
    before = (0, *map(_identifier, found[4].split("."))) if found[4] else _RELEASE
    return number(found[1]), number(found[2]), number(found[3]), before


def _identifier(text: str) -> Tuple[Any, ...]:
    """Numbers come before words."""
    return (0, number(text)) if text.isdigit() else (1, text)


SCHEME = Scheme("semver", "1.75.2 or 1.75.2-rc.1", order_of, ranges_by(order_of))
