"""Parts of versions in the form in which they compare. Numbers stay text: nobody limits how many digits one has."""

from __future__ import annotations

import re
from typing import Any, List, Tuple

_RUNS = re.compile(r"([^0-9]*)([0-9]*)")
_END = (0,)  # of a run of other signs: after `~`, before everything else


def number(digits: str) -> Tuple[int, str]:
    """Return ASCII digits as what compares like the number they are. No digits are 0."""
    significant = digits.lstrip("0")
    return len(significant), significant


def runs(text: str) -> Tuple[Any, ...]:
    """Return a text in the form in which Debian compares it: runs of other signs and numbers by turns.

    In a run of other signs `~` comes before the end, the end before letters, and letters before the rest.
    Source: Debian policy, section 5.6.12; deb-version(7).
    """
    found: List[Any] = []
    for signs, digits in _RUNS.findall(text):
        if signs or digits or not found:
            found += [(*map(_place, signs), *_END), number(digits)]
    return (*found, _END)


def _place(sign: str) -> int:
    if sign == "~":
        return -1
    return ord(sign) if sign.isalpha() else ord(sign) + 256
