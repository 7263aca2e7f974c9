"""Tables: which columns, in which order, as text for people, as CSV or as JSON for programs.

Whatever is not printable in a cell is escaped: hosts and callers choose what is in it.
"""

import csv
import functools
import io
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import click

from backfleet.cli._print import print_json, print_text
from backfleet.values import value_object
from backfleet_host.texts import printable

GAP: Final = 2  # spaces between columns
NARROWEST: Final = 20  # characters of a terminal for which tables are folded
LEAST_READABLE: Final = 8  # columns of a terminal: what is folded to less is read by nobody
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet would execute
_DIGITS: Final = re.compile("([0-9]{1,18})")

Row = Sequence[object]
Command = Callable[..., Any]


class UnknownColumn(ValueError):
    """A table has no column of that name."""


@value_object
class Output:
    """How a list is printed."""

    form: str = "table"  # or json, csv
    columns: tuple[str, ...] = ()  # () = all
    sort: tuple[str, ...] = ()  # by these columns; with - before it, the other way round

    @property
    def is_json(self) -> bool:
        """Whether a program reads JSON."""
        return self.form == "json"

    def show(self, headings: Sequence[str], rows: Iterable[Row], document: Any, further: int = 0) -> None:
        """Print a table.

        Args:
            headings: names of the columns, in capitals; an option names them in lower case, with - for a space.
            rows: as many cells each.
            document: what JSON shows instead. A list with an entry for each row is sorted like them.
            further: how many of the last columns are shown only where they are named.
        """
        found = list(rows)
        try:
            order = sorted_by(headings, found, self.sort)
            chosen = chosen_columns(headings, self.columns or headings[: len(headings) - further])
        except UnknownColumn as problem:
            raise click.UsageError(str(problem)) from None
        if self.is_json:
            is_parallel = isinstance(document, list) and len(document) == len(found)
            print_json([document[at] for at in order] if is_parallel else document)
            return
        cells = [[found[at][column] for column in chosen] for at in order]
        names = [headings[column] for column in chosen]
        if self.form == "csv":
            print_text(as_csv(names, cells), end="")
        else:
            print_text(in_bold(layout(names, cells, terminal_width())))


