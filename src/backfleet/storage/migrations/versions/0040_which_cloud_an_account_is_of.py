"""which cloud an account is of"""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("ecs_accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("cloud", sa.String(length=16), server_default="ecs", nullable=False))
