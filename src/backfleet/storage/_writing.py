"""Whether the database can be written now, and by whom every table is free to be: what `/readyz` asks."""

from datetime import datetime
from typing import Final

import sqlalchemy as sa

from backfleet.storage._columns import Moment, metadata
from backfleet.storage._database import Database

LOCK_SECONDS: Final = 2.0  # a lock that somebody holds for longer makes calls wait too long

write_checks = sa.Table(
    "write_checks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", Moment, nullable=False),
)
"""One row, which is written by each check: a database may answer and still be locked, full or read-only."""


def check_writing(database: Database, now: datetime) -> None:
    """Write a row, and on PostgreSQL take the lock that writing takes on every table.

    Raises:
        Unavailable: calls cannot be carried out now.
    """
    with database.transaction(lock_seconds=LOCK_SECONDS) as tx:
        if database.engine.dialect.name == "postgresql":
            quoted = database.engine.dialect.identifier_preparer.quote
            names = ", ".join(quoted(name) for name in sorted(metadata.tables))
            tx.run(sa.text(f"LOCK TABLE {names} IN ROW EXCLUSIVE MODE"))
        if not tx.run(write_checks.update().where(write_checks.c.id == 1).values(at=now)):
            tx.add_if_new(write_checks, {"id": 1, "at": now})
