"""The lines of a file of evidence."""

import json
from collections.abc import Mapping
from typing import Any


def line_of(value: Mapping[str, Any]) -> str:
    """Return a value as the one text that stands for it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
