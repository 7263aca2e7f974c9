"""The loop that looks after leases."""

from datetime import datetime

from backfleet.commands.sending import sweep
from backfleet.storage import Database

AT_ONCE = 200  # leases looked after in one transaction


def look(database: Database, *, now: datetime) -> bool:
    """One look; True if there may be more."""
    with database.transaction() as tx:
        return sweep(tx, now=now, limit=AT_ONCE) == AT_ONCE
