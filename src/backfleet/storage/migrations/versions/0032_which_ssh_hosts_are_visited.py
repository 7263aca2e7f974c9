"""which hosts without an agent are visited by a process"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("ssh_hosts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("free_at", sa.BigInteger(), nullable=True))
