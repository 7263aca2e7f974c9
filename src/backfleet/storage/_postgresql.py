"""The engine for PostgreSQL."""

from typing import Any, Final

import sqlalchemy as sa

from backfleet.storage._limits import TimeOuts

CONNECT_SECONDS: Final = 5  # a PostgreSQL that takes longer to answer counts as unavailable
SILENT_MS: Final = 15_000  # so does one that sends nothing for this long
IDLE_SECONDS: Final = 60.0  # a process that stands still in a transaction loses it, and the locks that it holds

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

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("timed", True):
            connection.exec_driver_sql(_settings(local=True, lock_timeout=IDLE_SECONDS, statement_timeout=0))
        elif options.get("lock_seconds") is not None:
            seconds = options["lock_seconds"]
            connection.exec_driver_sql(_settings(local=True, lock_timeout=seconds, statement_timeout=2 * seconds))

    return engine


def _settings(*, local: bool, **seconds: float) -> str:
    """Return a statement that sets time-outs, for the transaction if `local`, else for the session; 0 is none."""
    pairs = ", ".join(f"('{name}', '{round(value * 1000)}')" for name, value in seconds.items())
    return SETTINGS.format(local=str(local).lower(), pairs=pairs)
