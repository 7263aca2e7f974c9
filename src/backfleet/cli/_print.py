"""Output of the command line: lines for people, JSON for programs."""

import json
import re
import sys
import time

import click

from backfleet_host.texts import printable

_UNPRINTABLE = re.compile(r"[^ -~]")


def say(line: str, *, err: bool = False) -> None:
    """Print one line on stdout or stderr; whatever is not printable in it is escaped."""
    click.echo(printable(line), err=err)


def wants_json() -> bool:
    """Return whether the command that runs was given --json."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.params.get("as_json"))


def print_json(value: object, *, err: bool = False) -> None:
    """Print one JSON document on stdout or stderr, exactly: what is not printable is escaped as JSON does it."""
    stream = sys.stderr if err else sys.stdout
    text = json.dumps(value, indent=2 if stream.isatty() else None, ensure_ascii=False)
    click.echo(_UNPRINTABLE.sub(_as_json_escape, text), err=err)


def _as_json_escape(found: re.Match[str]) -> str:
    if found[0].isprintable() or found[0] == "\n":
        return found[0]
    return json.dumps(found[0])[1:-1] if ord(found[0]) > 0xFFFF else f"\\u{ord(found[0]):04x}"


def print_text(text: str, *, end: str = "\n") -> None:
    """Print lines on stdout whose parts are escaped already."""
    click.echo(text + end, nl=False)


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
