"""The Update Framework's metadata: why a host may believe that these bytes are this release.

Root, targets, snapshot and timestamp, each signed with its own key, kept as rows so that a release and the metadata
that vouches for it are one transaction. Consistent snapshots: a client in the middle of a refresh never sees a mixture.
Source: TUF specification, sections 4 to 6.
"""

from datetime import datetime, timedelta
from typing import Any, Final, cast

from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from backfleet.releases import _store
from backfleet.releases.refusal import TooManyReleases
from backfleet.releases.repository import ROLES, Repository
from backfleet.storage import Database, Transaction

LIFE: Final = {
    "root": timedelta(days=3650),
    "targets": timedelta(days=365),
    "snapshot": timedelta(days=90),
    "timestamp": timedelta(days=7),
}
"""How long each lives. A host that is shown nothing newer for longer than the timestamp's life refuses: a freeze."""

KEPT_VERSIONS = 20  # of snapshot and targets: a client in the middle of a refresh finds what it was told of
LARGEST: Final = 4_500_000  # bytes of one document; python-tuf's clients take at most 5,000,000
EMBEDDED: Final = "backfleet"  # the key of the manifest in a target's custom metadata


def publish(tx: Transaction, repository: Repository, *, now: datetime) -> None:
    """Sign what is offered now: targets, then snapshot, then timestamp. The caller holds the releases' lock.

    Raises:
        TooManyReleases: hosts would refuse a document that large.
    """
    targets = Targets(version=_next(tx, "targets"), expires=now + LIFE["targets"], targets=_target_files(tx))
    _write(tx, repository, "targets", targets)
    _publish_snapshot(tx, repository, targets.version, now)


def refresh(tx: Transaction, repository: Repository, *, now: datetime) -> bool:
    """Make the first metadata, or sign anew what has lived half of its life. True if anything was signed."""
    _store.lock(tx)
    if _store.latest(tx, "root") is None:
        _write(tx, repository, "root", _first_root(repository, now))
        publish(tx, repository, now=now)
        return True
    due = [role for role in ROLES if _is_due(tx, role, now)]
    if "root" in due:
        root = cast(Root, _read(tx, "root").signed)
        root.version, root.expires = root.version + 1, now + LIFE["root"]
        _write(tx, repository, "root", root)
    if "targets" in due:
        publish(tx, repository, now=now)
    elif "snapshot" in due:
        _publish_snapshot(tx, repository, _read(tx, "targets").signed.version, now)
    elif "timestamp" in due:
        _publish_timestamp(tx, repository, _read(tx, "snapshot").signed.version, now)
    return bool(due)


def look(database: Database, repository: Repository, *, now: datetime) -> bool:
    """One look of the worker that keeps metadata fresh. Never more to do at once."""
    with database.reading() as tx:
        due = _store.latest(tx, "root") is None or any(_is_due(tx, role, now) for role in ROLES)
    if due:
        with database.transaction() as tx:
            refresh(tx, repository, now=now)
    return False


def metadata(tx: Transaction, name: str) -> bytes | None:
    """A metadata file by the name that clients ask for: `timestamp.json`, `3.snapshot.json`; None if there is none."""
    parts = name.removesuffix(".json").split(".")
    if not name.endswith(".json") or parts[-1] not in ROLES:
        return None
    if len(parts) == 1:
        return _store.latest(tx, parts[0]) if parts[0] == "timestamp" else None
    if len(parts) != 2 or not parts[0].isdecimal() or len(parts[0]) > 9:
        return None
    return _store.version(tx, parts[1], int(parts[0]))


def _first_root(repository: Repository, now: datetime) -> Root:
    root = Root(version=1, expires=now + LIFE["root"], consistent_snapshot=True)
    for role in ROLES:
        root.add_key(repository.signer(role).public_key, role)
    return root


def _target_files(tx: Transaction) -> dict[str, TargetFile]:
    """Everything that is not withdrawn: a host takes nothing that is not in here."""
    return {
        release.target_path: TargetFile(
            length=release.size,
            hashes={"sha256": release.sha256},
            path=release.target_path,
            unrecognized_fields={"custom": {EMBEDDED: release.manifest.to_json()}},
        )
        for release in _store.every_release(tx, None)
        if release.withdrawn_at is None
    }


def _publish_snapshot(tx: Transaction, repository: Repository, targets_version: int, now: datetime) -> None:
    snapshot = Snapshot(
        version=_next(tx, "snapshot"),
        expires=now + LIFE["snapshot"],
        meta={"targets.json": MetaFile(version=targets_version)},
    )
    _write(tx, repository, "snapshot", snapshot)
    _publish_timestamp(tx, repository, snapshot.version, now)


def _publish_timestamp(tx: Transaction, repository: Repository, snapshot_version: int, now: datetime) -> None:
    timestamp = Timestamp(
        version=_next(tx, "timestamp"),
        expires=now + LIFE["timestamp"],
        snapshot_meta=MetaFile(version=snapshot_version),
    )
    _write(tx, repository, "timestamp", timestamp)


def _write(tx: Transaction, repository: Repository, role: str, signed: Any) -> None:
    document: Metadata[Any] = Metadata(signed)
    document.sign(repository.signer(role))
    content = document.to_bytes()
    if len(content) > LARGEST:
        raise TooManyReleases(
            f"signed {role} metadata would be {len(content)} bytes, more than hosts take; withdraw old releases first"
        )
    _store.add_metadata(tx, role, signed.version, content)
    if role != "root":
        _store.drop_metadata(tx, role, signed.version - KEPT_VERSIONS)


def _read(tx: Transaction, role: str) -> Metadata[Any]:
    kept = _store.latest(tx, role)
    if kept is None:
        raise LookupError(f"there is no {role} metadata yet")
    return Metadata.from_bytes(kept)


def _next(tx: Transaction, role: str) -> int:
    return _store.latest_version(tx, role) + 1


def _is_due(tx: Transaction, role: str, now: datetime) -> bool:
    expires: datetime = _read(tx, role).signed.expires
    return expires - now < LIFE[role] / 2
