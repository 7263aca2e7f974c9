"""how the settings of clients were before a task changed them"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "settings_before",
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.String(length=64), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_settings_before_task_id_tasks")),
        sa.PrimaryKeyConstraint("client_id", "task_id", name=op.f("pk_settings_before")),
    )
    with op.batch_alter_table("settings_before", schema=None) as batch_op:
        batch_op.create_index(op.f("ix_settings_before_task_id"), ["task_id"], unique=False)
