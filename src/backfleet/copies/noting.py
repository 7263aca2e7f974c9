"""When the last copy was made, as the installation itself knows it."""

from datetime import datetime

from backfleet.copies import _store
from backfleet.storage import Transaction


def note_copy(tx: Transaction, *, made_at: datetime, size: int) -> None:
    """Remember that a copy of this size, in bytes, was made."""
    _store.note(tx, made_at, size)


def last_copy(tx: Transaction) -> datetime | None:
    """Return when the last copy was made; None if none is known of."""
    return _store.last(tx)
