"""The compiled form of the shim: a small program per platform, into which the installer writes a few strings.

The programs are made from src/backfleet_host/shim/shim.c by tools/build_shims.py, and are part of the host program.
docs/decisions/0026-native-shim.md says why.
"""

from __future__ import annotations

import functools
import os
import pkgutil
import stat
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from backfleet_host.platforms import platform_here

MAGIC = b"BACKFLEET SHIM 1: installed as\n\0"
TEXT_SIZE = 4064  # bytes of all strings together: TEXT_SIZE of shim.c
MOST_BYTES = 1 << 17  # of a compiled shim; larger files are not looked at


class Fields(NamedTuple):
    """The strings in a compiled shim, in the order of `enum field` of shim.c."""

    package: bytes
    command: bytes
    gate: bytes
    running: bytes
    unverified: bytes
    current: bytes
    verified: bytes
    limit_ms: bytes


@functools.cache
def template(platform: str) -> Optional[bytes]:
    """Return the compiled shim for a platform, without its strings; None if there is none."""
    name = "linux-arm" if platform.startswith("linux-armv") and platform != "linux-armv4tl" else platform
    try:
        return pkgutil.get_data("backfleet_host", f"shim/binaries/{name}")
    except OSError:
        return None


def native_shim(package: Path, name: str, command: str, unverified: str, wait_seconds: int) -> Optional[bytes]:
    """Return the compiled shim of one command for this host; None if it must have the `sh` form.

    Args:
        package: the folder of the package.
        name: the name of the package.
        unverified: the name of the marker file beside the gate.
        wait_seconds: how long it waits at the gate.
    """
    empty = template(platform_here())
    names = ("gate", "running", unverified, "current", "verified")
    gate, running, marker, current, verified = (os.fsencode(str(package / part)) for part in names)
    limit = str(wait_seconds * 1000).encode()
    fields = Fields(name.encode(), command.encode(), gate, running, marker, current, verified, limit)
    return None if empty is None else _filled(empty, fields)


def _filled(empty: bytes, fields: Fields) -> Optional[bytes]:
    """Return the program with these strings in their place; None if they are too long."""
    text = b"".join(field + b"\0" for field in fields)
    start = empty.index(MAGIC) + len(MAGIC)
    return None if len(text) > TEXT_SIZE else empty[:start] + text.ljust(TEXT_SIZE, b"\0") + empty[start + TEXT_SIZE :]


def split(content: bytes) -> Optional[Tuple[bytes, Fields]]:
    """Return a compiled shim without its strings, and these; None if it is none of ours, or none that was installed."""
    before, magic, after = content.partition(MAGIC)
    if not content.startswith(b"\x7fELF") or not magic or len(after) < TEXT_SIZE:
        return None
    strings: List[bytes] = after[:TEXT_SIZE].split(b"\0", len(Fields._fields))[: len(Fields._fields)]
    if len(strings) < len(Fields._fields) or not all(strings):
        return None
    return before + after[TEXT_SIZE:], Fields(*strings)


def read(path: Path) -> bytes:
    """Return the content of a file that may be a shim; nothing if it is too large to be one, or cannot be read.

    A shim is a plain file. A link beside it is not followed: it may lead to a file system that does not answer.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            content = file.read(MOST_BYTES + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return b""
    return content if len(content) <= MOST_BYTES else b""
