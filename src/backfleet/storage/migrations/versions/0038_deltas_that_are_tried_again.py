"""deltas that are tried again"""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("release_deltas", schema=None) as batch_op:
        batch_op.add_column(sa.Column("retry_above", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("retry_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("downloads", sa.BigInteger(), server_default="0", nullable=False))
    # What was given up for lack of memory or time had no second try: it gets one.
    op.execute("UPDATE release_deltas SET retry_above = 0 WHERE sha256 = '' AND note LIKE 'making it %'")
