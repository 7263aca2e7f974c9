"""Output of the command line: tables for people, JSON for programs."""

import json
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from backfleet_host.texts import printable

_UNPRINTABLE = re.compile(r"[^ -~]")
COLUMN_GAP = "  "


def say(line: str, *, err: bool = False) -> None:
    """Print one line on stdout or stderr; whatever is not printable in it is escaped."""
    click.echo(printable(line), err=err)


def print_json(value: object) -> None:
    """Print one JSON document on stdout, exactly: what is not printable is escaped as JSON does it."""
    text = json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False)
    click.echo(_UNPRINTABLE.sub(_as_json_escape, text))


def _as_json_escape(found: re.Match[str]) -> str:
    if found[0].isprintable() or found[0] == "\n":
        return found[0]
    return json.dumps(found[0])[1:-1] if ord(found[0]) > 0xFFFF else f"\\u{ord(found[0]):04x}"


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on stdout; only the headings if there are no rows."""
    click.echo(table(headings, rows))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as text without a last newline. Columns are as wide as their widest cell.

    What is not printable in a cell is escaped: hosts and callers choose what is in it.
    """
    cells = [
        [printable(str(heading)) for heading in headings],
        *[["" if cell is None else printable(str(cell)) for cell in row] for row in rows],
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return "\n".join(
        COLUMN_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def moment(seconds: object) -> str:
    """Return Unix seconds as a text in UTC; empty for none."""
    if not isinstance(seconds, int | float):
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))


def size(count: int) -> str:
    """Return a number of bytes in a readable unit."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def items_of(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the items of a DescribeTask answer, whose Result is JSON text."""
    found = json.loads(task.get("Result") or "[]")
    return found if isinstance(found, list) else []


def item_rows(items: Sequence[Mapping[str, Any]]) -> list[list[object]]:
    """Return the rows of a task's table, one for each item."""
    return [
        [
            item.get("instanceId"),
            item.get("clientId"),
            item.get("clientStatus"),
            item.get("stage"),
            item.get("fromVersion"),
            item.get("toVersion"),
            item.get("errorCode"),
            item.get("message"),
        ]
        for item in items
    ]


ITEM_HEADINGS = ("INSTANCE", "CLIENT", "STATUS", "STAGE", "FROM", "TO", "CODE", "MESSAGE")
