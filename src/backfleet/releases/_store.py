"""Run every SQL statement on releases, offers and signed metadata."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from backfleet.releases._tables import (
    default_packages,
    deltas,
    metadata_floors,
    offers,
    package_schemes,
    releases,
    signed_metadata,
)
from backfleet.releases.model import Delta, DeltaFigures, Prepared, Release
from backfleet.storage import Prepared as Statement
from backfleet.storage import Transaction
from backfleet_host.manifest import Manifest
from backfleet_host.versions import FIRST_SCHEME

# What each call that starts upgrades reads. They are built once: building one costs more than running it.
_PACKAGES: Final[sa.BindParameter[Any]] = sa.bindparam("packages", expanding=True)
_PLATFORMS: Final[sa.BindParameter[Any]] = sa.bindparam("platforms", expanding=True)
_CHANNELS: Final[sa.BindParameter[Any]] = sa.bindparam("channels", expanding=True)
_SAME: Final = sa.and_(*(releases.c[name] == offers.c[name] for name in ("package", "version", "platform")))
_OFFERED_ON: Final = sa.and_(_SAME, offers.c.package.in_(_PACKAGES), offers.c.channel.in_(_CHANNELS))
_OFFERED = Statement(
    sa.select(releases).where(
        releases.c.published_at.is_not(None), releases.c.platform.in_(_PLATFORMS), sa.exists().where(_OFFERED_ON)
    )
)
_OFFERS = Statement(sa.select(offers).where(offers.c.package.in_(_PACKAGES)).order_by(offers.c.channel))
_SCHEMES = Statement(sa.select(package_schemes).where(package_schemes.c.package.in_(_PACKAGES)))


def lock(tx: Transaction) -> None:
    """Let one transaction publish at a time. It locks the first root's row; before that exists, its key decides."""
    tx.first(sa.select(signed_metadata.c.role).where(signed_metadata.c.role == "root").with_for_update())


def add_release(tx: Transaction, prepared: Prepared, now: datetime) -> None:
    """Add a release."""
    manifest = prepared.manifest
    tx.add(
        releases,
        [
            {
                "package": manifest.package,
                "version": manifest.version,
                "platform": manifest.platform,
                "sha256": prepared.sha256,
                "size": prepared.size,
                "file_name": prepared.file_name,
                "manifest": manifest.to_json(),
                "created_at": now,
            }
        ],
    )


def offer(tx: Transaction, channel: str, package: str, version: str, platform: str) -> None:
    """Offer a release on a channel, if it is not offered there yet."""
    tx.add_if_new(offers, {"channel": channel, "package": package, "version": version, "platform": platform})


def restore(tx: Transaction, package: str, version: str, platform: str) -> None:
    """Mark a withdrawn release as one that waits to be published, and offer it on no channel."""
    tx.run(_offers_of(package, version, platform))
    named = _named(package, version, platform)
    tx.run(sa.update(releases).where(named).values(withdrawn_at=None, published_at=None))


def remove_unfetched(tx: Transaction, package: str, version: str, platform: str) -> bool:
    """Remove a release and its offers; return False if its artifact was sent to somebody. Then roll back."""
    tx.run(_offers_of(package, version, platform))
    either = sa.or_(deltas.c.version == version, deltas.c.base_version == version)
    tx.run(sa.delete(deltas).where(deltas.c.package == package, deltas.c.platform == platform, either))
    return tx.run(sa.delete(releases).where(_named(package, version, platform), releases.c.fetched_at.is_(None))) == 1


def is_named(tx: Transaction, sha256: str) -> bool:
    """Return whether any release has this artifact, or a delta is this file."""
    found = [sa.select(table.c.sha256).where(table.c.sha256 == sha256) for table in (releases, deltas)]
    return any(tx.first(query) is not None for query in found)


def is_fetched(tx: Transaction, sha256: str) -> bool:
    """Return whether every release with this artifact is noted as fetched."""
    query = sa.select(releases.c.sha256).where(releases.c.sha256 == sha256, releases.c.fetched_at.is_(None))
    return tx.first(query) is None


