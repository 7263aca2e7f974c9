"""The loop that acts on leases that ran out."""

from datetime import datetime
from typing import Final

from backfleet.commands.sending import sweep
from backfleet.storage import Database

AT_ONCE: Final = 200  # leases of one transaction


def run_once(database: Database, *, now: datetime) -> bool:
    """Act on one batch of leases that ran out; True if there may be more."""
    with database.transaction() as tx:
        return sweep(tx, now=now, limit=AT_ONCE) == AT_ONCE
