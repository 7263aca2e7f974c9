"""Whose a program on this host is: that of a package manager, of a link, or of nobody known."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List


def owner_of(system: Path, path: Path) -> str:
    """Return who has put a program here, as a message has it.

    Args:
        system: the root of the file system that other package managers use.
    """
    package = dpkg_package_of(system, path)
    if package:
        return f"dpkg has it in {package}"
    for record in path.parent.parent.glob("lib/python3*/*-packages/*.dist-info/RECORD"):
        if any(line.split(",")[0].endswith(f"/bin/{path.name}") for line in _lines(record)):
            return f"pip has it in {record.parent.name[: -len('.dist-info')]}"
    if path.is_symlink():
        return f"a link to {os.readlink(str(path))}"
    return "its owner is unknown"


def dpkg_package_of(system: Path, path: Path) -> str:
    """Return the Debian package that a file belongs to; "" if it belongs to none. As `owner_of`."""
    inside = inside_of(system, path)
    for names in (system / "var/lib/dpkg/info").glob("*.list"):
        if inside in _lines(names):
            return names.name[: -len(".list")].split(":")[0]
    return ""


def inside_of(system: Path, path: Path) -> str:
    """Return the path of a file as programs within this file system have it; its own path if it is outside."""
    try:
        return "/" + str(path.relative_to(system))
    except ValueError:
        return str(path)


def _lines(file: Path) -> List[str]:
    try:
        return file.read_text(errors="replace").splitlines()
    except OSError:
        return []
