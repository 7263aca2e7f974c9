"""Giving an object store what it lacks of the releases."""

import logging

from backfleet.object_store import Trouble
from backfleet.releases import _store
from backfleet.releases.repository import Repository
from backfleet.storage import Database, Transaction

log = logging.getLogger(__name__)


def artifact_sizes(tx: Transaction) -> dict[str, int]:
    """Return the bytes of the artifact of every release, withdrawn or not, and of every delta, by its SHA-256."""
    return _store.artifact_sizes(tx)


def artifacts_named(tx: Transaction) -> dict[str, str]:
    """Return what the artifact of every release and delta is of, by its SHA-256.

    That is "" where hosts can do without: for releases that were withdrawn, and for deltas.
    """
    found = {delta.sha256: "" for delta in _store.every_delta(tx) if delta.sha256}
    every = _store.every_release(tx, None)
    found |= {one.sha256: "" for one in every if one.withdrawn_at is not None}
    return found | {
        one.sha256: f"{one.package} {one.version} ({one.platform})" for one in every if one.withdrawn_at is None
    }


def upload_missing(database: Database, repository: Repository) -> bool:
    """Write to the object store what it lacks of the releases, and the folder here has.

    So a folder that was filled before there was an object store, or by a restore, is shared by itself, and an object
    that somebody deleted comes back. Return False: there is no more to do at once.
    """
    stored = repository.stored
    if stored is None:
        return False
    with database.reading() as tx:
        wanted = artifact_sizes(tx)
    try:
        there = stored.bucket.sizes()
        for sha256 in sorted(one for one, size in wanted.items() if there.get(one) != size):
            path = repository.artifact(sha256)
            if path is not None and path.stat().st_size == wanted[sha256]:
                stored.put(path, sha256)
                log.info("an artifact went to the object store, which lacked it", extra={"sha256": sha256})
    except (Trouble, OSError) as problem:
        log.warning("artifacts are not compared with the object store: %s", problem)
    return False
