"""Sign and keep the metadata of The Update Framework, by which a host verifies that bytes are a release.

Root, targets, snapshot and timestamp are each signed with a key of their own. They are kept as rows, so that a release
and the metadata that names it are written in one transaction. Snapshots are consistent: a client in the middle of a
refresh never sees a mixture.
Source: TUF specification, sections 4 to 6.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from backfleet.releases import _store
from backfleet.releases.errors import TooManyReleases
from backfleet.releases.offline_signing import ROOT_LIFE, TARGETS_LIFE
from backfleet.releases.repository import ROLES, Repository
from backfleet.storage import Database, Transaction

LIFETIMES: Final = {
    "root": ROOT_LIFE,
    "targets": TARGETS_LIFE,
    "snapshot": timedelta(days=90),
    "timestamp": timedelta(days=7),
}
"""How long each document is valid. A host that sees no newer timestamp for that long suspects a freeze and refuses."""

VERSIONS_COUNT_FROM: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""After a restore, versions go on at the seconds since then: nobody publishes more often, and nine digits suffice."""

KEPT_VERSIONS = 20  # of snapshot and targets, for clients in the middle of a refresh
LARGEST: Final = 4_500_000  # bytes of one document; python-tuf's clients accept at most 5,000,000
LARGEST_ROOT: Final = 450_000  # bytes; they accept at most 512,000, and could never get past a larger one
EMBEDDED: Final = "backfleet"  # the key of the manifest in a target's custom metadata


def publish(tx: Transaction, repository: Repository, *, now: datetime) -> bool:
    """Sign what is offered now: targets, then snapshot, then timestamp. The caller holds the lock of the releases.

    Returns:
        False if the targets key is kept elsewhere. Then the releases wait for `acceptance.accept_signatures`.

    Raises:
        TooManyReleases: hosts would refuse a document that large.
    """
    if not may_sign(tx, repository, "targets"):
        return False
    targets = next_targets(tx, now)
    _sign(tx, repository, "targets", targets)
    publish_snapshot(tx, repository, targets.version, now)
    _store.note_published(tx, now)
    return True


def may_sign(tx: Transaction, repository: Repository, role: str) -> bool:
    """Return whether this server's key alone may sign for a role by the root in force; a first root will name it."""
    return not exists(tx) or suffices(read(tx, "root").signed, role, repository.signer(role).public_key)


def suffices(root: Root, role: str, key: Key) -> bool:
    """Return whether this key alone may sign for a role. It is compared by value: any key may have any id."""
    named = root.roles[role]
    return named.threshold == 1 and any(root.keys[keyid] == key for keyid in named.keyids)


def exists(tx: Transaction) -> bool:
    """Return whether there is any metadata yet."""
    return _store.latest(tx, "root") is not None


def next_targets(tx: Transaction, now: datetime) -> Targets:
    """Return the targets to offer next, not signed yet."""
    return Targets(version=_next(tx, "targets"), expires=now + LIFETIMES["targets"], targets=_target_files(tx))


def refresh(tx: Transaction, repository: Repository, *, now: datetime) -> bool:
    """Make the first metadata, or sign again what has passed half of its lifetime.

    Returns:
        Whether anything was signed.
    """
    _store.lock(tx)
    if _store.latest(tx, "root") is None:
        _sign(tx, repository, "root", _first_root(repository, now))
        publish(tx, repository, now=now)
        return True
    due = _due(tx, repository, now)
    if "root" in due:
        root = cast(Root, read(tx, "root").signed)
        root.version, root.expires = root.version + 1, now + LIFETIMES["root"]
        _sign(tx, repository, "root", root)
    if "targets" in due:
        publish(tx, repository, now=now)
    elif "snapshot" in due:
        publish_snapshot(tx, repository, read(tx, "targets").signed.version, now)
    elif "timestamp" in due:
        _publish_timestamp(tx, repository, read(tx, "snapshot").signed.version, now)
    return bool(due)


def resume(tx: Transaction, repository: Repository, *, now: datetime) -> bool:
    """Go on above every version that a host can have seen: the database is an older copy. The clock decides where.

    Root versions follow each other without a gap, so that a host accepts the next one only. They stay as they are.

    Returns:
        False if the targets key is kept elsewhere. Then hosts that have seen newer targets than the copy has refuse
        these, until the next ones are signed: `needs_signature`.
    """
    _store.lock(tx)
    if not exists(tx):
        return True
    floor = max(round((now - VERSIONS_COUNT_FROM).total_seconds()), 0)
    for role in ("targets", "snapshot", "timestamp"):
        _store.set_floor(tx, role, floor)
    if publish(tx, repository, now=now):
        return True
    publish_snapshot(tx, repository, read(tx, "targets").signed.version, now)
    return False


def needs_signature(tx: Transaction) -> bool:
    """Return whether the newest targets are those of an older copy: hosts may have seen newer ones."""
    return exists(tx) and _store.latest_version(tx, "targets") < _store.floor(tx, "targets")


