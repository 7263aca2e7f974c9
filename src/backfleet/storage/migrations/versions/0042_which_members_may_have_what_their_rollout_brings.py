"""which members may have what their rollout brings, also those that are to be tried again"""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("rollout_members", schema=None) as batch_op:
        batch_op.add_column(sa.Column("given_at", sa.BigInteger(), nullable=True))
    op.execute(  # a pending one that was tried again has no order: what became of the one before is not known
        "UPDATE rollout_members SET given_at = COALESCE(begun_at, since)"
        " WHERE state IN ('succeeded', 'verifying', 'rolling_back', 'lost')"
        " OR (state = 'expired' AND begun_at IS NOT NULL)"
        " OR (state = 'failed' AND (rolled_back_once OR code IN ('BackupFailed', 'NoBackupSeen')))"
        " OR (state = 'pending' AND attempts > 0 AND item_id = '')"
    )
