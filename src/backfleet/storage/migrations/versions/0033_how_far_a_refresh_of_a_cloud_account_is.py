"""how far a refresh of a cloud account is"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("ecs_accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("progress", sa.Text(), server_default="", nullable=False))
    with op.batch_alter_table("ecs_hosts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("checked_at", sa.BigInteger(), nullable=True))
