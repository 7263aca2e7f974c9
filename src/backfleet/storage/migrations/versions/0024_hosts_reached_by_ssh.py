"""hosts that the server goes to by SSH, and its keys for them"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ssh_hosts",
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("address", sa.String(length=253), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("root", sa.String(length=128), nullable=False),
        sa.Column("host_keys", sa.Text(), nullable=False),
        sa.Column("key_name", sa.String(length=64), nullable=False),
        sa.Column("sudo", sa.Boolean(), nullable=False),
        sa.Column("jumps", sa.Text(), nullable=False),
        sa.Column("problem_code", sa.String(length=32), server_default="", nullable=False),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.Column("visited_at", sa.BigInteger(), nullable=True),
        sa.Column("next_visit_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_ssh_hosts")),
        sa.UniqueConstraint(
            "account_id",
            "address",
            "port",
            "username",
            "root",
            name=op.f("uq_ssh_hosts_account_id_address_port_username_root"),
        ),
    )
    with op.batch_alter_table("ssh_hosts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ssh_hosts_next_visit_at"), ["next_visit_at"], unique=False)
    op.create_table(
        "ssh_keys",
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("public", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_ssh_keys")),
    )
