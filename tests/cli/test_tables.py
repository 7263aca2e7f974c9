"""Tables: columns, order, width, CSV; for people and for programs."""

import csv
import io
import json

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from backfleet.cli import _tables
from backfleet.cli._tables import (
    Output,
    UnknownColumn,
    as_csv,
    chosen_columns,
    fitted,
    in_bold,
    layout,
    output_options,
    sorted_by,
)

HEADINGS = ("CLIENT", "LAST BEGAN", "VERSION")
ROWS = [("c-2", "2026", "1.10"), ("c-10", "2025", "1.9"), ("c-1", "2026", None)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("client",), ["c-1", "c-2", "c-10"]),
        (("-client",), ["c-10", "c-2", "c-1"]),
        (("version",), ["c-1", "c-10", "c-2"]),  # 1.9 is older than 1.10
        (("last-began", "client"), ["c-10", "c-1", "c-2"]),
        (("-last-began", "client"), ["c-1", "c-2", "c-10"]),
        ((), ["c-2", "c-10", "c-1"]),
    ],
)
def test_rows_are_sorted_by_columns(names: tuple[str, ...], expected: list[str]) -> None:
    """Numbers in text count as numbers; what is equal stays in its order."""
    assert [ROWS[at][0] for at in sorted_by(HEADINGS, ROWS, names)] == expected


def test_an_unknown_column_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownColumn, match="there is no column 'size'; there are client, last-began, version"):
        chosen_columns(HEADINGS, ("size",))
    assert chosen_columns(HEADINGS, ("version", "LAST BEGAN")) == [2, 1]


@pytest.mark.parametrize(
    ("widths", "space", "expected"),
    [([5, 5], 20, [5, 5]), ([5, 30], 20, [5, 15]), ([30, 5, 30], 26, [11, 5, 10]), ([9, 9], 1, [1, 1])],
)
def test_the_widest_columns_give_way(widths: list[int], space: int, expected: list[int]) -> None:
    assert fitted(widths, space) == expected


@given(
    st.lists(st.tuples(st.text(max_size=120), st.text(max_size=10), st.text(max_size=60)), max_size=5),
    st.integers(20, 120),
)
def test_no_line_of_a_table_is_wider_than_the_terminal(rows: list[tuple[str, str, str]], width: int) -> None:
    """Whatever is in it, also characters of two columns; nothing is left out."""
    lines = layout(("A", "B", "C"), rows, width).splitlines()
    assert all(cell_len(line) <= width for line in lines)
    assert all(line.isprintable() for line in lines)


def test_a_table_that_nobody_could_read_has_a_line_for_each_cell() -> None:
    """The outcome of a host in a window of 40 columns."""
    headings = ("INSTANCE", "CLIENT", "STATUS", "FROM", "CODE", "MESSAGE")
    rows = [("mi-" + "4" * 20, "c-" + "5" * 20, "UPGRADE_FAILED", "1.0", "Upgrade.Unhealthy", "it does not start" * 2),
            ("mi-1", "c-1", "ACTIVATED", "1.0", "", None)]  # fmt: skip
    assert layout(headings, rows, 40).splitlines() == [
        "INSTANCE  mi-44444444444444444444",
        "CLIENT    c-55555555555555555555",
        "STATUS    UPGRADE_FAILED",
        "FROM      1.0",
        "CODE      Upgrade.Unhealthy",
        "MESSAGE   it does not startit does not s",
        "          tart",
        "",
        "INSTANCE  mi-1",
        "CLIENT    c-1",
        "STATUS    ACTIVATED",
        "FROM      1.0",
    ]


def test_a_long_name_is_folded_on_a_terminal_and_intact_in_a_pipe() -> None:
    name = "mi-" + "0123456789" * 9
    folded = layout(("INSTANCE", "STATE"), [(name, "yes")], 40).splitlines()
    assert "".join(line.split()[0] for line in folded[1:]) == name
    assert folded[1].endswith("yes")
    assert name in layout(("INSTANCE", "STATE"), [(name, "yes")], None)


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_csv_holds_no_formula(cell: str) -> None:
    """A spreadsheet executes what begins like this; a number is none."""
    found = list(csv.reader(io.StringIO(as_csv(("NAME", "PROGRESS"), [(cell, -1)]))))
    assert found[0] == ["name", "progress"]
    assert found[1][0].startswith("'")
    assert found[1][1] == "-1"


def test_csv_is_quoted_and_escaped() -> None:
    text = as_csv(("NAME",), [('a "b", c',), ("x\x1b[2Jy\nz",), ("größer",)])
    assert text == 'name\n"a ""b"", c"\nx\\x1b[2Jy\\nz\ngrößer\n'


@click.command()
@output_options
def listing(output: Output) -> None:
    """Print three rows."""
    output.show(HEADINGS, ROWS, [{"Id": row[0]} for row in ROWS])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--csv", "--columns", "version, client", "--sort", "client"], "version,client\n,c-1\n1.10,c-2\n1.9,c-10\n"),
        (["--columns", "client"], "CLIENT\nc-2\nc-10\nc-1\n"),
    ],
)
def test_every_list_has_the_same_options(arguments: list[str], expected: str) -> None:
    assert CliRunner().invoke(listing, arguments).stdout == expected


def test_json_is_sorted_like_the_table() -> None:
    done = CliRunner().invoke(listing, ["--json", "--sort", "client"])
    assert [each["Id"] for each in json.loads(done.stdout)] == ["c-1", "c-2", "c-10"]
    both = CliRunner().invoke(listing, ["--json", "--csv"])
    assert (both.exit_code, "exclude each other" in both.stderr) == (2, True)
    unknown = CliRunner().invoke(listing, ["--sort", "size"])
    assert (unknown.exit_code, "there is no column 'size'" in unknown.stderr) == (2, True)


@pytest.mark.parametrize(
    ("environment", "is_bold"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_respect_the_terminal_and_the_user(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], is_bold: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", Terminal())
    assert ("\x1b[1m" in in_bold("A\nb")) is is_bold
    assert _tables.terminal_width() is not None
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert (in_bold("A\nb"), _tables.terminal_width()) == ("A\nb", None)
