"""Tell text from what only looks like it: one rule for everything that is stored, signed or sent."""

from __future__ import annotations

import re

NOT_TEXT = re.compile("[\0\ud800-\udfff]")
"""NUL, which PostgreSQL and command lines cannot hold, and half characters, which JSON can write and UTF-8 cannot."""


def is_text(value: object) -> bool:
    """Return whether a value is text that can be stored, signed and sent."""
    return isinstance(value, str) and NOT_TEXT.search(value) is None
