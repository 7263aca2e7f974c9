"""When the last copy was made, as the installation itself knows it."""

from datetime import datetime

from backfleet.copies import _store
from backfleet.copies.model import LastCopy
from backfleet.storage import Transaction


def note_copy(tx: Transaction, *, made_at: datetime, size: int, lacking: int | None) -> None:
    """Remember that a copy was made.

    Args:
        made_at: When.
        size: Its bytes.
        lacking: The artifacts that it should have had and has not; None = it was to have none.
    """
    _store.note(tx, made_at, size, lacking)


def last_copy(tx: Transaction) -> LastCopy | None:
    """Return the last copy; None if none is known of."""
    return _store.last(tx)
