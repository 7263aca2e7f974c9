"""The status of every package under a root: versions, drift, and what is open. Reading it changes nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List

from backfleet_host.layout import version_in_folder
from backfleet_host.platforms import platform_here
from backfleet_host.upgrader.disk import read_json
from backfleet_host.upgrader.host import adopted, drift
from backfleet_host.upgrader.host.installation import Installation, PackageFolder, installation_at
from backfleet_host.upgrader.transaction.attempt import known_manifest


def status(root: Path) -> Dict[str, Any]:
    """Return the status of every package under this root.

    Raises:
        NotEnrolled: the root belongs to no server.
    """
    return status_of(installation_at(root))


def status_of(installation: Installation) -> Dict[str, Any]:
    """Return the status of every package of an installation that is already known."""
    packages = [_package_status(installation, package) for package in installation.packages() if _has_anything(package)]
    return {"platform": platform_here(), "packages": packages}


def _has_anything(package: PackageFolder) -> bool:
    """Return whether anything ever became of a package. A refused `adopt` leaves the folder that its lock is in."""
    marks = (
        package.folder / "outcome.json",
        package.adopted,
        package.journal,
        package.settings,
        package.failed,
        package.refused,
    )
    outcomes = package.folder / "outcomes"
    left = outcomes.is_dir() and any(outcomes.iterdir())
    return bool(package.version() or left or _versions_of(package) or any(map(os.path.lexists, marks)))


def _package_status(installation: Installation, package: PackageFolder) -> Dict[str, Any]:
    last = read_json(package.folder / "outcome.json") or {}
    adoption = adopted.read(package)
    return {
        "package": package.name,
        "current": package.version(),
        "previous": package.version_before(),
        "versions": _versions_of(package),
        "drift": drift.of(installation, package, known_manifest(package, package.version())),
        "in_use": _old_versions_in_use(installation, package),
        "settings": read_json(package.settings) or {},
        "attempt_open": package.journal.exists(),
        "adopted": [place.path for place in adoption.places] if adoption is not None else [],
        "adoption_refused": adopted.refusal(package),
        "failed": sorted(_evidence_in(package)),
        "failures": _failures_of(package),
        "last": last.get("report"),
    }


def _failures_of(package: PackageFolder) -> Dict[str, Any]:
    """Return why and when versions were rolled back here, and until when each is quarantined, by version."""
    found = {version: read_json(folder / "reason.json") for version, folder in _evidence_in(package).items()}
    return {version: record for version, record in sorted(found.items()) if record is not None}


def _evidence_in(package: PackageFolder) -> Dict[str, Path]:
    """Return the folders with evidence about versions that were rolled back, by version."""
    folders = package.failed.iterdir() if package.failed.is_dir() else ()
    return {version: folder for folder in folders if (version := version_in_folder(folder.name))}


def _versions_of(package: PackageFolder) -> List[str]:
    """Return the versions whose trees are on disk."""
    return sorted(filter(None, (version_in_folder(path.name) for path in package.versions.iterdir() if path.is_dir())))


def _old_versions_in_use(installation: Installation, package: PackageFolder) -> Dict[str, List[int]]:
    """Return the processes that still run from other versions than the current one, by version."""
    old = [version for version in _versions_of(package) if version != package.version()]
    found = {version: installation.running(package.tree(version)) for version in old}
    return {version: processes for version, processes in found.items() if processes}
