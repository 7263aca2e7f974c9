"""What is staged on this host: verified versions that wait for an upgrade, which then needs no network."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Set, Tuple

from backfleet_host.upgrader import disk
from backfleet_host.upgrader.host.installation import Installation, PackageFolder
from backfleet_host.upgrader.release.source import ReleaseTarget
from backfleet_host.upgrader.transaction.attempt import Attempt, known_manifest

STAGED_SECONDS = 7 * 24 * 3600  # for which a staged version stays that no order has switched to


def note_staged(attempt: Attempt, targets: Sequence[ReleaseTarget]) -> None:
    """Note that these releases are staged, in the order in which an upgrade goes through them."""
    until = attempt.installation.clock() + STAGED_SECONDS
    noted = [
        {"version": each.manifest.version, "path": each.path, "length": each.length, "sha256": each.sha256}
        for each in targets
    ]
    versions = [each.manifest.version for each in targets]
    content = {"versions": versions, "until": until, "from": attempt.from_version, "targets": noted}
    disk.write_json(attempt.package.staged, content)


def staged_versions(package: PackageFolder, installation: Installation) -> Set[str]:
    """Return the versions that are staged; a clock that was set back ends that."""
    try:
        return {str(version) for version in _in_time(package, installation)["versions"]}
    except (KeyError, TypeError):
        return set()


def staged_path(attempt: Attempt) -> Tuple[ReleaseTarget, ...]:
    """Return the releases that this order would go through, if all of them are staged from the version that it has."""
    found = _in_time(attempt.package, attempt.installation)
    path: List[ReleaseTarget] = []
    try:
        if found["from"] != attempt.from_version or found["targets"][-1]["version"] != attempt.order.version:
            return ()
        for each in found["targets"]:
            manifest = known_manifest(attempt.package, str(each["version"]))
            if manifest is None:
                return ()
            path.append(ReleaseTarget(str(each["path"]), int(each["length"]), str(each["sha256"]), manifest))
    except (KeyError, IndexError, TypeError, ValueError):  # nothing is staged, or an older program noted it
        return ()
    return tuple(path)


def _in_time(package: PackageFolder, installation: Installation) -> Dict[str, Any]:
    found, now = disk.read_json(package.staged) or {}, installation.clock()
    try:
        return found if now <= float(found["until"]) <= now + STAGED_SECONDS else {}
    except (KeyError, TypeError, ValueError):
        return {}
