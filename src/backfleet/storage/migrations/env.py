"""Alembic's entry point. The caller passes the open connection, and with it the transaction."""

from typing import Any, Literal

from alembic import context

from backfleet.storage import Moment, metadata


def render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Render column types as the database knows them, so that a migration does not change with our classes."""
    return "sa.BigInteger()" if kind == "type" and isinstance(item, Moment) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    render_item=render,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
