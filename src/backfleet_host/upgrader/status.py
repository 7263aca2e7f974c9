"""The status of every package under a root: versions, drift, and what is open. Reading it changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

from backfleet_host.contract import is_version
from backfleet_host.platforms import platform_here
from backfleet_host.upgrader.disk import read_json
from backfleet_host.upgrader.host import drift
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
    packages = [_package_status(installation, package) for package in installation.packages()]
    return {"platform": platform_here(), "packages": packages}


def _package_status(installation: Installation, package: PackageFolder) -> Dict[str, Any]:
    last = read_json(package.folder / "outcome.json") or {}
    return {
        "package": package.name,
        "current": package.version(),
        "previous": package.version_before(),
        "versions": _versions_of(package),
        "drift": drift.of(installation, package, known_manifest(package, package.version())),
        "in_use": _old_versions_in_use(installation, package),
        "settings": read_json(package.settings) or {},
        "attempt_open": package.journal.exists(),
        "failed": sorted(path.name for path in package.failed.iterdir()) if package.failed.is_dir() else [],
        "failures": _failures_of(package),
        "last": last.get("report"),
    }


def _failures_of(package: PackageFolder) -> Dict[str, Any]:
    """Return why and when versions were rolled back here, and until when each is quarantined, by version."""
    folders = package.failed.iterdir() if package.failed.is_dir() else ()
    found = {folder.name: read_json(folder / "reason.json") for folder in folders}
    return {version: record for version, record in sorted(found.items()) if record is not None}


def _versions_of(package: PackageFolder) -> List[str]:
    """Return the versions whose trees are on disk."""
    return sorted(path.name for path in package.versions.iterdir() if path.is_dir() and is_version(path.name))


def _old_versions_in_use(installation: Installation, package: PackageFolder) -> Dict[str, List[int]]:
    """Return the processes that still run from other versions than the current one, by version."""
    old = [version for version in _versions_of(package) if version != package.version()]
    found = {version: installation.running(package.tree(version)) for version in old}
    return {version: processes for version, processes in found.items() if processes}
