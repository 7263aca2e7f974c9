"""Who must read a host's backups: the clients of all hosts that share a repository with it.

Operators say which hosts do by giving them the same tag. Source: failure catalogue F41, F43.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from backfleet.fleet import _store
from backfleet.storage import Transaction
from backfleet_host.versions import order_of

REPOSITORY: Final = "backfleet:repository"
"""The key of that tag. Its value is a name of the operator's own."""


def oldest_readers(tx: Transaction, client_ids: Sequence[str]) -> Mapping[str, str]:
    """For each of these clients whose host carries the tag, the lowest version among all who must read its backups."""
    versions = _store.versions_by_repository(tx, client_ids, REPOSITORY)
    return {client_id: oldest(found) for client_id, found in versions.items() if found}


def oldest(versions: Iterable[str]) -> str:
    """The lowest; one that cannot be compared with others may be the lowest of all, and counts as such. Pure."""
    placed = sorted(versions)
    unknown = [version for version in placed if order_of(version) is None]
    return unknown[0] if unknown else min(placed, key=lambda version: (order_of(version), version))
