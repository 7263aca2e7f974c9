"""The options that say which clients or hosts a command is about, and asking the server what they mean."""

import functools
import re
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final

import click

from backfleet.cli._choosing import (
    CLIENT_FIELDS,
    HOST_FIELDS,
    INSTANCE_PREFIXES,
    Chosen,
    Named,
    Target,
    Wanted,
    choose,
    client_of,
    host_of,
    tags_of_none,
)
from backfleet.cli._client import CallFailed, Client
from backfleet.cli._listing import list_clients, list_hosts
from backfleet.cli._options import fail
from backfleet.cli._print import say, wants_json
from backfleet.filter_expressions import BadExpression, Expression, read_expression

MOST_BYTES: Final = 16 << 20  # of a file with names
MOST_FAULTS: Final = 20  # printed
_COMMENT: Final = re.compile(r"(^|\s)#.*")
NOTHING_NAMED: Final = "name hosts or clients, or give --tag, --where, --file or --all"

Command = Callable[..., Any]


def client_targets(command: Command) -> Any:
    """Give a command NAMES and the options that choose clients, as the argument `wanted`."""
    return _targets(command, CLIENT_FIELDS, "version<1.75 and tag:site=ber", has_clients=True)


def host_targets(command: Command) -> Any:
    """Give a command NAMES and the options that choose hosts, as the argument `wanted`."""
    return _targets(command, HOST_FIELDS, "name~web-* and tag:site=ber", has_clients=False)


def _targets(command: Command, fields: Collection[str], example: str, *, has_clients: bool) -> Any:
    @functools.wraps(command)
    def with_targets(
        *arguments: Any,
        names: tuple[str, ...],
        instances: tuple[str, ...],
        tags: tuple[str, ...],
        where: tuple[str, ...],
        file: str | None,
        everything: bool,
        clients: tuple[str, ...] = (),
        **more: Any,
    ) -> None:
        named = [Named(each) for each in (*names, *instances, *clients)]
        wanted = Wanted(
            (*named, *(_read_names(file) if file is not None else ())),
            tuple(map(_tag, tags)),
            _expression(where, fields),
            everything,
        )
        if everything and wanted.names:
            raise click.UsageError("--all and names exclude each other")
        command(*arguments, wanted=wanted, **more)

    options = [
        click.argument("names", nargs=-1, metavar="[NAME]..."),
        click.option("--instance", "instances", multiple=True, metavar="ID", help="A host, by id or name."),
        click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="With this tag; KEY alone: any value."),
        click.option("--where", multiple=True, metavar="EXPRESSION", help=f"Such as '{example}'."),
        click.option("--file", metavar="FILE", help="Names or ids, one a line; # begins a comment; - is stdin."),
        click.option("--all", "everything", is_flag=True, help="All that the account has."),
    ]
    if has_clients:
        options.insert(2, click.option("--client", "clients", multiple=True, metavar="ID", help="A client by its id."))
    wrapped: Any = with_targets
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def _tag(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    if not key:
        raise click.UsageError(f"--tag {text!r} has no key; write KEY=VALUE, or KEY for any value")
    return key, value if equals else None


def _expression(given: Sequence[str], fields: Collection[str]) -> Expression | None:
    """Return one expression: of several all must hold."""
    if not given:
        return None
    try:
        for each in given:
            read_expression(each, fields)
        return read_expression(" and ".join(f"({each})" for each in given) if len(given) > 1 else given[0], fields)
    except BadExpression as problem:
        raise click.UsageError(f"--where: {problem}\n{problem.pointer}") from None


def _read_names(file: str) -> list[Named]:
    shown = "stdin" if file == "-" else file
    try:
        if file == "-":
            data = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(MOST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise click.UsageError(f"--file {shown} cannot be read as UTF-8 text: {problem}") from None
    if len(data) > MOST_BYTES:
        raise click.UsageError(f"--file {shown} has more than {MOST_BYTES >> 20} MiB; give several smaller ones")
    found = read_lines(text, shown)
    if not found:
        raise click.UsageError(f"--file {shown} has no names")
    return found


def read_lines(text: str, file: str) -> list[Named]:
    """Return the names in a text: one a line, without comments."""
    lines = [_COMMENT.sub("", line).strip() for line in text.splitlines()]
    return [Named(line, f"{file}:{number}") for number, line in enumerate(lines, 1) if line]


def chosen_clients(api: Client, wanted: Wanted) -> list[Target]:
    """Return the clients that are meant. A name that means none or several ends the command, and so does no client."""
    _need_something(wanted)
    known = [client_of(each) for each in list_clients(api, None, _filters(wanted))]
    found = choose(wanted, known)
    if found.faults:
        found = choose(wanted, known, _hosts_without_client(api, known))
    nothing = "no backup client is chosen: none of the account's has what was asked for"
    if not (found.targets or found.faults) and wanted.tags:
        every = [client_of(each) for each in list_clients(api, None, {})]
        nothing = "; ".join([nothing, *tags_of_none(wanted.tags, every)])
    return _checked(found, nothing)


def chosen_hosts(api: Client, wanted: Wanted) -> list[Target]:
    """Return the hosts that are meant, as `chosen_clients` does."""
    _need_something(wanted)
    known = [host_of(each) for each in list_hosts(api)]
    nothing = "no host is chosen: none of the account's has what was asked for"
    return _checked(choose(wanted, known), "; ".join([nothing, *tags_of_none(wanted.tags, known)]))


def instance_id_of(api: Client, name: str) -> str:
    """Return the id of the host that a name or an id means. One that means none or several ends the command.

    An id is taken as it is: a host that was deregistered has a history, too.
    """
    if name.startswith(INSTANCE_PREFIXES):
        return name
    (found,) = chosen_hosts(api, Wanted((Named(name),)))
    return found.instance_id


def _need_something(wanted: Wanted) -> None:
    if wanted.is_empty:
        raise click.UsageError(NOTHING_NAMED)


def _filters(wanted: Wanted) -> dict[str, object]:
    """Return what the server itself can leave out, where it is the same."""
    if wanted.names or len({key for key, _ in wanted.tags}) < len(wanted.tags):
        return {}
    pairs = enumerate(wanted.tags, 1)
    return {
        f"Tag.{number}.{name}": part
        for number, (key, value) in pairs
        for name, part in (("Key", key), ("Value", value))
        if part is not None
    }


def _hosts_without_client(api: Client, known: Sequence[Target]) -> list[Target]:
    try:
        hosts = [host_of(each) for each in list_hosts(api)]
    except CallFailed:  # the caller may list clients only: then a host without one is not known
        return []
    taken = {each.instance_id for each in known}
    return [each for each in hosts if each.instance_id not in taken]


def _checked(found: Chosen, nothing: str) -> list[Target]:
    if found.faults:
        _say_faults(found.faults)
        fail(f"{len(found.faults)} of the names will not do; nothing was done", faults=list(found.faults))
    if not found.targets:
        fail("; ".join([nothing, *found.notes]))
    for note in found.notes:
        say(f"note: {note}", err=True)
    return list(found.targets)


def _say_faults(faults: Sequence[str]) -> None:
    if wants_json():  # the error has them
        return
    for fault in faults[:MOST_FAULTS]:
        say(fault, err=True)
    if len(faults) > MOST_FAULTS:
        say(f"and {len(faults) - MOST_FAULTS} more", err=True)
