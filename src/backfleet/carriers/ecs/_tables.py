"""Cloud accounts, what is imported from them, and commands on their way through the cloud."""

import sqlalchemy as sa

from backfleet.storage import Moment, metadata

ecs_accounts = sa.Table(
    "ecs_accounts",
    metadata,
    sa.Column("account_id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("source", sa.String(16), nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("key_id", sa.String(128), nullable=False),
    sa.Column("sealed", sa.Text, nullable=False),  # by the vault
    sa.Column("source_name", sa.String(64), nullable=False),
    sa.Column("role_arn", sa.String(255), nullable=False),
    sa.Column("external_id", sa.Text, nullable=False),
    sa.Column("endpoint", sa.String(255), nullable=False),
    sa.Column("sts_endpoint", sa.String(255), nullable=False),
    sa.Column("authority", sa.Text, nullable=False),
    sa.Column("address", sa.String(255), nullable=False),
    sa.Column("mirror", sa.String(512), nullable=False, server_default=""),
    sa.Column("mirror_authority", sa.Text, nullable=False, server_default=""),
    sa.Column("problem_code", sa.String(32), nullable=False, server_default=""),
    sa.Column("problem", sa.Text, nullable=False, server_default=""),
    sa.Column("asked_at", Moment),
    sa.Column("taken_until", Moment),  # by the process that works on it
    sa.Column("next_refresh_at", Moment, nullable=False, index=True),
    sa.Column("progress", sa.Text, nullable=False, server_default=""),  # JSON, of the refresh that is under way
    sa.Column("cloud", sa.String(16), nullable=False, server_default="ecs"),  # the carrier of its instances
)

ecs_imports = sa.Table(
    "ecs_imports",
    metadata,
    sa.Column("import_id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("ecs_account", sa.String(64), nullable=False),
    sa.Column("selection", sa.Text, nullable=False),  # JSON
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("synced_at", Moment),
    sa.Column("found", sa.Integer, nullable=False, server_default="0"),
    sa.Column("problem_code", sa.String(32), nullable=False, server_default=""),
    sa.Column("problem", sa.Text, nullable=False, server_default=""),
    sa.Index("ix_ecs_imports_account", "account_id", "ecs_account"),
)

ecs_hosts = sa.Table(
    "ecs_hosts",
    metadata,
    sa.Column("instance_id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("ecs_account", sa.String(64), nullable=False),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Column("remote_id", sa.String(64), nullable=False),
    sa.Column("misses", sa.Integer, nullable=False, server_default="0"),
    sa.Column("problem_code", sa.String(32), nullable=False, server_default=""),
    sa.Column("problem", sa.Text, nullable=False, server_default=""),
    sa.Column("asked_at", Moment),  # when the cloud last told of it
    sa.Column("checked_at", Moment),  # when it last said whether there is one
    # What is imported twice is one host.
    sa.UniqueConstraint("account_id", "ecs_account", "region", "remote_id"),
)

ecs_batches = sa.Table(
    "ecs_batches",
    metadata,
    sa.Column("token", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("ecs_account", sa.String(64), nullable=False),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Column("command", sa.Text, nullable=False),  # JSON
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("invoke_id", sa.String(64), nullable=False, server_default=""),
    sa.Column("polls", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_poll_at", Moment, nullable=False),
    sa.Index("ix_ecs_batches_account", "account_id", "ecs_account"),
)

ecs_runs = sa.Table(
    "ecs_runs",
    metadata,
    sa.Column("task_id", sa.String(64), primary_key=True),
    sa.Column("token", sa.String(64), nullable=False, index=True),
    sa.Column("instance_id", sa.String(64), nullable=False),
    sa.Column("remote_id", sa.String(64), nullable=False),
    sa.Column("seen", sa.Integer, nullable=False, server_default="0"),
)
