"""Versions of Python packages. Most clients that are no Python packages number themselves so that they read the same.

Source: Python packaging, "Version specifiers". Ranges are those of that page too: `~=1.75.2` and `==1.75.*` are some.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Optional

from backfleet_host.versions.ranges import InRange
from backfleet_host.versions.scheme import Scheme

if TYPE_CHECKING:
    from packaging.version import Version


@lru_cache(maxsize=4096)
def order_of(version: str) -> Optional[Version]:
    """Return a version in the form in which it compares with others; None if it does not compare."""
    from packaging.version import Version

    if version != version.strip():  # the library takes "1.0\\n" for 1.0, and no folder has that name
        return None
    try:
        order = Version(version.replace("~", "."))  # 1.2~rc1 is how others write 1.2rc1
    except ValueError:  # it is none, or has a number of thousands of digits
        return None
    return order if "~" not in version or order.is_prerelease else None  # 1.2~3 is before 1.2, and 1.2.3 is not


@lru_cache(maxsize=1024)
def range_of(text: str) -> Optional[InRange]:
    """Return a test for the versions in a range. A pre-release is allowed: it was offered on purpose."""
    from packaging.specifiers import SpecifierSet

    try:
        wanted = SpecifierSet(text)
    except ValueError:
        return None

    def contains(version: str) -> bool:
        order = order_of(version)
        return order is not None and wanted.contains(order, prereleases=True)

    return contains


SCHEME = Scheme("pep440", "1.75.2, 1.75.2-1 or 1.75rc1", order_of, range_of)
