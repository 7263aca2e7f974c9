"""Read the files of this host's administrator, only if nobody else could have written them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Dict

LARGEST = 64 << 10  # bytes


class Unreadable(ValueError):
    """Others may write the file, it cannot be read, or it is no TOML. The text shows nothing of its content."""


def read_toml(file: Path) -> Dict[str, Any]:
    """Read a TOML file; return nothing if there is none.

    Raises:
        Unreadable: others may write it, it is too large, it cannot be read, or it is no TOML.
    """
    try:
        with open(file, "rb") as opened:
            found = os.fstat(opened.fileno())
            if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or found.st_uid not in (0, os.geteuid()):
                raise Unreadable(
                    f"{file}: only root or we may be able to write it; not read until owner and mode are right"
                )
            content = opened.read(LARGEST + 1)
    except FileNotFoundError:
        return {}
    except OSError as problem:
        raise Unreadable(f"{file}: {problem.strerror}") from None
    if len(content) > LARGEST:
        raise Unreadable(f"{file}: larger than {LARGEST >> 10} KiB")
    try:
        return _parsed(content.decode())
    except ValueError as problem:
        raise Unreadable(f"{file}: {problem}") from None


def _parsed(text: str) -> Dict[str, Any]:
    try:
        import tomllib as toml  # novermin - where it is missing, tomli is asked for
    except ImportError:
        try:
            import tomli as toml  # type: ignore[no-redef]
        except ImportError:
            raise ValueError("reading it needs Python 3.11 or the package tomli; install one of them") from None
    found: Dict[str, Any] = toml.loads(text)
    return found
