"""How transactions begin. SQLAlchemy's own events would cost more than what they are asked to do.

The engines ask here from `do_begin` and `do_commit` of their dialects, which are made to be replaced.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa

from backfleet.values import value_object

_WAY: Final = "way"  # the key in what is noted of a pooled connection, until it goes back to the pool


@value_object
class Way:
    """What a transaction is for, and how long it may wait."""

    writes: bool = True
    timed: bool = True  # False: statements take as long as they need
    lock_seconds: float | None = None  # to wait for a lock, if not as long as the engine does
    one_view: bool = True  # False: each statement may see what was committed before it, as on PostgreSQL anyway

    @property
    def leaves_traces(self) -> bool:
        """Whether it sets something on its connection that only the connection's return to its pool undoes."""
        return self.lock_seconds is not None


WRITING: Final = Way()
READING: Final = Way(writes=False, one_view=False)
UNTIMED: Final = Way(timed=False)
SNAPSHOT: Final = Way(writes=False, timed=False)


@contextmanager
def begun(engine: sa.Engine, way: Way, **options: Any) -> Iterator[sa.Connection]:
    """Give a connection in a transaction: commit when the block ends, roll back when it raises.

    Args:
        engine: Whose connection.
        way: How the transaction begins.
        options: SQLAlchemy's, of the connection.
    """
    with engine.connect() as connection:
        if options:
            connection.execution_options(**options)  # changes it in place
        note(connection, way)
        with connection.begin():
            yield connection


def note(connection: sa.Connection, way: Way) -> None:
    """Note how a connection's next transaction begins."""
    connection.connection.info[_WAY] = way


def way_of(pooled: Any) -> Way:
    """Return how a connection's transaction begins; one that nobody said anything of writes."""
    found: Way = pooled.info.get(_WAY, WRITING)
    return found


def forget(record: Any) -> Way | None:
    """Return how a connection's last transaction began, and forget it: it goes back to its pool."""
    found: Way | None = record.info.pop(_WAY, None)
    return found
