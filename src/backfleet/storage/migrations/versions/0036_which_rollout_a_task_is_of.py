"""which rollout a task is of"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("origin", sa.String(length=64), server_default="", nullable=False))
        batch_op.create_index("ix_tasks_origin", ["origin"], unique=False)
