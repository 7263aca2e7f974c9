"""Tags of resources."""

from collections.abc import Sequence

from backfleet.values import value_object

TagFilter = Sequence[tuple[str, str | None]]
"""Keys and values of tags that a resource must all have; None matches any value."""


@value_object
class ResourceTag:
    """One tag of one resource."""

    resource_id: str
    key: str
    value: str
