"""runs of clients"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "client_runs",
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("package", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("result", sa.String(length=16), nullable=False),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("user", sa.String(length=64), nullable=False),
        sa.Column("caller", sa.String(length=64), nullable=False),
        sa.Column("is_backup", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "id", name=op.f("pk_client_runs")),
    )
    with op.batch_alter_table("client_runs", schema=None) as batch_op:
        batch_op.create_index("ix_client_runs_account", ["account_id", "region", "begun_at"], unique=False)
        batch_op.create_index("ix_client_runs_begun_at", ["begun_at"], unique=False)
        batch_op.create_index("ix_client_runs_client", ["client_id", "begun_at"], unique=False)
        batch_op.create_index("ix_client_runs_package", ["account_id", "region", "package", "begun_at"], unique=False)

    op.create_table(
        "run_intervals",
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("last_begun_at", sa.BigInteger(), nullable=False),
        sa.Column("usual_seconds", sa.BigInteger(), nullable=False),
        sa.Column("expected_by", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_run_intervals")),
    )
    with op.batch_alter_table("run_intervals", schema=None) as batch_op:
        batch_op.create_index("ix_run_intervals_expected_by", ["account_id", "region", "expected_by"], unique=False)
