"""Versions of Debian packages, as dpkg compares them: `[epoch:]upstream[-revision]`.

Source: Debian policy, section 5.6.12; deb-version(7); lib/dpkg/version.c and parsehelp.c.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Optional, Tuple

from backfleet_host.versions.parts import number, runs
from backfleet_host.versions.ranges import ranges_by
from backfleet_host.versions.scheme import Scheme

_LARGEST_EPOCH = number("2147483647")  # INT_MAX, dpkg's own limit
_EPOCH = re.compile(r"[0-9]+")
_UPSTREAM = re.compile(r"[0-9][A-Za-z0-9.+:~-]*")
_REVISION = re.compile(r"[A-Za-z0-9.+~]+")


@lru_cache(maxsize=4096)
def order_of(version: str) -> Optional[Tuple[Any, ...]]:
    """Return a version in the form in which it compares with others; None if dpkg would refuse it."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, hyphen, revision = rest.rpartition("-")
    if not hyphen:
        upstream, revision = rest, "0"  # no revision is revision 0
    if not _EPOCH.fullmatch(epoch) or number(epoch) > _LARGEST_EPOCH:
        return None
    if not _UPSTREAM.fullmatch(upstream) or not _REVISION.fullmatch(revision):
        return None
    return number(epoch), runs(upstream), runs(revision)


SCHEME = Scheme("deb", "1:4.96-15+deb12u10", order_of, ranges_by(order_of))
