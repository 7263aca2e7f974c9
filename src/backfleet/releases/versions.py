"""How versions compare: pure.

Source: Python packaging, "Version specifiers". Clients number themselves in simpler ways, which read the same there.
"""

from functools import lru_cache
from typing import Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from backfleet.releases.refusal import ReleaseRefused

LONGEST_RANGE: Final = 500  # characters


@lru_cache(maxsize=4096)
def order_of(version: str) -> Version | None:
    """A version as it is compared with others; None if it cannot be."""
    try:
        order = Version(version.replace("~", "."))  # Debian writes 1.2~rc1
    except InvalidVersion:
        return None
    return order if "~" not in version or order.is_prerelease else None  # 1.2~3 is before 1.2, and 1.2.3 is not


def readable(version: str) -> Version:
    """The same, for a version that must compare.

    Raises:
        ReleaseRefused: it cannot be ordered among others.
    """
    order = order_of(version)
    if order is None:
        raise ReleaseRefused(
            f"version {version!r} cannot be compared with others; use numbers such as 1.75.2, with -1 or rc1 after them"
        )
    return order


def within(version: str, allowed: str) -> bool:
    """Whether a version is in a range such as `>=1.70,<1.75` ("" = any).

    A range or a version that cannot be read allows nothing. A pre-release counts: whoever offers it means it.
    """
    if not allowed:
        return True
    order, wanted = order_of(version), _range(allowed)
    return order is not None and wanted is not None and wanted.contains(order, prereleases=True)


def is_range(text: str) -> bool:
    """Whether this is a range of versions."""
    return len(text) <= LONGEST_RANGE and _range(text) is not None


@lru_cache(maxsize=1024)
def _range(text: str) -> SpecifierSet | None:
    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        return None
