"""The only SQL on the table of the last copy."""

from datetime import datetime

import sqlalchemy as sa

from backfleet.copies._tables import last_copies
from backfleet.storage import Transaction


def note(tx: Transaction, made_at: datetime, size: int) -> None:
    """Remember that a copy of this size, in bytes, was made; older ones are forgotten."""
    tx.run(sa.delete(last_copies).where(last_copies.c.made_at <= made_at))
    tx.add_if_new(last_copies, {"made_at": made_at, "bytes": size})


def last(tx: Transaction) -> datetime | None:
    """Return when the last copy was made."""
    found: datetime | None = tx.scalar(sa.select(sa.func.max(last_copies.c.made_at, type_=last_copies.c.made_at.type)))
    return found
