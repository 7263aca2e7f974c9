"""Request ids of agents, each taken once: remembered for all nodes, and beyond the end of any of them."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from backfleet.fleet import _store
from backfleet.storage import Transaction

FORGOTTEN_AT_ONCE = 20_000


def request_fingerprint(instance_id: str, request_id: str) -> int:
    """What is kept of one: 64 bits. Two that differ share a mark once in 2**64 pairs; the agent then tries again."""
    digest = hashlib.blake2b(f"{instance_id} {request_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def remember_request(tx: Transaction, mark: int, *, until: datetime) -> bool:
    """Take it. False if it was taken before, on whichever node."""
    return _store.add_use(tx, mark, until)


def remember_requests(tx: Transaction, uses: Sequence[tuple[int, datetime]]) -> None:
    """Write down many that were taken on this node, each with the moment until which it is remembered."""
    _store.add_uses(tx, uses)


def forget_requests(tx: Transaction, *, now: datetime) -> bool:
    """Forget those whose time is over; True if there may be more."""
    return _store.forget_uses(tx, now, FORGOTTEN_AT_ONCE) == FORGOTTEN_AT_ONCE
