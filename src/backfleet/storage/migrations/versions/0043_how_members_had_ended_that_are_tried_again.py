"""how members had ended that are tried again: as long as nothing is done to them, they end so"""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("rollout_members", schema=None) as batch_op:
        batch_op.add_column(sa.Column("ended", sa.Text(), nullable=False, server_default=""))
