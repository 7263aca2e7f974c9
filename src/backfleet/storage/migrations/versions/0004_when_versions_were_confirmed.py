"""when a client's host last said which version it has, and whether that is in doubt"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("clients", sa.Column("confirmed_at", sa.BigInteger(), nullable=True))
    op.add_column("clients", sa.Column("in_doubt", sa.Boolean(), server_default=sa.false(), nullable=False))
