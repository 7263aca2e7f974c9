"""Alembic's entry point: the caller hands in the open connection, and with it the transaction."""

from alembic import context

from backfleet.storage import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
