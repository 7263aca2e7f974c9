"""Infrastructure: transactions on SQLite or PostgreSQL. Knows nothing of the product.

Owns no table but the schema version and the row that `check_writing` writes. Every module registers its tables on
`metadata` and keeps its SQL in its own `_store`; what must never happen twice is a constraint there.

- `open_database(url)` opens a database, and `migrate` brings it to this version's schema, or raises `WrongSchema`.
- `snapshot` reads all rows as of one moment; `load` fills an empty database with them, of either engine.
- `DatabaseClock` is one clock for all processes that share the database.
- `Database.transaction()` and `Database.reading()` give a `Transaction`.
- A `Prepared` statement is compiled once; those of the busiest paths are, at the head of their `_store`.
- Both raise `Unavailable` while the same may work later: the database is away, read-only, full, locked ...
"""

from backfleet.storage._clock import DatabaseClock
from backfleet.storage._columns import Moment, metadata
from backfleet.storage._copying import BadRows, Snapshot, load, snapshot
from backfleet.storage._database import Conflict, Database, Transaction, open_database
from backfleet.storage._limits import CallLimit, TimeOuts
from backfleet.storage._lists import list_part
from backfleet.storage._migrate import is_new, migrate
from backfleet.storage._prepared import Prepared, likely, not_searched
from backfleet.storage._reading import Reader, reader
from backfleet.storage._schema import WrongSchema
from backfleet.storage._turns import Turns, TurnsBetween
from backfleet.storage._unavailable import Trouble, Unavailable, database_trouble
from backfleet.storage._writing import check_writing

__all__ = [
    "BadRows",
    "CallLimit",
    "Conflict",
    "Database",
    "DatabaseClock",
    "Moment",
    "Prepared",
    "Reader",
    "Snapshot",
    "TimeOuts",
    "Transaction",
    "Trouble",
    "Turns",
    "TurnsBetween",
    "Unavailable",
    "WrongSchema",
    "check_writing",
    "database_trouble",
    "is_new",
    "likely",
    "list_part",
    "load",
    "metadata",
    "migrate",
    "not_searched",
    "open_database",
    "reader",
    "snapshot",
]
