"""copies of the downloads for instances of a cloud"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:

    with op.batch_alter_table("ecs_accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("mirror", sa.String(length=512), server_default="", nullable=False))
        batch_op.add_column(sa.Column("mirror_authority", sa.Text(), server_default="", nullable=False))