def note_fetched(tx: Transaction, sha256: str, now: datetime) -> None:
    """Note that an artifact is sent to somebody, unless that is noted already."""
    unfetched = sa.and_(releases.c.sha256 == sha256, releases.c.fetched_at.is_(None))
    tx.run(sa.update(releases).where(unfetched).values(fetched_at=now))


def add_delta(tx: Transaction, delta: Delta, now: datetime) -> None:
    """Add a delta, or why there is none. One of the same two versions that was made stays; a note is replaced."""
    named = _delta_named(delta.package, delta.version, delta.platform, delta.base_version)
    tx.run(sa.delete(deltas).where(named, deltas.c.sha256 == ""))
    tx.add_if_new(deltas, {**asdict(delta), "made_at": now})


def note_delta_downloads(tx: Transaction, names: tuple[str, str, str, str], number: int) -> None:
    """Note that so many hosts downloaded the delta with these names: package, version, platform, base's version."""
    named = sa.and_(_delta_named(*names), deltas.c.sha256 != "")
    tx.run(sa.update(deltas).where(named).values(downloads=deltas.c.downloads + number))


def delta_figures(tx: Transaction) -> list[DeltaFigures]:
    """Return what became of the deltas of each package that has some."""
    is_made = deltas.c.sha256 != ""
    may_retry = sa.or_(deltas.c.retry_above.is_not(None), deltas.c.retry_at.is_not(None))

    def number(when: Any) -> Any:
        return sa.func.sum(sa.case((when, 1), else_=0))

    saved = sa.func.sum(sa.case((is_made, deltas.c.downloads * (releases.c.size - deltas.c.size)), else_=0))
    columns = [
        deltas.c.package, number(is_made), number(sa.and_(~is_made, may_retry)), number(sa.and_(~is_made, ~may_retry)),
        sa.func.sum(deltas.c.downloads), saved,
    ]  # fmt: skip
    same = [deltas.c[name] == releases.c[name] for name in ("package", "version", "platform")]
    query = sa.select(*columns).select_from(deltas.join(releases, sa.and_(*same)))
    rows: Sequence[Any] = tx.rows(query.group_by(deltas.c.package).order_by(deltas.c.package))
    return [DeltaFigures(row[0], *(int(each) for each in row[1:])) for row in rows]


def _delta_named(package: str, version: str, platform: str, base_version: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        deltas.c.package == package, deltas.c.version == version, deltas.c.platform == platform,
        deltas.c.base_version == base_version,
    )  # fmt: skip


def every_delta(tx: Transaction) -> list[Delta]:
    """Return what was made or tried of every two versions, by their names."""
    query = sa.select(deltas).order_by(deltas.c.package, deltas.c.version, deltas.c.platform, deltas.c.base_version)
    names = [field.name for field in fields(Delta)]
    return [Delta(**{name: getattr(row, name) for name in names}) for row in tx.rows(query)]


def packages(tx: Transaction) -> list[str]:
    """Return the packages that have releases, withdrawn ones included."""
    return [row.package for row in tx.rows(sa.select(releases.c.package).distinct())]


def other_packages(tx: Transaction, channel: str, platform: str, package: str) -> list[str]:
    """Return the packages but this one that have a release on a channel which is not withdrawn, by name."""
    wanted = sa.and_(offers.c.platform == platform, offers.c.channel == channel, offers.c.package != package)
    query = sa.select(releases.c.package).select_from(releases.join(offers)).where(wanted)
    found = tx.rows(query.where(releases.c.withdrawn_at.is_(None)).distinct().order_by(releases.c.package))
    return [row.package for row in found]


def default_packages_of(tx: Transaction, channel: str) -> dict[str, str]:
    """Return what an install gets on a channel that names no package, by platform."""
    query = sa.select(default_packages).where(default_packages.c.channel == channel)
    return {row.platform: row.package for row in tx.rows(query)}


