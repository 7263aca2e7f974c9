"""the kind of an instance's agent, and the topic that is published when a task ends"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("topic", sa.String(length=64), server_default="", nullable=False))
    # In one statement that both engines take: with a separate constraint SQLite would have to copy the table, which
    # other tables refer to.
    op.execute(
        "ALTER TABLE instances ADD COLUMN agent_kind VARCHAR(16) DEFAULT 'official' NOT NULL "
        "CONSTRAINT ck_instances_agent_kind CHECK (agent_kind IN ('backfleet', 'official'))"
    )
    # Until now the beginning of the agent's version was the only sign of its kind.
    op.execute("UPDATE instances SET agent_kind = 'backfleet' WHERE agent_version LIKE 'backfleet-%'")
