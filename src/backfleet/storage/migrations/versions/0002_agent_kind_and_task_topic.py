"""the kind of an instance's agent, and the topic published when a task ends"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("topic", sa.String(length=64), server_default="", nullable=False))
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.add_column(sa.Column("agent_kind", sa.String(length=16), server_default="official", nullable=False))
        batch_op.create_check_constraint(batch_op.f("ck_instances_agent_kind_known"), "agent_kind IN ('backfleet', 'official')")
    # Until now the version's beginning told the kind.
    op.execute("UPDATE instances SET agent_kind = 'backfleet' WHERE agent_version LIKE 'backfleet-%'")


def downgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("ck_instances_agent_kind_known"), type_="check")
        batch_op.drop_column("agent_kind")
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.drop_column("topic")
