"""when an agent could last be given work, when its process started, and how a stopped command ends"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("reachable_at", sa.BigInteger(), nullable=True))
    op.add_column("instances", sa.Column("agent_started_at", sa.BigInteger(), nullable=True))
    op.add_column("invocations", sa.Column("termination", sa.String(length=16), server_default="", nullable=False))
    # Until now every request counted: nobody is to become unreachable because the server was updated.
    op.execute("UPDATE instances SET reachable_at = last_heard_at")
