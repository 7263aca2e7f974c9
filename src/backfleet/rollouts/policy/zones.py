"""Time zones by their names in the time zone database."""

import re
from datetime import UTC, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

HOST: Final = "host"
"""What a policy writes for the zone that each host's agent reports."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,3}")


@lru_cache(maxsize=1000)
def zone_of(name: str) -> tzinfo | None:
    """Return the zone of a name such as `Europe/Berlin` or `UTC`; None if the database has none."""
    if name == "UTC":
        return UTC
    if len(name) > 64 or not _NAME.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # a folder of the database, or no such name
        return None
