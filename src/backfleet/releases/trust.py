"""The Update Framework's metadata: why a host may believe that these bytes are this release.

Root, targets, snapshot and timestamp, each signed with its own key, kept as rows so that a release and the metadata
that vouches for it are one transaction. Consistent snapshots: a client in the middle of a refresh never sees a mixture.
Source: TUF specification, sections 4 to 6.
"""

from datetime import datetime, timedelta
from typing import Any, Final, cast

from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from backfleet.releases import _store
from backfleet.releases.offline import ROOT_LIFE, TARGETS_LIFE
from backfleet.releases.refusal import TooManyReleases
from backfleet.releases.repository import ROLES, Repository
from backfleet.storage import Database, Transaction

LIFE: Final = {
    "root": ROOT_LIFE,
    "targets": TARGETS_LIFE,
    "snapshot": timedelta(days=90),
    "timestamp": timedelta(days=7),
}
"""How long each lives. A host that is shown nothing newer for longer than the timestamp's life refuses: a freeze."""

KEPT_VERSIONS = 20  # of snapshot and targets: a client in the middle of a refresh finds what it was told of
LARGEST: Final = 4_500_000  # bytes of one document; python-tuf's clients take at most 5,000,000
LARGEST_ROOT: Final = 450_000  # bytes; they take at most 512,000, and could never pass a larger one
EMBEDDED: Final = "backfleet"  # the key of the manifest in a target's custom metadata


def publish(tx: Transaction, repository: Repository, *, now: datetime) -> bool:
    """Sign what is offered now: targets, then snapshot, then timestamp. The caller holds the releases' lock.

    False where the targets key is kept elsewhere: then it waits for `signing.take`.

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
    """Whether our key for this role is enough by the root in force; the first one will say so."""
    return not is_there(tx) or suffices(read(tx, "root").signed, role, repository.signer(role).public_key)


def suffices(root: Root, role: str, key: Key) -> bool:
    """Whether this key alone may sign for the role. By its value: an id may be given to any key."""
    named = root.roles[role]
    return named.threshold == 1 and any(root.keys[keyid] == key for keyid in named.keyids)


def is_there(tx: Transaction) -> bool:
    """Whether there is any metadata yet."""
    return _store.latest(tx, "root") is not None


def next_targets(tx: Transaction, now: datetime) -> Targets:
    """What is to be offered, not signed yet."""
    return Targets(version=_next(tx, "targets"), expires=now + LIFE["targets"], targets=_target_files(tx))


def refresh(tx: Transaction, repository: Repository, *, now: datetime) -> bool:
    """Make the first metadata, or sign anew what has lived half of its life. True if anything was signed."""
    _store.lock(tx)
    if _store.latest(tx, "root") is None:
        _sign(tx, repository, "root", _first_root(repository, now))
        publish(tx, repository, now=now)
        return True
    due = _due(tx, repository, now)
    if "root" in due:
        root = cast(Root, read(tx, "root").signed)
        root.version, root.expires = root.version + 1, now + LIFE["root"]
        _sign(tx, repository, "root", root)
    if "targets" in due:
        publish(tx, repository, now=now)
    elif "snapshot" in due:
        publish_snapshot(tx, repository, read(tx, "targets").signed.version, now)
    elif "timestamp" in due:
        _publish_timestamp(tx, repository, read(tx, "snapshot").signed.version, now)
    return bool(due)


def look(database: Database, repository: Repository, *, now: datetime) -> bool:
    """One look of the worker that keeps metadata fresh. Never more to do at once."""
    with database.reading() as tx:
        due = _store.latest(tx, "root") is None or bool(_due(tx, repository, now))
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


def publish_snapshot(tx: Transaction, repository: Repository, targets_version: int, now: datetime) -> None:
    """Vouch that these targets are the newest, and for how long."""
    snapshot = Snapshot(
        version=_next(tx, "snapshot"),
        expires=now + LIFE["snapshot"],
        meta={"targets.json": MetaFile(version=targets_version)},
    )
    _sign(tx, repository, "snapshot", snapshot)
    _publish_timestamp(tx, repository, snapshot.version, now)


def _publish_timestamp(tx: Transaction, repository: Repository, snapshot_version: int, now: datetime) -> None:
    timestamp = Timestamp(
        version=_next(tx, "timestamp"),
        expires=now + LIFE["timestamp"],
        snapshot_meta=MetaFile(version=snapshot_version),
    )
    _sign(tx, repository, "timestamp", timestamp)


def _sign(tx: Transaction, repository: Repository, role: str, signed: Any) -> None:
    document: Metadata[Any] = Metadata(signed)
    document.sign(repository.signer(role))
    write(tx, document)


def write(tx: Transaction, document: Metadata[Any]) -> None:
    """Keep a signed document, and offer it to hosts from the commit on.

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
    """The newest of this role."""
    kept = _store.latest(tx, role)
    if kept is None:
        raise LookupError(f"there is no {role} metadata yet")
    return Metadata.from_bytes(kept)


def _next(tx: Transaction, role: str) -> int:
    return _store.latest_version(tx, role) + 1


def _due(tx: Transaction, repository: Repository, now: datetime) -> list[str]:
    """Roles that have lived half of their life and whose key is ours."""
    return [role for role in ROLES if _is_due(tx, role, now) and may_sign(tx, repository, role)]


def _is_due(tx: Transaction, role: str, now: datetime) -> bool:
    expires: datetime = read(tx, role).signed.expires
    return expires - now < LIFE[role] / 2
