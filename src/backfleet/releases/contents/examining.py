"""Examine an artifact: which commands can be started on the platform it is added for, and what they need there."""

import re
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from backfleet.releases.contents.declared import Declared, check_declared, read_declared
from backfleet.releases.contents.elf import ARCHITECTURES, MAGIC, DamagedElf, Elf, read_elf
from backfleet.releases.errors import ReleaseRefused
from backfleet.values import value_object
from backfleet_host.archives import BadArchive, Limits, walk
from backfleet_host.manifest import Manifest

IN_MEMORY: Final = 8 << 20  # bytes of a program that are kept in memory while it is read
LONGEST_LINE: Final = 255  # bytes of a script's first line that the kernel reads. Source: execve(2)
MOST_SHOWN: Final = 20  # names in one note
OF_GLIBC: Final = re.compile(
    r"(?:lib(?:c|m|pthread|dl|rt|resolv|util)\.so\.\d+|ld-linux[a-z0-9_-]*\.so\.\d+|ld64\.so\.\d)"
)
PLAIN_SHELLS: Final = ("/bin/sh", "/usr/bin/env sh")
KNOWN_ARCHITECTURES: Final = frozenset(name for names in ARCHITECTURES.values() for name in names)


@value_object
class Findings:
    """What an operator should know of an artifact."""

    libraries: tuple[str, ...] = ()  # that its commands need, by name
    notes: tuple[str, ...] = ()


@value_object
class _Program:
    """How a command is started: by the kernel from ELF, or by an interpreter."""

    elf: Elf | None = None
    interpreter: str = ""


@dataclass(slots=True)
class _Read:
    """What one walk through an artifact finds."""

    programs: dict[str, _Program] = field(default_factory=dict)  # by path
    copies: dict[str, str] = field(default_factory=dict)  # hard links to a file that was not read
    names: set[str] = field(default_factory=set)  # of all files and links, without their folders


def examine(manifest: Manifest, artifact: Path) -> Findings:
    """Read the commands of an artifact that was read through before, and compare it with its manifest.

    Raises:
        ReleaseRefused: it declares something else than the manifest, or a command of it cannot be started there.
    """
    try:
        declared = read_declared(manifest.format, artifact)
        found = _read(manifest, artifact)
    except BadArchive as problem:
        raise ReleaseRefused(f"the artifact is refused: {problem}") from None
    check_declared(
        declared,
        package=manifest.package,
        version=manifest.version,
        platform=manifest.platform,
        commands=manifest.commands,
        scheme=manifest.version_scheme,
    )
    for path, program in found.programs.items():
        if program.elf is not None:
            _check_elf(path, program.elf, manifest.platform)
    libraries = {name for program in found.programs.values() if program.elf for name in program.elf.libraries}
    return Findings(tuple(sorted(libraries)), tuple(_notes(manifest, declared, found, libraries)))


def _read(manifest: Manifest, artifact: Path) -> _Read:
    found = _walk(manifest, artifact, manifest.bin)
    if found.copies:  # a command that is a hard link: what it leads to came before it
        originals = _walk(manifest, artifact, set(found.copies.values()))
        found.programs |= {
            path: originals.programs[of] for path, of in found.copies.items() if of in originals.programs
        }
    return found


def _walk(manifest: Manifest, artifact: Path, wanted: Collection[str]) -> _Read:
    found = _Read()
    for entry, stream in walk(artifact, manifest.format, Limits(), manifest.package, manifest.set_uid):
        found.names.add(entry.path.rsplit("/", 1)[-1])
        if entry.path in wanted and stream is not None:
            found.programs[entry.path] = _program(entry.path, stream, artifact.parent)
        elif entry.path in wanted and entry.copy_of is not None:
            found.copies[entry.path] = entry.copy_of
    return found


def _program(path: str, stream: IO[bytes], folder: Path) -> _Program:
    """Read how a program is started. An archive is read forwards only, so one in ELF is copied into `folder`."""
    head = stream.read(LONGEST_LINE + 1)
    if head.startswith(b"#!"):
        return _Program(interpreter=_interpreter(path, head))
    if not head.startswith(MAGIC):
        raise ReleaseRefused(
            f"the command {path!r} cannot be started: it is neither a program for Linux nor a script that "
            "begins with #!"
        )
    with tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(folder), prefix="upload-") as copy:
        copy.write(head)
        shutil.copyfileobj(stream, copy, 1 << 20)
        try:
            return _Program(read_elf(copy))
        except DamagedElf as problem:
            raise ReleaseRefused(f"the command {path!r} is damaged: it begins as ELF, and {problem}") from None


def _interpreter(path: str, head: bytes) -> str:
    """Return the first line of a script without `#!`: the interpreter, and what follows it."""
    line = head[2:].partition(b"\n")[0].decode("utf-8", "replace")
    if line.endswith("\r"):
        raise ReleaseRefused(
            f"the command {path!r} cannot be started: its first line ends with a carriage return, as on Windows; "
            "convert it with `dos2unix`"
        )
    if not line.strip().startswith("/"):
        raise ReleaseRefused(
            f"the command {path!r} cannot be started: it is a script for {line.strip()[:80]!r}, which is no absolute "
            "path; scripts of Python's wheels need pip, which hosts do not run"
        )
    return " ".join(line.split())


def _check_elf(path: str, elf: Elf, platform: str) -> None:
    given = platform.partition("-")[2]
    if not elf.is_program:
        raise ReleaseRefused(f"the command {path!r} is an object file or core dump, and no program")
    if elf.system:
        raise ReleaseRefused(
            f"the command {path!r} is a program for {elf.system}, and the platform given is {platform!r}"
        )
    if given in elf.architectures or (not elf.architectures and given not in KNOWN_ARCHITECTURES):
        return
    found = elf.architectures[0] if elf.architectures else f"machine {elf.machine} of ELF"
    advice = f"add it with --platform linux-{found}, or " if elf.architectures else ""
    raise ReleaseRefused(
        f"the command {path!r} is a program for {found}, and the platform given is {platform!r}; "
        f"{advice}get the file for {platform}"
    )


def _notes(manifest: Manifest, declared: Declared, found: _Read, libraries: Collection[str]) -> list[str]:
    notes = []
    missing = sorted(name for name in libraries if name not in found.names and not OF_GLIBC.fullmatch(name))
    if missing:
        notes.append(
            f"its commands need libraries that are not in the file: {_some(missing)}; it does not start on hosts "
            "that lack one"
        )
    interpreters = sorted(_interpreters(found.programs))
    if interpreters:
        notes.append(f"its commands are scripts, and hosts must have their interpreters: {_some(interpreters)}")
    if declared.depends and not _is_only_libc(declared.depends):
        notes.append(f"hosts do not install what {declared.by} depends on: {declared.depends[:300]}")
    if declared.version and declared.version != manifest.version:
        notes.append(f"{declared.by} declares version {declared.version}, and it is added as {manifest.version}")
    return notes


def _interpreters(programs: Mapping[str, _Program]) -> set[str]:
    named = {program.interpreter for program in programs.values() if program.interpreter}
    return {name for name in named if not name.startswith(PLAIN_SHELLS)}


def _is_only_libc(depends: str) -> bool:
    return all(part.split()[0].partition(":")[0] in ("libc6", "libc6.1") for part in depends.split(",") if part.strip())


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return ", ".join(names[:MOST_SHOWN]) + more
