"""Download a release: by a delta from a version that is here already, else its whole artifact.

A delta is a short cut and nothing more. Whatever is wrong with it, or with the version that it begins from, the whole
artifact is downloaded instead, and the report says why.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from backfleet_host.deltas import BadDelta, apply_delta, in_base_order
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.failpoints import failpoint
from backfleet_host.upgrader.release.source import Delta, InterruptCheck, ReleaseTarget
from backfleet_host.upgrader.transaction.attempt import Attempt, known_files
from backfleet_host.upgrader.transaction.plan import Plan

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DELTA_TRIES = 4  # to download one, before the whole artifact is downloaded instead
SPARE_BYTES = 16 << 20  # of the disk, left free beside what a delta needs
PIECE = 1 << 20  # bytes read at a time
RESULT_FORM = "tar"


@dataclass(frozen=True)
class Artifact:
    """A verified file that holds a release."""

    file: Path
    form: str = ""  # its format, if it is not the release's own


class _NotUsable(Exception):
    """A delta that cannot be used here; the text says why."""


def fetch_release(
    attempt: Attempt, plan: Plan, target: ReleaseTarget, bytes_per_second: int, check_interrupted: InterruptCheck
) -> Artifact:
    """Download and verify a release. If there are deltas to it, the report says which way it went, and why.

    Raises:
        OrderFailed: DownloadFailed, UntrustedRelease; or the order was interrupted.
        OSError: the disk is full, or cannot be written.
    """
    package, version = attempt.package, target.manifest.version
    noted: Dict[str, Any] = {}
    if target.deltas:
        noted = attempt.state.details.setdefault("downloads", {}).setdefault(version, {})

    def download(file: Any, most_tries: int) -> Path:
        server = dataclasses.replace(attempt.installation.release_server, most_tries=most_tries)
        return attempt.source.fetch(server, file, package.downloads, bytes_per_second, check_interrupted)

    delta = None if (package.downloads / target.sha256).exists() else _best_delta(attempt, target)
    if delta is not None:
        try:
            result = _by_delta(attempt, plan, delta, lambda: download(delta, DELTA_TRIES), check_interrupted)
        except (_NotUsable, BadDelta, OSError) as problem:
            if isinstance(problem, OSError) and problem.errno not in DISK_FULL:
                raise
            noted["no_delta"] = f"from {delta.base_version}: {problem}"[:300]
        else:
            noted.update(way="delta", base=delta.base_version, bytes=delta.length, saved=target.length - delta.length)
            return Artifact(result, RESULT_FORM)
    whole = download(target, 0)
    noted.update(way="whole", bytes=target.length)
    return Artifact(whole)


def _best_delta(attempt: Attempt, target: ReleaseTarget) -> Optional[Delta]:
    """Return the smallest delta from a version that is here, if it is smaller than the artifact."""
    here = [delta for delta in target.deltas if attempt.package.tree(delta.base_version).is_dir()]
    smallest = min(here, key=lambda delta: delta.length, default=None)
    return smallest if smallest is not None and smallest.length < target.length else None


def _by_delta(
    attempt: Attempt, plan: Plan, delta: Delta, download: Callable[[], Path], check_interrupted: InterruptCheck
) -> Path:
    """Return the verified result of a delta. What is on the way to it is removed, in every case.

    Raises:
        _NotUsable, BadDelta: the whole artifact is needed.
        OrderFailed: TaskCancelled.
        OSError: the disk cannot be written.
    """
    folder = attempt.package.downloads
    result, base = folder / delta.result_sha256, folder / f"{delta.base_sha256}.base"
    part = folder / f"{delta.result_sha256}.part"
    if result.exists() and _sha256_of(result) == delta.result_sha256:
        return result
    needed = delta.base_length + delta.result_length + delta.length + plan.disk_bytes() + SPARE_BYTES
    if shutil.disk_usage(str(folder)).free < needed:
        raise _NotUsable(f"{folder} has not the {needed >> 20} MiB free that it needs")
    try:
        _write_base(attempt, delta, base, check_interrupted)
        _apply(delta, _downloaded(download), base, part, check_interrupted)
        failpoint("delta applied")
        disk.rename(part, result)
    finally:
        for path in (base, part, folder / delta.sha256):
            disk.remove_file(path)
    return result


def _downloaded(download: Callable[[], Path]) -> Path:
    try:
        return download()
    except OrderFailed as problem:
        if problem.code == "TaskCancelled":
            raise
        raise _NotUsable(problem.text) from None


def _write_base(attempt: Attempt, delta: Delta, base: Path, check_interrupted: InterruptCheck) -> None:
    """Write the contents of a version's files into one file, and verify them: anybody may have changed the tree."""
    tree, files = attempt.package.tree(delta.base_version), known_files(attempt.package, delta.base_version)
    digest, left = hashlib.sha256(), delta.base_length
    with disk.open_for_writing(base, "wb") as written:
        for name in in_base_order(name for name, known in files.items() if "link" not in known):
            path = tree / name
            if path.is_symlink() or not path.is_file() or path.stat().st_size > left:
                raise _NotUsable(f"{name} of {delta.base_version} is not as it was unpacked")
            with open(path, "rb", buffering=0) as file:
                while piece := file.read(min(PIECE, left + 1)):
                    check_interrupted()
                    left -= len(piece)
                    digest.update(piece)
                    disk.write_all(written, piece)
    if left or digest.hexdigest() != delta.base_sha256:
        raise _NotUsable(f"the files of {delta.base_version} are not as that release has them")


def _apply(delta: Delta, file: Path, base: Path, part: Path, check_interrupted: InterruptCheck) -> None:
    digest = hashlib.sha256()
    with disk.open_for_writing(part, "wb") as written:

        def write(block: bytes) -> None:
            check_interrupted()
            digest.update(block)
            disk.write_all(written, block)
            failpoint("delta being applied")

        apply_delta(file, base, (delta.base_length, delta.result_length), write)
    if digest.hexdigest() != delta.result_sha256:
        raise _NotUsable("its result does not have the SHA-256 that the signed metadata names")


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
