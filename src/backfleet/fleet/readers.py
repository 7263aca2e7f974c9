"""Readers of a host's backups: the clients of all hosts that share a repository with it.

Administrators declare that hosts share a repository by giving them the same tag. Source: failure catalogue F41, F43.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from backfleet.fleet import _store
from backfleet.storage import Transaction
from backfleet_host.versions import FIRST_SCHEME, Scheme, scheme_of

REPOSITORY: Final = "backfleet:repository"
"""The key of that tag. Its value is a name that the administrator chooses."""


def oldest_readers(tx: Transaction, client_ids: Sequence[str], schemes: Mapping[str, str]) -> Mapping[str, str]:
    """Return the lowest version among all readers of a client's backups, by client.

    Clients whose hosts do not have the tag are left out.

    Args:
        schemes: the version scheme of each client's package, by client; those left out have the first.
    """
    versions = _store.tags.versions_by_tag(tx, client_ids, REPOSITORY)
    return {
        client_id: oldest(found, scheme_of(schemes.get(client_id, FIRST_SCHEME)))
        for client_id, found in versions.items()
        if found
    }


def oldest(versions: Iterable[str], scheme: Scheme) -> str:
    """Return the lowest version. One that cannot be compared with others counts as the lowest, to be safe. Pure."""
    placed = sorted(versions)
    unknown = [version for version in placed if scheme.order_of(version) is None]
    return unknown[0] if unknown else min(placed, key=lambda version: (scheme.order_of(version), version))
