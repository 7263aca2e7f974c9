"""Infrastructure: transactions on SQLite or PostgreSQL. Knows nothing of the product.

Owns no table but the schema version. Every module registers its tables on `metadata` and keeps its SQL in its own
`_store`; what must never happen twice is a constraint there.

- `open_database(url)` opens a database, and `migrate` brings it to this version's schema.
- `DatabaseClock` is one clock for all processes that share the database.
- `Database.transaction()` and `Database.reading()` give a `Transaction`.
"""

from backfleet.storage._clock import DatabaseClock
from backfleet.storage._columns import Moment, metadata
from backfleet.storage._database import AWAY, Conflict, Database, Transaction, open_database
from backfleet.storage._migrate import migrate

__all__ = [
    "AWAY",
    "Conflict",
    "Database",
    "DatabaseClock",
    "Moment",
    "Transaction",
    "metadata",
    "migrate",
    "open_database",
]
