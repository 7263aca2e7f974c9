"""The ground: one transaction on SQLite or PostgreSQL. Knows nothing of the trade.

Owns no table but the schema version. Every room registers its tables on `metadata` and keeps its SQL in its own
`_store.py`; what must never happen twice is a constraint there. Verbs: `open_database`, and a `Database`'s
`transaction()` and `reading()`.
"""

from backfleet.storage._columns import Moment, metadata
from backfleet.storage._database import AWAY, Conflict, Database, Transaction, open_database
from backfleet.storage._migrate import migrate

__all__ = ["AWAY", "Conflict", "Database", "Moment", "Transaction", "metadata", "migrate", "open_database"]
