"""Tags as every product's requests carry them: `Tag.1.Key=team&Tag.1.Value=web`."""

from collections.abc import Callable
from dataclasses import make_dataclass
from typing import Final

from backfleet.values import value_object
from backfleet.wire.errors import ApiError
from backfleet.wire.parameters import text

RESERVED: Final = ("aliyun", "acs:")
"""How keys begin that the cloud keeps for itself, in any letter case."""


def is_reserved(key: str) -> bool:
    """Return whether callers may not set, or pin by, tags with this key."""
    return key.casefold().startswith(RESERVED)


@value_object
class Tag:
    """A key, and a value if there is one; each at most 128 characters."""

    key: str | None = text("Key", longest=128)
    value: str | None = text("Value", longest=128)


def tag_type(
    *,
    longest_key: int,
    bad_key: Callable[[], ApiError] | None = None,
    bad_value: Callable[[], ApiError] | None = None,
) -> type[Tag]:
    """Return a kind of Tag whose key has another limit, and whose errors are those of a product."""
    key = text("Key", longest=longest_key, refusal=bad_key)
    value = text("Value", longest=128, refusal=bad_value)
    fields = [("key", str | None, key), ("value", str | None, value)]
    return make_dataclass("Tag", fields, bases=(Tag,), slots=True, unsafe_hash=True)
