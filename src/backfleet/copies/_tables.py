"""The table of the last copy."""

import sqlalchemy as sa

from backfleet.storage import Moment, metadata

last_copies = sa.Table(
    "last_copies",
    metadata,
    sa.Column("made_at", Moment, primary_key=True, autoincrement=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("lacking", sa.Integer),  # artifacts that it should have had; null: it was to have none, or nobody counted
)
