"""Choose which deltas are worth making. Pure."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Final

from backfleet.releases.model import Delta, Release

BASES: Final = 3  # versions before the newest one, from which a delta is made
TIMES_THE_BASE: Final = 18  # of memory
LEAST_ARTIFACT: Final = 64 << 10  # bytes; what is smaller is downloaded as fast as a delta


def wanted(
    found: Sequence[Release], known: Collection[Delta], *, megabytes: int, now: datetime
) -> list[tuple[Release, Release]]:
    """Return (release, base) of each delta that is to be made now, or tried again.

    That is the newest release of a package and platform on each channel, from the versions before it on that channel,
    the nearest one first. What was withdrawn is no base: hosts should leave it, but few of them have it.

    Args:
        found: every release.
        known: what was made or tried.
        megabytes: of memory that making one may take.
        now: the time.
    """
    return unmade(found, [one for one in known if not _is_due(one, megabytes, now)])


def unmade(found: Sequence[Release], known: Collection[Delta]) -> list[tuple[Release, Release]]:
    """Return (release, base) as `wanted` does, of each delta that is not among the known ones."""
    done = {(one.package, one.version, one.platform, one.base_version) for one in known}
    chosen = dict.fromkeys(_pairs(found))
    return [
        (new, base)
        for new, base in chosen
        if (new.package, new.version, new.platform, base.version) not in done and new.size >= LEAST_ARTIFACT
    ]


def megabytes_needed(new: Release, base: Release) -> int:
    """Return the megabytes of memory that making a delta takes."""
    return (TIMES_THE_BASE * base.manifest.unpacked_bytes + 3 * new.manifest.unpacked_bytes) >> 20


def _is_due(delta: Delta, megabytes: int, now: datetime) -> bool:
    """Return whether another try may end otherwise: there may be more memory, or what was in the way may be over."""
    is_larger = delta.retry_above is not None and megabytes > delta.retry_above
    return is_larger or (delta.retry_at is not None and delta.retry_at <= now)


def _pairs(found: Sequence[Release]) -> Iterator[tuple[Release, Release]]:
    lines: dict[tuple[str, str, str], list[Release]] = {}
    for release in found:
        if release.withdrawn_at is None and release.published_at is not None and release.order is not None:
            for channel in release.channels:
                lines.setdefault((release.package, release.platform, channel), []).append(release)
    for line in lines.values():
        newest, *before = sorted(line, key=lambda release: release.order, reverse=True)
        yield from ((newest, base) for base in before[:BASES])
