"""The only SQL on restores."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from backfleet.hold._tables import restores
from backfleet.storage import Transaction


def add(tx: Transaction, copied_at: datetime, restored_at: datetime) -> None:
    """Add a restore."""
    tx.add(restores, [{"restored_at": restored_at, "copied_at": copied_at}])


def newest(tx: Transaction) -> sa.Row[Any] | None:
    """Return the newest restore."""
    return tx.first(sa.select(restores).order_by(restores.c.restored_at.desc()).limit(1))


def release(tx: Transaction, by: str, now: datetime) -> int:
    """Note that an operator has looked. Return how many restores were waiting for that."""
    waiting = restores.c.released_at.is_(None)
    return tx.run(sa.update(restores).where(waiting).values(released_at=now, released_by=by))


def count_adopted(tx: Transaction, most: int) -> bool:
    """Count one more host. Return False if there are as many as may be, or if nothing is held."""
    may_more = sa.and_(restores.c.released_at.is_(None), restores.c.adopted < most)
    return tx.run(sa.update(restores).where(may_more).values(adopted=restores.c.adopted + 1)) > 0