def output_options(command: Command) -> Any:
    """Give a command --json, --csv, --columns and --sort, as the argument `output`."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
    @click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")
    @click.option("--columns", metavar="NAMES", help="Only these columns, with commas.")
    @click.option("--sort", metavar="NAMES", help="Sort by these columns; -NAME sorts downwards.")
    @functools.wraps(command)
    def with_output(
        *arguments: Any, as_json: bool, as_csv: bool, columns: str | None, sort: str | None, **named: Any
    ) -> None:
        if as_json and as_csv:
            raise click.UsageError("--json and --csv exclude each other")
        form = "json" if as_json else "csv" if as_csv else "table"
        command(*arguments, output=Output(form, _names(columns), _names(sort)), **named)

    return with_output


def print_table(headings: Sequence[str], rows: Iterable[Row]) -> None:
    """Print a table on stdout, which fits the terminal; only the headings if there are no rows."""
    print_text(in_bold(layout(headings, rows, terminal_width())))


def terminal_width() -> int | None:
    """Return the columns of the terminal on stdout; None if it is none: then nothing is folded."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def has_colours() -> bool:
    """Return whether stdout is a terminal with colours, and NO_COLOR is not set (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def in_bold(text: str) -> str:
    """Return a table with its headings in bold, on a terminal with colours."""
    if not has_colours():
        return text
    first, newline, rest = text.partition("\n")
    return f"{click.style(first, bold=True)}{newline}{rest}"


def layout(headings: Sequence[str], rows: Iterable[Row], width: int | None) -> str:
    """Return a table as text without a last newline. Columns are as wide as their widest cell.

    Args:
        headings: the first line.
        rows: as many cells each.
        width: of the terminal. A table that is wider has its longest columns folded, and if nobody could read these,
            its rows are one below the other, a line for each cell. None: nothing is folded.
    """
    from rich.cells import cell_len, set_cell_size

    cells = [[printable(_text(cell)) for cell in row] for row in (headings, *rows)]
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(headings))]
    if width is not None:
        wanted, widths = widths, fitted(widths, max(width, NARROWEST) - GAP * (len(widths) - 1))
        if len(cells) > 1 and any(size < min(most, LEAST_READABLE) for size, most in zip(widths, wanted, strict=True)):
            return _below_each_other(cells, max(width, NARROWEST))
    lines = []
    for row in cells:
        folded = [_fold(cell, size) for cell, size in zip(row, widths, strict=True)]
        for at in range(max(map(len, folded))):
            parts = [part[at] if at < len(part) else "" for part in folded]
            line = (" " * GAP).join(set_cell_size(part, size) for part, size in zip(parts, widths, strict=True))
            lines.append(line.rstrip())
    return "\n".join(lines)


def _below_each_other(cells: Sequence[Sequence[str]], width: int) -> str:
    """Return the rows of a table as blocks with a line for each cell that is not empty, the headings first in it."""
    from rich.cells import cell_len, set_cell_size

    headings, *rows = cells
    left = min(max(map(cell_len, headings)), width // 2)
    blocks = []
    for row in rows:
        lines = []
        for heading, cell in zip(headings, row, strict=True):
            parts = _fold(cell, width - left - GAP) if cell else []
            for at, part in enumerate(parts):
                lines.append(f"{set_cell_size('' if at else heading, left)}{' ' * GAP}{part}".rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def fitted(widths: Sequence[int], space: int) -> list[int]:
    """Return widths of columns that fit: the widest ones are cut down to one limit, the others stay."""
    if sum(widths) <= space:
        return list(widths)
    limit = next(limit for limit in range(max(widths), 0, -1) if limit == 1 or _sum_under(widths, limit) <= space)
    found = [min(width, limit) for width in widths]
    left = space - sum(found)
    for at, width in enumerate(widths):  # what is left goes to those that were cut, from the left
        if left > 0 and width > found[at]:
            found[at], left = found[at] + 1, left - 1
    return found


def _sum_under(widths: Sequence[int], limit: int) -> int:
    return sum(min(width, limit) for width in widths)


def _fold(cell: str, width: int) -> list[str]:
    from rich.cells import chop_cells

    return chop_cells(cell, max(width, 1)) or [""]


def as_csv(headings: Sequence[str], rows: Iterable[Row]) -> str:
    """Return a table as CSV (RFC 4180). Text that a spreadsheet would take for a formula begins with an apostrophe."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([_name(heading) for heading in headings])
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return file.getvalue()


def _harmless(cell: object) -> str:
    text = _text(cell)
    is_formula = text.startswith(_FORMULA) and not (isinstance(cell, int | float) and not isinstance(cell, bool))
    return printable(f"'{text}" if is_formula else text)


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def chosen_columns(headings: Sequence[str], columns: Sequence[str]) -> list[int]:
    """Return the positions of columns; all, if none is named.

    Raises:
        UnknownColumn: there is no such column.
    """
    return [_position(headings, name) for name in columns] or list(range(len(headings)))


def sorted_by(headings: Sequence[str], rows: Sequence[Row], names: Sequence[str]) -> list[int]:
    """Return the order of rows: by the first of the named columns, then by the next. Numbers in text count as numbers.

    Raises:
        UnknownColumn: there is no such column.
    """
    order = list(range(len(rows)))
    for name in reversed(names):
        column = _position(headings, name.removeprefix("-"))
        places = [_place(row[column]) for row in rows]
        order.sort(key=places.__getitem__, reverse=name.startswith("-"))
    return order


def _place(cell: object) -> tuple[Any, ...]:
    """Return what a cell sorts by: numbers before text, and numbers in text by their value."""
    if isinstance(cell, int | float):
        return 0, cell
    parts = _DIGITS.split(_text(cell).casefold())
    return 1, [int(part) if at % 2 else part for at, part in enumerate(parts)]


def _position(headings: Sequence[str], name: str) -> int:
    names = [_name(heading) for heading in headings]
    wanted = _name(name)
    if wanted not in names:
        raise UnknownColumn(f"there is no column {name!r}; there are {', '.join(names)}")
    return names.index(wanted)


def _name(heading: str) -> str:
    return heading.lower().replace(" ", "-").replace("(", "").replace(")", "")


def _names(text: object) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in str(text or "").split(","))))
