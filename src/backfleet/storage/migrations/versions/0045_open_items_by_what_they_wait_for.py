"""open items by what they wait for: the worker looks several times a second for those whose wait is over"""

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("client_upgrades", schema=None) as batch_op:
        batch_op.drop_index("ix_client_upgrades_state")
        batch_op.create_index("ix_client_upgrades_state", ["state", "waits_until"], unique=False)