def add_default_package(tx: Transaction, channel: str, platform: str, package: str) -> None:
    """Make a package the default of a channel and platform that has none."""
    tx.add_if_new(default_packages, {"channel": channel, "platform": platform, "package": package})


def set_default_package(tx: Transaction, channel: str, platform: str, package: str) -> None:
    """Make a package the default of a channel and platform."""
    of_this = sa.and_(default_packages.c.channel == channel, default_packages.c.platform == platform)
    add_default_package(tx, channel, platform, package)
    tx.run(sa.update(default_packages).where(of_this).values(package=package))


def withdraw(tx: Transaction, package: str, version: str, platform: str, now: datetime) -> bool:
    """Mark a release as withdrawn; return True for the one caller that did."""
    named = _named(package, version, platform)
    return tx.run(sa.update(releases).where(named, releases.c.withdrawn_at.is_(None)).values(withdrawn_at=now)) == 1


def release(tx: Transaction, package: str, version: str, platform: str) -> Release | None:
    """Return one release with its channels."""
    found = _releases(tx, sa.select(releases).where(_named(package, version, platform)))
    return found[0] if found else None


def every_release(tx: Transaction, package: str | None) -> list[Release]:
    """Return all releases, or all of a package, the newest first."""
    query = sa.select(releases).order_by(releases.c.created_at.desc(), releases.c.package, releases.c.version)
    return _releases(tx, query.where(releases.c.package == package) if package else query)


def of_versions(tx: Transaction, wanted: Collection[tuple[str, str]]) -> list[Release]:
    """Return the releases of any of (package, version), withdrawn ones included, for every platform."""
    if not wanted:
        return []
    packages, versions = ({each[place] for each in wanted} for place in (0, 1))
    query = sa.select(releases).where(releases.c.package.in_(packages), releases.c.version.in_(versions))
    return [release for release in _releases(tx, query) if (release.package, release.version) in wanted]


def offered(tx: Transaction, wanted: Sequence[tuple[str, str, str]]) -> list[Release]:
    """Return what is offered for any of (package, platform, channel)."""
    if not wanted:
        return []
    any_of = set(wanted)
    packages, platforms, channels = (sorted({each[place] for each in any_of}) for place in range(3))
    found = _releases(tx, _OFFERED, {"packages": packages, "platforms": platforms, "channels": channels})
    return [
        release
        for release in found
        if any((release.package, release.platform, channel) in any_of for channel in release.channels)
    ]


def packages_offered(tx: Transaction, platform: str, channel: str) -> list[str]:
    """Return the packages that a channel offers for a platform, by name."""
    joined = releases.join(offers)
    is_offered = sa.and_(releases.c.withdrawn_at.is_(None), releases.c.published_at.is_not(None))
    wanted = sa.and_(offers.c.platform == platform, offers.c.channel == channel, is_offered)
    query = sa.select(releases.c.package).select_from(joined).where(wanted).distinct().order_by(releases.c.package)
    return [row.package for row in tx.rows(query)]


def scheme(tx: Transaction, package: str) -> str | None:
    """Return the version scheme of a package; None if it has no releases yet."""
    return schemes(tx, [package]).get(package)


def schemes(tx: Transaction, packages: Collection[str]) -> dict[str, str]:
    """Return the version schemes of these packages. Those without releases are left out."""
    if not packages:
        return {}
    return {row.package: row.scheme for row in tx.rows(_SCHEMES, {"packages": sorted(packages)})}


def set_scheme(tx: Transaction, package: str, name: str) -> None:
    """Set the version scheme of a package."""
    if not tx.run(sa.update(package_schemes).where(package_schemes.c.package == package).values(scheme=name)):
        tx.add(package_schemes, [{"package": package, "scheme": name}])


def artifact_sizes(tx: Transaction) -> dict[str, int]:
    """Return the bytes of the artifact of every release and delta, by its SHA-256."""
    made = sa.select(deltas.c.sha256, deltas.c.size).where(deltas.c.sha256 != "")
    query = sa.union(sa.select(releases.c.sha256, releases.c.size), made)
    return {row.sha256: int(row.size) for row in tx.rows(query)}


