"""what waits of a length are measured by: the last decision of a rollout, its gaps, and the last round of leases"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("rollouts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("decided_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("gaps", sa.Text(), server_default="[]", nullable=False))
    op.execute("UPDATE rollouts SET decided_at = decide_at")  # at most 5 minutes later than it was
    op.create_table(
        "lease_rounds",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lease_rounds")),
    )
