"""Reading an artifact through, as a host will, before it is offered to any."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from backfleet.releases.refusal import ReleaseRefused
from backfleet_host.archives import BadArchive, Entry, Limits, compression_of, walk
from backfleet_host.manifest import COMMAND, Manifest

MOST_COMMANDS: Final = 50  # that one release may expose
USUAL_PLACES: Final = ("usr/bin/", "usr/sbin/", "bin/", "sbin/")
PIECE: Final = 1 << 20  # bytes read at a time


def inspect(manifest: Manifest, artifact: Path) -> Manifest:
    """The manifest, completed by what the artifact holds: its commands, sizes, and what is needed to read it.

    Raises:
        ReleaseRefused: broken, hostile, or without the files it should have.
    """
    found = _read_through(manifest, artifact)
    commands = manifest.bin or _commands(manifest.package, found.programs)
    for path in commands:
        if path not in found.programs:
            raise ReleaseRefused(f"bin names {path!r}, which is no program in the artifact")
    for path in manifest.set_uid:
        if path not in found.set_uid:
            raise ReleaseRefused(f"set_uid names {path!r}, which is no file with such a bit in the artifact")
    if not commands:
        raise ReleaseRefused("no program was found in the artifact; name its commands as bin in a manifest")
    complete = replace(
        manifest,
        bin=commands,
        unpacked_bytes=found.unpacked_bytes,
        entries=found.entries,
        compression=found.compression,
    )
    _check_commands(complete)
    return complete


@dataclass
class _Found:
    """What an artifact holds."""

    compression: str = ""
    unpacked_bytes: int = 0
    entries: int = 0
    programs: list[str] = field(default_factory=list)  # paths
    set_uid: list[str] = field(default_factory=list)

    def take(self, entry: Entry) -> None:
        self.entries, self.unpacked_bytes = self.entries + 1, self.unpacked_bytes + entry.size
        is_file = not entry.is_folder and entry.link is None
        if is_file and entry.mode & 0o100:
            self.programs.append(entry.path)
        if is_file and entry.mode & 0o6000:
            self.set_uid.append(entry.path)


def _read_through(manifest: Manifest, artifact: Path) -> _Found:
    """Every byte is read, so that what is cut off or damaged shows here and not on a thousand hosts."""
    try:
        found = _Found(compression_of(artifact, manifest.format))
        for entry, stream in walk(artifact, manifest.format, Limits(), manifest.package, manifest.set_uid):
            found.take(entry)
            while stream is not None and stream.read(PIECE):
                pass
    except BadArchive as problem:
        raise ReleaseRefused(f"the artifact is refused: {problem}") from None
    return found


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
