"""what the last backup lacks"""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("last_copies", schema=None) as batch_op:
        batch_op.add_column(sa.Column("lacking", sa.Integer(), nullable=True))
