"""Versions that people gave to real software: those in the changelogs of installed packages, and of the packages."""

import functools
import gzip
import random
import re
import subprocess
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

_ENTRY = re.compile(rb"^[a-z0-9][a-z0-9+.-]+ \(([^) ]+)\)", re.MULTILINE)


@functools.cache
def histories() -> tuple[tuple[str, ...], ...]:
    """Return the versions of each changelog, the newest first. Some count down where maintainers made mistakes."""
    found = []
    for path in sorted(Path("/usr/share/doc").glob("*/changelog.Debian*.gz")):
        versions = [
            version.decode("ascii", "replace") for version in _ENTRY.findall(gzip.decompress(path.read_bytes()))
        ]
        found.append(tuple(versions))
    return tuple(sorted(set(found)))


@functools.cache
def debian_versions() -> tuple[str, ...]:
    """Return every version that a changelog names or the package manager has installed."""
    asked = ["dpkg-query", "--show", "--showformat=${Version}\n"]
    installed = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
    return tuple(sorted({*installed, *(version for history in histories() for version in history)}))


def upstream_versions() -> tuple[str, ...]:
    """Return the versions as their authors wrote them, without what Debian put before and behind."""
    stripped = (version.partition(":")[2] or version for version in debian_versions())
    return tuple(sorted({version.rpartition("-")[0] or version for version in stripped}))


def pairs_of(versions: Sequence[str], count: int) -> list[tuple[str, str]]:
    """Return pairs, the same each time: half of them neighbours as text, so that they differ little, half by chance."""
    chance = random.Random(3)
    neighbours = list(pairwise(sorted(versions)))
    near = chance.sample(neighbours, min(count // 2, len(neighbours)))
    return near + [(chance.choice(versions), chance.choice(versions)) for _ in range(count - len(near))]


def sign(one: object, other: object) -> int:
    """Return -1, 0 or 1: the first is less, equal or more."""
    return (one > other) - (one < other)  # type: ignore[operator]
