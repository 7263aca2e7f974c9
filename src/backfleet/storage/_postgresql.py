"""The engine for PostgreSQL."""

import select
from typing import Any, Final

import sqlalchemy as sa

from backfleet.storage._limits import TimeOuts
from backfleet.storage._ways import forget, way_of

CONNECT_SECONDS: Final = 5  # a PostgreSQL that takes longer to answer counts as unavailable
SILENT_MS: Final = 15_000  # so does one that sends nothing for this long
IDLE_SECONDS: Final = 60.0  # a process that stands still in a transaction loses it, and the locks that it holds

_READS: Final = "reads"  # the key in what is noted of a pooled connection whose last transaction here only read

SETTINGS: Final = "SELECT set_config(name, value, {local}) FROM (VALUES {pairs}) AS wanted (name, value)"


def postgresql_engine(url: sa.URL, time_outs: TimeOuts, pool: dict[str, Any]) -> sa.Engine:
    """Return an engine whose connections have time-outs.

    Args:
        url: `postgresql://...`
        time_outs: How long statements may wait.
        pool: Arguments for the engine's pool.
    """
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        max_overflow=0,
        pool_pre_ping=True,  # after a restart of the server, connections are replaced instead of failing one call each
        connect_args={"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": SILENT_MS},
        **pool,
    )
    # Not among the options of the connection: poolers refuse those.
    at_first = _settings(
        local=False,
        lock_timeout=time_outs.lock,
        statement_timeout=time_outs.statement,
        idle_in_transaction_session_timeout=IDLE_SECONDS,
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        connection.execute(at_first)
        connection.autocommit = False

    _set_transactions(engine)
    return engine


def _set_transactions(engine: sa.Engine) -> None:
    """Begin transactions, and ask whether a connection is alive only where something arrived on it meanwhile."""
    dialect: Any = engine.dialect
    ask = dialect.do_ping

    def begin(pooled: Any) -> None:
        connection, way = pooled.dbapi_connection, way_of(pooled)
        if not way.one_view:
            if not pooled.info.get(_READS, False):
                pooled.info[_READS] = connection.autocommit = True  # begins nothing, and has nothing to end
            return
        if pooled.info.get(_READS, False):
            connection.autocommit = pooled.info[_READS] = False  # in this order, lest an interruption be forgotten
        if not way.timed:
            connection.execute(_settings(local=True, lock_timeout=IDLE_SECONDS, statement_timeout=0))
        elif way.lock_seconds is not None:
            seconds = way.lock_seconds
            connection.execute(_settings(local=True, lock_timeout=seconds, statement_timeout=2 * seconds))

    def ping(connection: Any) -> bool:
        return is_silent(connection) or ask(connection)

    dialect.do_begin, dialect.do_ping = begin, ping

    @sa.event.listens_for(engine, "checkin")
    def restore(connection: Any, record: Any) -> None:
        forget(record)
        if record.info.pop(_READS, False) and connection is not None and not connection.closed:
            connection.autocommit = False


def is_silent(connection: Any) -> bool:
    """Return whether nothing has arrived: a server that ends sends that, or the kernel notes that it is gone."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLRDHUP)
    return not poll.poll(0)


def _settings(*, local: bool, **seconds: float) -> str:
    """Return a statement that sets time-outs, for the transaction if `local`, else for the session; 0 is none."""
    pairs = ", ".join(f"('{name}', '{round(value * 1000)}')" for name, value in seconds.items())
    return SETTINGS.format(local=str(local).lower(), pairs=pairs)
