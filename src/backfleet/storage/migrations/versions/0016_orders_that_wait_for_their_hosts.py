"""orders that wait for their hosts"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("waits_until", sa.BigInteger(), nullable=True),
        sa.Column("order_until", sa.BigInteger(), nullable=True),
        sa.Column("not_before", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
    ):
        op.add_column("client_upgrades", column)
    op.add_column("tasks", sa.Column("caller", sa.Text(), server_default="", nullable=False))
