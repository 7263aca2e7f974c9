"""Request ids of agents that were used."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from backfleet.fleet._tables import requests
from backfleet.storage import Transaction


def add(tx: Transaction, fingerprint: int, until: datetime) -> bool:
    """Remember a request until a moment. Return True to the one caller that added it."""
    return tx.add_if_new(requests, {"mark": fingerprint, "until": until})


def add_all(tx: Transaction, used: Sequence[tuple[int, datetime]]) -> None:
    """Remember many requests; those that are there already stay as they are."""
    tx.add_those_new(requests, [{"mark": fingerprint, "until": until} for fingerprint, until in sorted(used)])


def purge(tx: Transaction, now: datetime, limit: int) -> int:
    """Delete at most `limit` expired requests. Return how many were deleted."""
    expired = sa.select(requests.c.mark).where(requests.c.until < now).limit(limit)
    return tx.run(sa.delete(requests).where(requests.c.mark.in_(expired)))
