"""instances by their activation and machine: each host that enrols asks for them"""

from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.drop_index("ix_instances_activation_id")
        batch_op.create_index("ix_instances_activation", ["activation_id", "machine_id"], unique=False)
