"""instances of a cloud"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ecs_accounts",
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(length=128), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("source_name", sa.String(length=64), nullable=False),
        sa.Column("role_arn", sa.String(length=255), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.String(length=255), nullable=False),
        sa.Column("sts_endpoint", sa.String(length=255), nullable=False),
        sa.Column("authority", sa.Text(), nullable=False),
        sa.Column("address", sa.String(length=255), nullable=False),
        sa.Column("problem_code", sa.String(length=32), server_default="", nullable=False),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=True),
        sa.Column("taken_until", sa.BigInteger(), nullable=True),
        sa.Column("next_refresh_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_ecs_accounts")),
    )
    with op.batch_alter_table("ecs_accounts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ecs_accounts_next_refresh_at"), ["next_refresh_at"], unique=False)
    op.create_table(
        "ecs_batches",
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("ecs_account", sa.String(length=64), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("invoke_id", sa.String(length=64), server_default="", nullable=False),
        sa.Column("polls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_poll_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_ecs_batches")),
    )
    with op.batch_alter_table("ecs_batches", schema=None) as batch_op:
        batch_op.create_index("ix_ecs_batches_account", ["account_id", "ecs_account"], unique=False)
    op.create_table(
        "ecs_hosts",
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("ecs_account", sa.String(length=64), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("remote_id", sa.String(length=64), nullable=False),
        sa.Column("misses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("problem_code", sa.String(length=32), server_default="", nullable=False),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_ecs_hosts")),
        sa.UniqueConstraint(
            "account_id",
            "ecs_account",
            "region",
            "remote_id",
            name=op.f("uq_ecs_hosts_account_id_ecs_account_region_remote_id"),
        ),
    )
    op.create_table(
        "ecs_imports",
        sa.Column("import_id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("ecs_account", sa.String(length=64), nullable=False),
        sa.Column("selection", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.BigInteger(), nullable=True),
        sa.Column("found", sa.Integer(), server_default="0", nullable=False),
        sa.Column("problem_code", sa.String(length=32), server_default="", nullable=False),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("import_id", name=op.f("pk_ecs_imports")),
    )
    with op.batch_alter_table("ecs_imports", schema=None) as batch_op:
        batch_op.create_index("ix_ecs_imports_account", ["account_id", "ecs_account"], unique=False)
    op.create_table(
        "ecs_runs",
        sa.Column("task_id", sa.String(length=64), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("remote_id", sa.String(length=64), nullable=False),
        sa.Column("seen", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_ecs_runs")),
    )
    with op.batch_alter_table("ecs_runs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ecs_runs_token"), ["token"], unique=False)
