"""order of instances by their names"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_instances_names", "instances", ["account_id", "region", "name", "hostname"])