def note_published(tx: Transaction, now: datetime) -> None:
    """Note that every release is in the signed metadata now."""
    tx.run(sa.update(releases).where(releases.c.published_at.is_(None)).values(published_at=now))


def withdrawn(tx: Transaction) -> set[tuple[str, str, str]]:
    """Return (package, version, platform) of the releases that were withdrawn."""
    query = sa.select(releases.c.package, releases.c.version, releases.c.platform)
    found = tx.rows(query.where(releases.c.withdrawn_at.is_not(None)))
    return {(row.package, row.version, row.platform) for row in found}


def count(tx: Transaction) -> int:
    """Return how many releases there are."""
    return int(tx.scalar(sa.select(sa.func.count()).select_from(releases)))


def add_metadata(tx: Transaction, role: str, version: int, content: bytes) -> None:
    """Add a version of a role's metadata."""
    tx.add(signed_metadata, [{"role": role, "version": version, "bytes": content}])


def drop_metadata(tx: Transaction, role: str, up_to: int) -> None:
    """Delete the versions of a role's metadata up to this one."""
    tx.run(sa.delete(signed_metadata).where(signed_metadata.c.role == role, signed_metadata.c.version <= up_to))


def latest_version(tx: Transaction, role: str) -> int:
    """Return the number of a role's newest metadata, 0 if there is none."""
    query = sa.select(sa.func.max(signed_metadata.c.version)).where(signed_metadata.c.role == role)
    return int(tx.scalar(query) or 0)


def set_floor(tx: Transaction, role: str, version: int) -> None:
    """Have the versions of a role's metadata begin above this one."""
    tx.run(sa.delete(metadata_floors).where(metadata_floors.c.role == role))
    tx.add(metadata_floors, [{"role": role, "version": version}])


def floor(tx: Transaction, role: str) -> int:
    """Return above which version a role's metadata begins; 0 if a restore never raised it."""
    return int(tx.scalar(sa.select(metadata_floors.c.version).where(metadata_floors.c.role == role)) or 0)


def latest(tx: Transaction, role: str) -> bytes | None:
    """Return a role's newest metadata."""
    query = sa.select(signed_metadata.c.bytes).where(signed_metadata.c.role == role)
    found = tx.scalar(query.order_by(signed_metadata.c.version.desc()).limit(1))
    return None if found is None else bytes(found)


def version(tx: Transaction, role: str, number: int) -> bytes | None:
    """Return one version of a role's metadata."""
    found = tx.scalar(
        sa.select(signed_metadata.c.bytes).where(signed_metadata.c.role == role, signed_metadata.c.version == number)
    )
    return None if found is None else bytes(found)


def _named(package: str, version: str, platform: str) -> sa.ColumnElement[bool]:
    return sa.and_(releases.c.package == package, releases.c.version == version, releases.c.platform == platform)


def _offers_of(package: str, version: str, platform: str) -> sa.Delete:
    of_this = sa.and_(offers.c.package == package, offers.c.version == version, offers.c.platform == platform)
    return sa.delete(offers).where(of_this)


def _releases(tx: Transaction, query: Any, values: dict[str, Any] | None = None) -> list[Release]:
    rows = tx.rows(query, values)
    channels: dict[tuple[str, str, str], list[str]] = {}
    if rows:
        for row in tx.rows(_OFFERS, {"packages": sorted({row.package for row in rows})}):
            channels.setdefault((row.package, row.version, row.platform), []).append(row.channel)
    by_package = schemes(tx, {row.package for row in rows})
    return [
        Release(
            row.package,
            row.version,
            row.platform,
            row.sha256,
            row.size,
            row.file_name,
            replace(Manifest.from_json(row.manifest), scheme=by_package.get(row.package, FIRST_SCHEME)),
            row.created_at,
            row.withdrawn_at,
            tuple(channels.get((row.package, row.version, row.platform), ())),
            row.published_at,
            row.fetched_at,
        )
        for row in rows
    ]
