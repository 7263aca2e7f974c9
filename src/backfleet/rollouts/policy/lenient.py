"""What can be known of a stored policy that another version wrote and this one refuses. Nothing is decided by it."""

import tomllib
from typing import Any


def ring_names(text: str, number: int) -> tuple[str, ...]:
    """Return a name for each of so many rings: as the text has it, or else by its place."""
    rings = _document(text).get("ring")
    written = rings if isinstance(rings, list) else []
    found = [ring.get("name") if isinstance(ring, dict) else None for ring in written[:number]]
    found += [None] * (number - len(found))
    return tuple(name if isinstance(name, str) else f"ring {place}" for place, name in enumerate(found, 1))


def calendar_names(text: str) -> tuple[str, ...]:
    """Return the calendars that a text names."""
    return _names(text, "window", "calendars")


def destination_names(text: str) -> tuple[str, ...]:
    """Return the destinations that a text has notified."""
    return _names(text, "notify", "to")


def _names(text: str, section: str, key: str) -> tuple[str, ...]:
    """Return the texts of a list; one text alone counts as a list."""
    table = _document(text).get(section)
    found = table.get(key) if isinstance(table, dict) else None
    names = [found] if isinstance(found, str) else found
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def _document(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}
