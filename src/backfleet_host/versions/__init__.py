"""Compare versions, and find the upgrade path from one to another. Pure, and the same on both sides.

What counts as newer depends on who numbers the versions: to Debian 1.10-1+b9 is older than 1.10-1+b10, to PEP 440 it is
not. So every package has a version scheme, which its first release fixes, and nothing is compared without one.

- `scheme_of` returns a scheme by its name, one of `SCHEMES`; `default_scheme` that of a first release.
- `Scheme.order_of` gives the form in which versions compare; `within` and `is_range` read ranges.
- `upgrade_path` finds the versions to go through.

A scheme's library is imported when it is first needed: a host that only reports its status needs none.
"""

from __future__ import annotations

from typing import Dict, Tuple

from backfleet_host.versions import calendar, deb, natural, pep440, rpm, semver
from backfleet_host.versions.paths import LONGEST_UPGRADE_PATH, Candidate, upgrade_path
from backfleet_host.versions.ranges import LONGEST_RANGE
from backfleet_host.versions.scheme import Scheme

__all__ = [
    "FIRST_SCHEME",
    "LONGEST_RANGE",
    "LONGEST_UPGRADE_PATH",
    "SCHEMES",
    "Candidate",
    "Scheme",
    "UnknownScheme",
    "default_scheme",
    "scheme_of",
    "upgrade_path",
]

FIRST_SCHEME = pep440.SCHEME.name
"""The scheme of packages and manifests from before there were several, and of what does not say another by itself."""

_BY_NAME: Dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (deb.SCHEME, rpm.SCHEME, semver.SCHEME, pep440.SCHEME, calendar.SCHEME, natural.SCHEME)
}
SCHEMES: Tuple[str, ...] = tuple(_BY_NAME)


class UnknownScheme(ValueError):
    """This program cannot compare by that scheme: a newer one may."""

    def __init__(self, name: str) -> None:
        super().__init__(f"version scheme {name[:80]!r} is none of {', '.join(SCHEMES)}")


def scheme_of(name: str) -> Scheme:
    """Return a scheme by its name.

    Raises:
        UnknownScheme: there is none of this name here.
    """
    found = _BY_NAME.get(name)
    if found is None:
        raise UnknownScheme(name)
    return found


def default_scheme(form: str) -> str:
    """Return the name of the scheme of a package whose first release has this format and names no other."""
    return deb.SCHEME.name if form == "deb" else FIRST_SCHEME
