"""Tags as RAM's operations take them: repeated objects (the SDKs), or JSON in one parameter (the metadata)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from backfleet.operations.ram.errors import bad_parameter
from backfleet.operations.tags import RESERVED, Tag, is_reserved
from backfleet_host.texts import NOT_IN_LINE

MOST: Final = 20
LONGEST: Final = 128  # characters of a key or a value
BAD_TAG: Final = bad_parameter("Tag", "Format")


def read_tags(repeated: Sequence[Tag], written: str) -> dict[str, str | None]:
    """Return the tags of a call, by key. Raises BadParameter."""
    pairs = [(tag.key, tag.value) for tag in repeated]
    if written:
        pairs += _from_json(written)
    found: dict[str, str | None] = {}
    for key, value in pairs:
        if not key or key in found or len(key) > LONGEST or len(value or "") > LONGEST:
            raise BAD_TAG(f"Each tag has a Key that no other has; keys and values have at most {LONGEST} characters.")
        if is_reserved(key):
            raise BAD_TAG(f"Keys that begin with {' or '.join(RESERVED)} are reserved, {key!r} was found.")
        if NOT_IN_LINE.search(f"{key}{value or ''}"):
            raise BAD_TAG("Keys and values have no control characters, line ends or marks of writing direction.")
        found[key] = value
    if len(found) > MOST:
        raise BAD_TAG(f"At most {MOST} tags are taken, {len(found)} were found.")
    return found


def shown_tags(tags: Mapping[str, str]) -> dict[str, Any]:
    """Return tags as answers show them; no field where there are none."""
    listed = [{"TagKey": key, "TagValue": value} for key, value in sorted(tags.items())]
    return {"Tags": {"Tag": listed}} if listed else {}


def _from_json(written: str) -> list[tuple[Any, Any]]:
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(tag, dict) for tag in found):
        raise BAD_TAG('It is a list such as [{"Key":"a","Value":"b"}].')
    pairs = [(tag.get("Key"), tag.get("Value")) for tag in found]
    if not all(isinstance(part, str | None) for pair in pairs for part in pair):
        raise BAD_TAG("Keys and values are strings.")
    return pairs
