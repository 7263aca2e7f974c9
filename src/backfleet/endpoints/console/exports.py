"""Tables as files. A cell that a spreadsheet would take for a formula begins with an apostrophe."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def as_csv(name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> web.Response:
    """Return rows as a CSV file with these columns."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([cell(row.get(column)) for column in columns] for row in rows)
    return _file(f"{name}.csv", text.getvalue(), "text/csv")


def as_json(name: str, rows: Sequence[Mapping[str, Any]]) -> web.Response:
    """Return rows as a JSON file."""
    return _file(f"{name}.json", json.dumps(rows, ensure_ascii=False, indent=1), "application/json")


def cell(value: object) -> str:
    """Return a value as a cell; a list or an object as JSON."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text


def _file(name: str, text: str, kind: str) -> web.Response:
    headers = {"Content-Disposition": f'attachment; filename="backfleet-{name}"'}
    return web.Response(body=text.encode(errors="replace"), content_type=kind, charset="utf-8", headers=headers)
