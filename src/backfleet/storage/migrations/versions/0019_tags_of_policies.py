"""tags of an account's own policies"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("policies", sa.Column("tags", sa.Text(), server_default="{}", nullable=False))
