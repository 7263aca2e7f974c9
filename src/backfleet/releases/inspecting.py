"""Read an artifact from beginning to end, as hosts will, before it is offered to any."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from backfleet.releases.errors import ReleaseRefused
from backfleet.releases.package_names import usual_name
from backfleet_host.archives import BadArchive, Entry, Limits, compression_of, walk
from backfleet_host.manifest import COMMAND, Manifest
from backfleet_host.release_rules import broken_rule

MOST_COMMANDS: Final = 50  # that one release may expose
USUAL_PLACES: Final = ("usr/bin/", "usr/sbin/", "bin/", "sbin/")
PIECE: Final = 1 << 20  # bytes read at a time


def inspect(manifest: Manifest, artifact: Path) -> Manifest:
    """Return the manifest, completed by what the artifact holds: commands, sizes, and what is needed to read it.

    Raises:
        ReleaseRefused: the artifact is broken, hostile, or without the files that the manifest names.
    """
    found = _read_through(manifest, artifact)
    commands = manifest.bin or _commands(manifest.package, found.programs)
    for path in commands:
        if path not in found.programs:
            raise ReleaseRefused(f"bin names {path!r}, which is not an executable file in the artifact")
    for path in manifest.set_uid:
        if path not in found.set_uid:
            raise ReleaseRefused(f"set_uid names {path!r}, which has no set-uid or set-gid bit in the artifact")
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
    broken = broken_rule(complete)
    if broken:
        raise ReleaseRefused(broken)
    return complete


@dataclass
class _Found:
    """Contents of an artifact."""

    compression: str = ""
    unpacked_bytes: int = 0
    entries: int = 0
    programs: list[str] = field(default_factory=list)  # paths
    set_uid: list[str] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        self.entries, self.unpacked_bytes = self.entries + 1, self.unpacked_bytes + entry.size
        is_file = not entry.is_folder and entry.link is None
        if is_file and entry.mode & 0o100:
            self.programs.append(entry.path)
        if is_file and entry.mode & 0o6000:
            self.set_uid.append(entry.path)


def _read_through(manifest: Manifest, artifact: Path) -> _Found:
    """Read every byte, so that damage shows here and not on a thousand hosts."""
    try:
        found = _Found(compression_of(artifact, manifest.format))
        for entry, stream in walk(artifact, manifest.format, Limits(), manifest.package, manifest.set_uid):
            found.add(entry)
            while stream is not None and stream.read(PIECE):
                pass
    except BadArchive as problem:
        raise ReleaseRefused(f"the artifact is refused: {problem}") from None
    return found


def _commands(package: str, programs: list[str]) -> tuple[str, ...]:
    """Choose the commands to expose where the manifest names none.

    That is the program called like the package, else all in the usual places.
    """
    names = (package, usual_name(package))
    namesakes = [path for path in programs if path.rsplit("/", 1)[-1] in names]
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
            f"health.command is {manifest.health.command[0]!r}; it must be a command of the release: {', '.join(names)}"
        )
