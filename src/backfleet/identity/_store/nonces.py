"""Nonces of requests that were accepted."""

from datetime import datetime

import sqlalchemy as sa

from backfleet.identity._tables import nonces
from backfleet.storage import Transaction


def add(tx: Transaction, access_key_id: str, nonce: str, until: datetime) -> bool:
    """Remember a nonce until a moment. Return True to the one request that used it first."""
    return tx.add_if_new(nonces, {"access_key_id": access_key_id, "nonce": nonce, "until": until})


def drop_expired(tx: Transaction, now: datetime, limit: int) -> int:
    """Delete at most `limit` expired nonces, and return how many. Rows that another replica deletes are left to it."""
    expired = sa.select(nonces.c.access_key_id, nonces.c.nonce).where(nonces.c.until < now).order_by(nonces.c.until)
    expired = expired.limit(limit).with_for_update(skip_locked=True)
    return tx.run(sa.delete(nonces).where(sa.tuple_(nonces.c.access_key_id, nonces.c.nonce).in_(expired)))
