"""The only SQL on the table of the last copy."""

from datetime import datetime

import sqlalchemy as sa

from backfleet.copies._tables import last_copies
from backfleet.copies.model import LastCopy
from backfleet.storage import Transaction


def note(tx: Transaction, made_at: datetime, size: int, lacking: int | None) -> None:
    """Remember that a copy of this size, in bytes, was made; older ones are forgotten."""
    tx.run(sa.delete(last_copies).where(last_copies.c.made_at <= made_at))
    tx.add_if_new(last_copies, {"made_at": made_at, "bytes": size, "lacking": lacking})


def last(tx: Transaction) -> LastCopy | None:
    """Return the last copy; None if none is known of."""
    row = tx.first(sa.select(last_copies).order_by(last_copies.c.made_at.desc()).limit(1))
    return None if row is None else LastCopy(row.made_at, row.lacking)
