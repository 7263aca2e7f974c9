"""Choose which deltas are worth making. Pure."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from backfleet.releases.model import Delta, Release

BASES: Final = 3  # versions before the newest one, from which a delta is made
LEAST_ARTIFACT: Final = 64 << 10  # bytes; what is smaller is downloaded as fast as a delta


def wanted(found: Sequence[Release], known: Collection[Delta]) -> list[tuple[Release, Release]]:
    """Return (release, base) of each delta that is neither made nor known to be of no use.

    That is the newest release of a package and platform on each channel, from the versions before it on that channel,
    the nearest one first. What was withdrawn is no base: hosts should leave it, but few of them have it.
    """
    done = {(one.package, one.version, one.platform, one.base_version) for one in known}
    chosen = dict.fromkeys(_pairs(found))
    return [
        (new, base)
        for new, base in chosen
        if (new.package, new.version, new.platform, base.version) not in done and new.size >= LEAST_ARTIFACT
    ]


def _pairs(found: Sequence[Release]) -> Iterator[tuple[Release, Release]]:
    lines: dict[tuple[str, str, str], list[Release]] = {}
    for release in found:
        if release.withdrawn_at is None and release.published_at is not None and release.order is not None:
            for channel in release.channels:
                lines.setdefault((release.package, release.platform, channel), []).append(release)
    for line in lines.values():
        newest, *before = sorted(line, key=lambda release: release.order, reverse=True)
        yield from ((newest, base) for base in before[:BASES])