def run_once(database: Database, repository: Repository, *, now: datetime) -> bool:
    """Do one round of the worker that keeps metadata fresh. Return False: there is never more to do at once."""
    with database.reading() as tx:
        due = _store.latest(tx, "root") is None or bool(_due(tx, repository, now))
    if due:
        with database.transaction() as tx:
            refresh(tx, repository, now=now)
    return False


def metadata(tx: Transaction, name: str) -> bytes | None:
    """Return a metadata file by the name that clients ask for, as `timestamp.json` or `3.snapshot.json`, or None."""
    parts = name.removesuffix(".json").split(".")
    if not name.endswith(".json") or parts[-1] not in ROLES:
        return None
    if len(parts) == 1:
        return _store.latest(tx, parts[0]) if parts[0] == "timestamp" else None
    if len(parts) != 2 or not (parts[0].isascii() and parts[0].isdecimal()) or len(parts[0]) > 9:
        return None
    return _store.version(tx, parts[1], int(parts[0]))


def unsigned(tx: Transaction) -> list[str]:
    """Return the names of the releases that were added or withdrawn since the targets were signed."""
    if not exists(tx):
        return []
    signed, wanted = _as_text(cast(Targets, read(tx, "targets").signed).targets), _as_text(_target_files(tx))
    return sorted(name for name in signed.keys() | wanted.keys() if signed.get(name) != wanted.get(name))


def _as_text(files: Mapping[str, TargetFile]) -> dict[str, str]:
    """Return descriptions of releases by name, equal if they are signed as the same: lists are read for tuples."""
    return {name: json.dumps(file.to_dict(), sort_keys=True) for name, file in files.items()}


def endings(tx: Transaction) -> dict[str, datetime]:
    """Return when the newest root and targets end: those that a person may have to sign."""
    found = {role: _store.latest(tx, role) for role in ("root", "targets")}
    return {role: Metadata.from_bytes(content).signed.expires for role, content in found.items() if content}


def _first_root(repository: Repository, now: datetime) -> Root:
    root = Root(version=1, expires=now + LIFETIMES["root"], consistent_snapshot=True)
    for role in ROLES:
        root.add_key(repository.signer(role).public_key, role)
    return root


def _target_files(tx: Transaction) -> dict[str, TargetFile]:
    """Return every release that is not withdrawn. A host accepts nothing else."""
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


def publish_snapshot(tx: Transaction, repository: Repository, targets_version: int, now: datetime) -> None:
    """Sign which targets are the newest, and for how long."""
    snapshot = Snapshot(
        version=_next(tx, "snapshot"),
        expires=now + LIFETIMES["snapshot"],
        meta={"targets.json": MetaFile(version=targets_version)},
    )
    _sign(tx, repository, "snapshot", snapshot)
    _publish_timestamp(tx, repository, snapshot.version, now)


def _publish_timestamp(tx: Transaction, repository: Repository, snapshot_version: int, now: datetime) -> None:
    timestamp = Timestamp(
        version=_next(tx, "timestamp"),
        expires=now + LIFETIMES["timestamp"],
        snapshot_meta=MetaFile(version=snapshot_version),
    )
    _sign(tx, repository, "timestamp", timestamp)


def _sign(tx: Transaction, repository: Repository, role: str, signed: Any) -> None:
    document: Metadata[Any] = Metadata(signed)
    document.sign(repository.signer(role))
    write(tx, document)


def write(tx: Transaction, document: Metadata[Any]) -> None:
    """Store a signed document. Hosts get it as soon as the transaction is committed.

    Raises:
        TooManyReleases: hosts would refuse it for its size.
    """
    signed, role, content = document.signed, document.signed.type, document.to_bytes()
    if len(content) > (LARGEST_ROOT if role == "root" else LARGEST):
        advice = "name fewer keys" if role == "root" else "withdraw old releases first"
        raise TooManyReleases(f"signed {role} metadata would be {len(content)} bytes, more than hosts take; {advice}")
    _store.add_metadata(tx, role, signed.version, content)
    if role != "root":
        _store.drop_metadata(tx, role, signed.version - KEPT_VERSIONS)


def read(tx: Transaction, role: str) -> Metadata[Any]:
    """Return the newest metadata of a role.

    Raises:
        LookupError: there is none yet.
    """
    stored = _store.latest(tx, role)
    if stored is None:
        raise LookupError(f"there is no {role} metadata yet")
    return Metadata.from_bytes(stored)


def newest_root(tx: Transaction) -> bytes:
    """Return the newest release root as it was signed; nothing if there is none yet."""
    return _store.latest(tx, "root") or b""


def _next(tx: Transaction, role: str) -> int:
    return max(_store.latest_version(tx, role), _store.floor(tx, role)) + 1


def _due(tx: Transaction, repository: Repository, now: datetime) -> list[str]:
    """Return the roles that have passed half of their lifetime and whose key this server has."""
    return [role for role in ROLES if _is_due(tx, role, now) and may_sign(tx, repository, role)]


def _is_due(tx: Transaction, role: str, now: datetime) -> bool:
    expires: datetime = read(tx, role).signed.expires
    return expires - now < LIFETIMES[role] / 2
