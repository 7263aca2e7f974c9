"""What somebody may have meant who wrote a command that there is not, or an option in another place. Pure."""

import difflib
import re
from collections.abc import Sequence
from typing import Final

import click

MOST: Final = 3
NO_COMMAND: Final = "No such command"
LIKENESS: Final = 0.6  # of two words, from 0 to 1; as in the standard library
OF_COMMANDS: Final = ("--endpoint", "--profile", "--ca", "--data", "--json", "--csv", "--yes")
"""Options that almost every command has, and no group."""
_SUGGESTION: Final = re.compile(r" \(?Did you mean [^?]*\?\)?\Z|(?<=\.) \(Did you mean one of: .*\)\Z")


def without_hint(message: str) -> str:
    """Return the message of a command that there is not without what the library suggests: `hint_for` knows more."""
    return _SUGGESTION.sub("", message) if message.startswith(NO_COMMAND) else message


def hint_for(problem: click.UsageError, arguments: Sequence[str]) -> str:
    """Return what the caller may have meant; "" if nothing is near.

    Args:
        problem: What the command line was refused for.
        arguments: The command line.
    """
    context = problem.ctx
    if context is None or not isinstance(context.command, click.Group):
        return ""
    if isinstance(problem, click.NoSuchOption):
        return _for_option(problem.option_name, context, arguments)
    if problem.message.startswith(NO_COMMAND):
        return _for_command(_unknown(problem.message), context, context.command)
    return ""


def _unknown(message: str) -> str:
    return message.partition("'")[2].rpartition("'")[0]


def _for_option(name: str, context: click.Context, arguments: Sequence[str]) -> str:
    if name.partition("=")[0] not in OF_COMMANDS:
        return ""
    words = [word for word in arguments if word != name]
    return f"{name} follows the command: `{context.command_path} COMMAND {name} ...`" if words else ""


def _for_command(word: str, context: click.Context, group: click.Group) -> str:
    names = group.list_commands(context)
    near = [f"{context.command_path} {name}" for name in difflib.get_close_matches(word, names, MOST, LIKENESS)]
    near += [path for path in _one_below(word, context, group) if path not in near]
    return f"Did you mean {' or '.join(f'`{each}`' for each in near[:MOST])}?" if near else ""


def _one_below(word: str, context: click.Context, group: click.Group) -> list[str]:
    """Return the commands of groups below that have this name, or nearly: `upgrade` is one of `client`."""
    found: list[tuple[float, str]] = []
    for name in group.list_commands(context):
        below = group.get_command(context, name)
        if isinstance(below, click.Group):
            for each in below.list_commands(context):
                likeness = difflib.SequenceMatcher(None, word, each).ratio()
                if likeness >= LIKENESS:
                    found.append((-likeness, f"{context.command_path} {name} {each}"))
    return [path for _, path in sorted(found)]
