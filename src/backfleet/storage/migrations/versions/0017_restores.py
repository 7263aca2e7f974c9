"""restores and versions above what hosts have seen"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "restores",
        sa.Column("restored_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("copied_at", sa.BigInteger(), nullable=False),
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.Column("released_by", sa.String(length=255), server_default="", nullable=False),
        sa.Column("adopted", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("restored_at", name=op.f("pk_restores")),
    )
    op.create_table(
        "signed_metadata_floors",
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("role", name=op.f("pk_signed_metadata_floors")),
    )
