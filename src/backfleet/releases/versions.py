"""Compare versions as hosts compare them. Pure."""

from packaging.version import Version

from backfleet.releases.errors import ReleaseRefused
from backfleet_host.versions import LONGEST_RANGE, Candidate, is_range, order_of, upgrade_path, within

__all__ = ["LONGEST_RANGE", "Candidate", "comparable", "is_range", "order_of", "upgrade_path", "within"]


def comparable(version: str) -> Version:
    """Return a version in the form in which it compares with others.

    Raises:
        ReleaseRefused: it cannot be compared with others.
    """
    order = order_of(version)
    if order is None:
        raise ReleaseRefused(
            f"version {version!r} cannot be compared with others; use numbers such as 1.75.2, with -1 or rc1 after them"
        )
    return order
