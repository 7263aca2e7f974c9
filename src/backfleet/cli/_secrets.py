"""Passphrases and keys of backups: from a prompt, a file or a descriptor, and never from the arguments of a process."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from backfleet.cli._options import WholeNumber, fail

if TYPE_CHECKING:
    from backfleet.copies import Lock, Opener

LEAST: Final = 8  # characters of a passphrase
LONGEST: Final = 4096  # bytes


def passphrase_options(command: Any) -> Any:
    """Give a command --passphrase-file and --passphrase-fd."""
    file = click.option(
        "--passphrase-file", type=click.Path(path_type=Path), metavar="FILE", help="Its first line is the passphrase."
    )
    descriptor = click.option(
        "--passphrase-fd",
        type=WholeNumber(0),
        metavar="N",
        help="The passphrase is the first line of this open descriptor.",
    )
    return file(descriptor(command))


def lock_of(file: Path | None, descriptor: int | None, recipients: tuple[str, ...], *, plain: bool) -> "Lock | None":
    """Return how a backup is to be encrypted; None for not at all. Ends the command if that is not clear."""
    from backfleet.copies import Lock  # imported late, as in the commands

    if sum((bool(file), descriptor is not None, bool(recipients), plain)) > 1:
        fail("name one of --passphrase-file, --passphrase-fd, --recipient and --plain")
    if plain:
        return None
    if recipients:
        try:
            return Lock.to(recipients)
        except ValueError as problem:
            fail(f"--recipient: {problem}")
    passphrase = _given(file, descriptor)
    if passphrase is None:
        if not sys.stdin.isatty():
            fail(
                "a backup holds every key of this server, and is encrypted: name --passphrase-file, --passphrase-fd or "
                "--recipient, or --plain if it is kept where nobody can read it"
            )
        passphrase = click.prompt("Passphrase of the backup", hide_input=True, confirmation_prompt=True, err=True)
    if len(passphrase) < LEAST:
        fail(f"the passphrase has {len(passphrase)} characters; it needs at least {LEAST}")
    return Lock(passphrase)


def opener_of(
    file: Path | None, descriptor: int | None, identity: Path | None, *, is_encrypted: bool
) -> "Opener | None":
    """Return what opens a backup; None for one that is not encrypted. Ends the command if there is nothing."""
    from backfleet.copies import Opener  # imported late, as in the commands

    if not is_encrypted:
        return None
    if identity is not None:
        try:
            return Opener.of(identity.read_text())
        except (OSError, ValueError) as problem:
            fail(f"--identity {identity}: {problem}")
    passphrase = _given(file, descriptor)
    if passphrase is None and sys.stdin.isatty():
        passphrase = click.prompt("Passphrase of the backup", hide_input=True, err=True)
    return None if passphrase is None else Opener(passphrase)


def _given(file: Path | None, descriptor: int | None) -> str | None:
    """Return the passphrase in a file or descriptor; None if neither is named."""
    if file is None and descriptor is None:
        return None
    named = f"--passphrase-file {file}" if file is not None else f"--passphrase-fd {descriptor}"
    try:
        content = _first(file, descriptor)
        line = content.split(b"\n", 1)[0].rstrip(b"\r").decode()
    except OSError as problem:
        fail(f"{named} cannot be read: {problem.strerror}")
    except UnicodeDecodeError:
        fail(f"{named} is not UTF-8 text")
    if not line:
        fail(f"{named} has no passphrase in its first line")
    return line


def _first(file: Path | None, descriptor: int | None) -> bytes:
    opened = os.open(file, os.O_RDONLY | os.O_CLOEXEC) if file is not None else descriptor
    assert opened is not None  # noqa: S101 - one of both is named
    with os.fdopen(opened, "rb") as source:
        return source.read(LONGEST)
