"""what versions printed that were rolled back, deferred orders, and what failed last on a client"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("client_upgrades", sa.Column("evidence", sa.Text(), server_default="", nullable=False))
    op.add_column("client_upgrades", sa.Column("deferred", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("clients", sa.Column("failure", sa.Text(), server_default="", nullable=False))
