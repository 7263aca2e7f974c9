"""Replay cache: request ids of agents that were used. Shared by all nodes, and kept when a node ends."""

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from backfleet.fleet import _store
from backfleet.storage import Transaction

PURGED_AT_ONCE: Final = 20_000  # rows


def request_fingerprint(instance_id: str, request_id: str) -> int:
    """Return the 64 bits that are stored of a request.

    Two requests share them once in 2**64 pairs. The second is refused then, and its agent tries again.
    """
    digest = hashlib.blake2b(f"{instance_id} {request_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def remember_request(tx: Transaction, fingerprint: int, *, until: datetime) -> bool:
    """Remember a request until a moment. Return False if it was used before, on any node."""
    return _store.replay_cache.add(tx, fingerprint, until)


def remember_each(tx: Transaction, fingerprints: Collection[int], *, until: datetime) -> set[int]:
    """Remember requests until a moment, in one statement. Return those that were not used before, on any node."""
    return _store.replay_cache.add_each(tx, fingerprints, until) if fingerprints else set()


def remember_requests(tx: Transaction, used: Sequence[tuple[int, datetime]]) -> None:
    """Remember many requests that were used on this node: fingerprints, each with the moment it expires."""
    _store.replay_cache.add_all(tx, used)


def forget_requests(tx: Transaction, *, now: datetime) -> bool:
    """Delete expired requests. Return True if there may be more of them."""
    return _store.replay_cache.purge(tx, now, PURGED_AT_ONCE) == PURGED_AT_ONCE
