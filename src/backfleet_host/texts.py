"""Tell text from what only looks like it: one rule for all that is stored, signed or sent, one for what is shown."""

from __future__ import annotations

import re

NOT_TEXT = re.compile("[\0\ud800-\udfff]")
"""NUL, which PostgreSQL and command lines cannot hold, and half characters, which JSON can write and UTF-8 cannot."""

_NOT_IN_LINES = (
    "\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff"
)
NOT_IN_LINES = re.compile(f"[{_NOT_IN_LINES}]")
"""What no text of several lines has that people write for people: control characters, marks of writing direction."""
NOT_IN_LINE = re.compile(f"[\\t\\n\\r{_NOT_IN_LINES}]")
"""The same of a name, a reason or a tag: they stand in one line of a list, a log or a message."""

LEFT_OUT = "\n[...]\n"  # stands for the middle of a text that is too long


def is_text(value: object) -> bool:
    """Return whether a value is text that can be stored, signed and sent."""
    return isinstance(value, str) and NOT_TEXT.search(value) is None


def first_and_last(text: str, most: int) -> str:
    """Return a text of at most `most` characters: its first and last lines, where it has more.

    The first lines name the error, the last ones what came of it: so of a traceback and of a log.
    """
    if len(text) <= most:
        return text
    space = max(0, most - len(LEFT_OUT))
    head, tail = text[: space // 3], text[len(text) - (space - space // 3) :]
    if "\n" in head:
        head = head[: head.rindex("\n")]
    if "\n" in tail:
        tail = tail[tail.index("\n") + 1 :]
    return f"{head}{LEFT_OUT}{tail}"[:most]


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, such as "1 fault" and "2 faults"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def printable(text: str) -> str:
    """Return a text for a terminal: what is not printable is written as an escape such as `\\x1b` or `\\n`.

    Hosts and callers choose names, versions and messages. Printed as they are, these could move the cursor, hide lines
    or pretend to be other ones. That includes characters that change the direction of what follows.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
