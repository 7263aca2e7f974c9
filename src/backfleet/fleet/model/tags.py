"""Tags of resources."""

from collections.abc import Sequence
from dataclasses import dataclass

TagFilter = Sequence[tuple[str, str | None]]
"""Keys and values of tags that a resource must all have; None matches any value."""


@dataclass(frozen=True, slots=True)
class ResourceTag:
    """One tag of one resource."""

    resource_id: str
    key: str
    value: str
