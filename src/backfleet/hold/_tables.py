"""The table of restores."""

import sqlalchemy as sa

from backfleet.storage import Moment, metadata

restores = sa.Table(
    "restores",
    metadata,
    sa.Column("restored_at", Moment, primary_key=True, autoincrement=False),
    sa.Column("copied_at", Moment, nullable=False),  # when the copy was made that the installation was restored from
    sa.Column("released_at", Moment),  # null: nothing is moved until an operator has looked
    sa.Column("released_by", sa.String(255), nullable=False, server_default=""),
    sa.Column("adopted", sa.Integer, nullable=False, server_default="0"),  # hosts that the copy did not know
)
