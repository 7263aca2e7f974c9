#!/usr/bin/env python3
"""Write man pages from the command lines themselves: `write_man_pages.py FOLDER`.

One page for `backfleet` and for each of its commands, and one for `backfleet-host`.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from backfleet import VERSION
from backfleet.cli import main as backfleet
from backfleet_host import VERSION as HOST_VERSION
from backfleet_host.__main__ import _parser as host_parser

FILES = """\
.SH FILES
.TP
.I ~/.config/backfleet/profiles.toml
Servers and keys that \\fBbackfleet configure\\fR wrote.
.TP
.I admin.json
In the data folder of a server: the first account's key.
"""


def pages() -> dict[str, str]:
    """Return every page by its file's name."""
    context = click.Context(backfleet, info_name="backfleet")
    commands = commands_of(context)
    made = {"backfleet.1": page_of(context, ", ".join(f"backfleet-{each.info_name}(1)" for each in commands))}
    for each in commands:
        made[f"backfleet-{each.info_name}.1"] = page_of(each, "backfleet(1)")
    made["backfleet-host.8"] = host_page()
    return made


def commands_of(context: click.Context) -> list[click.Context]:
    """Return the commands of a group, those that are hidden left out; none if it is no group."""
    group, found = context.command, []
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is not None and not command.hidden:
                found.append(click.Context(command, info_name=name, parent=context))
    return found


def page_of(context: click.Context, also: str) -> str:
    """Return the page of one command and, if it is a group, of all commands in it but those of `backfleet` itself."""
    command, name = context.command, escaped(context.command_path.replace(" ", "-"))
    short = escaped((command.help or "").split("\n", 1)[0].rstrip("."))
    lines = [head(context.command_path.replace(" ", "-"), "1", "backfleet", VERSION), f".SH NAME\n{name} \\- {short}"]
    usage = escaped(" ".join(command.collect_usage_pieces(context)))
    lines += [".SH SYNOPSIS", f".B {escaped(context.command_path)}\n{usage}"]
    lines += [".SH DESCRIPTION", *paragraphs(command.help or ""), *options(context)]
    inner = commands_of(context)
    lines += [".SH COMMANDS"] if inner else []
    for each in inner:
        lines += subcommand(each, is_deep=context.parent is not None)
    return "\n".join([*lines, FILES.rstrip("\n"), ".SH SEE ALSO", escaped(also)]) + "\n"


def subcommand(context: click.Context, *, is_deep: bool) -> Iterator[str]:
    """Yield the lines about one command of a group: all of it, or its first line where it has a page of its own."""
    command = context.command
    if not is_deep:
        yield f".TP\n.B {escaped(context.info_name or '')}\n{escaped((command.help or '').split(chr(10), 1)[0])}"
        return
    yield f".SS {escaped(context.command_path)} {escaped(' '.join(command.collect_usage_pieces(context)))}"
    yield from paragraphs(command.help or "")
    yield from options(context, heading=False)


def options(context: click.Context, *, heading: bool = True) -> Iterator[str]:
    """Yield the lines about a command's options."""
    records = [record for each in context.command.get_params(context) if (record := each.get_help_record(context))]
    if records and heading:
        yield ".SH OPTIONS"
    for flags, text in records:
        yield f".TP\n.B {escaped(flags)}\n{escaped(text or chr(160))}"


def host_page() -> str:
    """Return the page of the host program."""
    parser = host_parser()
    lines = [head("backfleet-host", "8", "backfleet-host", HOST_VERSION)]
    lines.append(f".SH NAME\nbackfleet\\-host \\- {escaped((parser.description or '').rstrip('.'))}")
    lines += [
        ".SH SYNOPSIS",
        ".B backfleet\\-host",
        escaped(parser.format_usage().partition("backfleet-host ")[2].strip()),
    ]
    lines += [".SH DESCRIPTION", escaped(parser.description or ""), ".SH COMMANDS"]
    (verbs,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    for name, inner in verbs.choices.items():
        usage = re.sub(r"\s+", " ", inner.format_usage().partition(name)[2])
        lines += [f".SS {escaped(name)}{escaped(usage)}", escaped(inner.description or "")]
        for action in inner._actions:
            flags = ", ".join(action.option_strings) or (action.metavar or action.dest)
            shown = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
            lines.append(f".TP\n.B {escaped(str(flags))}\n{escaped(shown or chr(160))}")
    places = (
        ("/opt/backfleet", "Clients, the agent's identity, its journal."),
        ("/etc/backfleet", "The host's rules."),
    )
    lines += [".SH FILES", *(f".TP\n.I {path}\n{text}" for path, text in places)]
    return "\n".join(lines) + "\n"


def head(name: str, section: str, source: str, version: str) -> str:
    """Return the first line of a page."""
    return f'.TH "{name.upper()}" "{section}" "" "{source} {version}" "Backfleet"'


def paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text."""
    for number, each in enumerate(re.split(r"\n\s*\n", text.replace("\b", "").strip())):
        yield (".PP\n" if number else "") + escaped(re.sub(r"\s+", " ", each).strip())


def escaped(text: str) -> str:
    """Return text in which nothing is a request or an escape of roff."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace("\n", " ")
    return re.sub(r"^([.'])", r"\\&\1", safe)


def main() -> int:
    """Write the pages; return the exit code."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)
    print(f"{len(pages())} pages in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
