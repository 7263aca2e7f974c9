"""Reading an artifact through, as a host will, before it is offered to any."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from backfleet.releases.manifest import Manifest
from backfleet.releases.refusal import ReleaseRefused
from backfleet_host.archives import BadArchive, Limits, walk

MOST_COMMANDS: Final = 50  # that one release may expose
COMMAND: Final = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}"
USUAL_PLACES: Final = ("usr/bin/", "usr/sbin/", "bin/", "sbin/")
PIECE: Final = 1 << 20  # bytes read at a time


def inspect(manifest: Manifest, artifact: Path) -> Manifest:
    """The manifest, completed by what the artifact holds: its commands, unpacked size, number of entries.

    Raises:
        ReleaseRefused: broken, hostile, or without the commands it should have.
    """
    size, count, programs = _read_through(manifest, artifact)
    commands = manifest.bin or _commands(manifest.package, programs)
    missing = [path for path in commands if path not in programs]
    if missing:
        raise ReleaseRefused(f"bin names {missing[0]!r}, which is no program in the artifact")
    if not commands:
        raise ReleaseRefused("no program was found in the artifact; name its commands as bin in a manifest")
    complete = replace(manifest, bin=commands, unpacked_bytes=size, entries=count)
    _check_commands(complete)
    return complete


def _read_through(manifest: Manifest, artifact: Path) -> tuple[int, int, list[str]]:
    """Every byte is read, so that what is cut off or damaged shows here and not on a thousand hosts."""
    size, count, programs = 0, 0, []
    try:
        for entry, stream in walk(artifact, manifest.format, Limits(), manifest.package):
            count, size = count + 1, size + entry.size
            while stream is not None and stream.read(PIECE):
                pass
            if entry.mode & 0o100 and not entry.is_folder and entry.link is None:
                programs.append(entry.path)
    except BadArchive as problem:
        raise ReleaseRefused(f"the artifact is refused: {problem}") from None
    return size, count, programs


def _commands(package: str, programs: list[str]) -> tuple[str, ...]:
    """What to expose if nobody said: the program called like the package, else all in the usual places."""
    namesakes = [path for path in programs if path.rsplit("/", 1)[-1] == package]
    if namesakes:
        return (min(namesakes, key=len),)
    return tuple(path for path in programs if path.startswith(USUAL_PLACES) or ".data/scripts/" in path)


def _check_commands(manifest: Manifest) -> None:
    names = manifest.commands
    if len(set(names)) != len(names) or len(names) > MOST_COMMANDS:
        raise ReleaseRefused(f"bin must name at most {MOST_COMMANDS} commands, each with a name of its own")
    for name in names:
        if not re.fullmatch(COMMAND, name):
            raise ReleaseRefused(f"the command {name!r} is not of the form {COMMAND}")
    if manifest.health and manifest.health.command[0] not in names:
        raise ReleaseRefused(
            f"the health command {manifest.health.command[0]!r} is not one of the release's own: {', '.join(names)}"
        )
