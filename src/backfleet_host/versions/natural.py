"""Versions as people sort them: numbers by their value, everything else sign by sign, as `sort -V` does.

It reads every version, and knows no pre-releases: 1.2-rc1 comes after 1.2, and 1.2~rc1 before. `v1.2` is 1.2.
Source: GNU coreutils, "Version sort ordering"; without its rules for file suffixes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Optional, Tuple

from backfleet_host.versions.parts import runs
from backfleet_host.versions.ranges import ranges_by
from backfleet_host.versions.scheme import Scheme

_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]*")
_PREFIX = re.compile(r"[vV](?=[0-9])")


@lru_cache(maxsize=4096)
def order_of(version: str) -> Optional[Tuple[Any, ...]]:
    """Return a version in the form in which it compares with others; None if it is not of the form."""
    return runs(_PREFIX.sub("", version, count=1)) if _FORM.fullmatch(version) else None


SCHEME = Scheme("natural", "3.0.9c or r1234", order_of, ranges_by(order_of))
