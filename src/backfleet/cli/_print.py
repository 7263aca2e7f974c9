"""How the command line shows things to people, and to programs with `--json`."""

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

COLUMN_GAP = "  "


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their widest cell; nothing but the headings when there are no rows."""
    click.echo(table(headings, rows))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The table as text, without a last newline."""
    cells = [[str(heading) for heading in headings], *[["" if c is None else str(c) for c in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return "\n".join(
        COLUMN_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def moment(seconds: object) -> str:
    """Unix seconds as UTC text; empty for none."""
    if not isinstance(seconds, int | float):
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))


def size(count: int) -> str:
    """Bytes as people read them."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def items_of(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The items of a DescribeTask answer: Result is JSON text."""
    found = json.loads(task.get("Result") or "[]")
    return found if isinstance(found, list) else []


def item_rows(items: Sequence[Mapping[str, Any]]) -> list[list[object]]:
    """One row of a task's table per item."""
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
