"""the time zones of hosts, as their agents report them"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("time_zone", sa.String(length=64), server_default="", nullable=False))
