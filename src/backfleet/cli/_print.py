"""Output of the command line: tables for people, JSON for programs."""

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

COLUMN_GAP = "  "


def print_json(value: object) -> None:
    """Print one JSON document on stdout."""
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on stdout; only the headings if there are no rows."""
    click.echo(table(headings, rows))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as text without a last newline. Columns are as wide as their widest cell."""
    cells = [[str(heading) for heading in headings], *[["" if c is None else str(c) for c in row] for row in rows]]
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
