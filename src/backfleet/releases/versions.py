"""How versions compare: pure, and as hosts compare them."""

from packaging.version import Version

from backfleet.releases.refusal import ReleaseRefused
from backfleet_host.versions import LONGEST_RANGE, Step, is_range, order_of, way, within

__all__ = ["LONGEST_RANGE", "Step", "is_range", "order_of", "readable", "way", "within"]


def readable(version: str) -> Version:
    """A version that must compare.

    Raises:
        ReleaseRefused: it cannot be ordered among others.
    """
    order = order_of(version)
    if order is None:
        raise ReleaseRefused(
            f"version {version!r} cannot be compared with others; use numbers such as 1.75.2, with -1 or rc1 after them"
        )
    return order
