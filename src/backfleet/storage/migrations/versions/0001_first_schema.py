"""The first schema, one function per table."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_accounts()
    _create_activations()
    _create_agent_requests()
    _create_assistant_commands()
    _create_assistant_invocations()
    _create_assistant_tokens()
    _create_audit_events()
    _create_boots()
    _create_call_buckets()
    _create_client_tokens()
    _create_instances()
    _create_invocations()
    _create_nonces()
    _create_releases()
    _create_resource_tags()
    _create_signed_metadata()
    _create_tasks()
    _create_account_pairs()
    _create_assistant_files()
    _create_assistant_records()
    _create_assistant_runs()
    _create_client_upgrades()
    _create_clients()
    _create_inventories()
    _create_oidc_providers()
    _create_policies()
    _create_policy_attachments()
    _create_release_offers()
    _create_roles()
    _create_user_groups()
    _create_users()
    _create_access_keys()
    _create_client_preferences()
    _create_group_members()
    _create_policy_versions()


def _create_accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), server_default="", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("first", name=op.f("uq_accounts_first")),
    )


def _create_activations() -> None:
    op.create_table(
        "activations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("registered_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deregistered_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("hours", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), server_default="", nullable=False),
        sa.Column("description", sa.String(length=128), server_default="", nullable=False),
        sa.Column("address_range", sa.String(length=64), server_default="", nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("registered_count <= instance_count", name=op.f("ck_activations_not_too_many")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activations")),
    )
    with op.batch_alter_table("activations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_activations_account_id"), ["account_id"], unique=False)


def _create_agent_requests() -> None:
    op.create_table(
        "agent_requests",
        sa.Column("mark", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("mark", name=op.f("pk_agent_requests")),
    )
    with op.batch_alter_table("agent_requests", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_agent_requests_until"), ["until"], unique=False)


def _create_assistant_commands() -> None:
    op.create_table(
        "assistant_commands",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("description", sa.String(length=512), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("working_directory", sa.String(length=255), nullable=False),
        sa.Column("timeout_seconds", sa.Integer(), nullable=False),
        sa.Column("has_parameters", sa.Boolean(), nullable=False),
        sa.Column("parameter_names", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("invoke_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assistant_commands")),
    )
    with op.batch_alter_table("assistant_commands", schema=None) as batch_op:
        batch_op.create_index("ix_assistant_commands_account", ["account_id", "region", "created_at"], unique=False)


def _create_assistant_invocations() -> None:
    op.create_table(
        "assistant_invocations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("is_file", sa.Boolean(), nullable=False),
        sa.Column("command_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=512), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("working_directory", sa.String(length=255), nullable=False),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column("timeout_seconds", sa.Integer(), nullable=False),
        sa.Column("has_parameters", sa.Boolean(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("repeat", sa.String(length=16), nullable=False),
        sa.Column("frequency", sa.String(length=128), nullable=False),
        sa.Column("termination", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assistant_invocations")),
    )
    with op.batch_alter_table("assistant_invocations", schema=None) as batch_op:
        batch_op.create_index("ix_assistant_invocations_account", ["account_id", "region", "created_at"], unique=False)
        batch_op.create_index("ix_assistant_invocations_age", ["created_at"], unique=False)
        batch_op.create_index("ix_assistant_invocations_command", ["command_id"], unique=False)


def _create_assistant_tokens() -> None:
    op.create_table(
        "assistant_tokens",
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "token", name=op.f("pk_assistant_tokens")),
    )
    with op.batch_alter_table("assistant_tokens", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_assistant_tokens_until"), ["until"], unique=False)


def _create_audit_events() -> None:
    op.create_table(
        "audit_events",
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("product", sa.String(length=16), nullable=False),
        sa.Column("version", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("writes", sa.Boolean(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("principal", sa.String(length=256), nullable=False),
        sa.Column("principal_id", sa.String(length=128), nullable=False),
        sa.Column("user_name", sa.String(length=160), nullable=False),
        sa.Column("access_key_id", sa.String(length=64), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("source_ip", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=256), nullable=False),
        sa.Column("named", sa.Text(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("error_code", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("request_id", "account_id", name=op.f("pk_audit_events")),
    )
    with op.batch_alter_table("audit_events", schema=None) as batch_op:
        batch_op.create_index("ix_audit_events_account", ["account_id", "at", "request_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_events_at"), ["at"], unique=False)


def _create_boots() -> None:
    op.create_table(
        "boots",
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_boots")),
    )


def _create_call_buckets() -> None:
    op.create_table(
        "call_buckets",
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("action", sa.String(length=96), nullable=False),
        sa.Column("calls_left", sa.Float(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "action", name=op.f("pk_call_buckets")),
    )


def _create_client_tokens() -> None:
    op.create_table(
        "client_tokens",
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.String(length=64), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "token", name=op.f("pk_client_tokens")),
    )
    with op.batch_alter_table("client_tokens", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_client_tokens_until"), ["until"], unique=False)


def _create_instances() -> None:
    op.create_table(
        "instances",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("activation_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("hostname", sa.String(length=255), nullable=False),
        sa.Column("machine_id", sa.String(length=64), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("os_type", sa.String(length=32), nullable=False),
        sa.Column("os_version", sa.String(length=255), nullable=False),
        sa.Column("platform", sa.String(length=64), nullable=False),
        sa.Column("agent_version", sa.String(length=64), nullable=False),
        sa.Column("agent_mode", sa.String(length=16), nullable=False),
        sa.Column("intranet_ip", sa.String(length=64), nullable=False),
        sa.Column("internet_ip", sa.String(length=64), nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("last_heard_at", sa.BigInteger(), nullable=True),
        sa.Column("clock_skew_ms", sa.BigInteger(), nullable=True),
        sa.Column("signed_ms", sa.BigInteger(), nullable=True),
        sa.Column("stopped_at", sa.BigInteger(), nullable=True),
        sa.Column("deregistered_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
    )
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.create_index("ix_instances_account_region", ["account_id", "region", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_instances_activation_id"), ["activation_id"], unique=False)


def _create_invocations() -> None:
    op.create_table(
        "invocations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("timeout_seconds", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("working_directory", sa.String(length=255), server_default="", nullable=False),
        sa.Column("username", sa.String(length=255), server_default="", nullable=False),
        sa.Column("topic", sa.String(length=64), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stop_asked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("error_code", sa.String(length=64), server_default="", nullable=False),
        sa.Column("error_text", sa.String(length=512), server_default="", nullable=False),
        sa.Column("dropped", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output", sa.LargeBinary(), server_default=sa.text("('')"), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("collected", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invocations")),
        sa.UniqueConstraint("topic", "reference", name=op.f("uq_invocations_topic_reference")),
    )
    with op.batch_alter_table("invocations", schema=None) as batch_op:
        batch_op.create_index("ix_invocations_lease", ["state", "lease_until"], unique=False)
        batch_op.create_index(
            "ix_invocations_news",
            ["topic", "changed_at"],
            unique=False,
            sqlite_where=sa.text("revision != collected"),
            postgresql_where=sa.text("revision != collected"),
        )
        batch_op.create_index("ix_invocations_open", ["instance_id", "state"], unique=False)


def _create_nonces() -> None:
    op.create_table(
        "nonces",
        sa.Column("access_key_id", sa.String(length=64), nullable=False),
        sa.Column("nonce", sa.String(length=128), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("access_key_id", "nonce", name=op.f("pk_nonces")),
    )
    with op.batch_alter_table("nonces", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_nonces_until"), ["until"], unique=False)


def _create_releases() -> None:
    op.create_table(
        "releases",
        sa.Column("package", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("platform", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("file_name", sa.String(length=255), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger(), nullable=True),
        sa.Column("published_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("package", "version", "platform", name=op.f("pk_releases")),
    )
    with op.batch_alter_table("releases", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_releases_sha256"), ["sha256"], unique=False)


def _create_resource_tags() -> None:
    op.create_table(
        "resource_tags",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(length=128), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("kind", "resource_id", "key", name=op.f("pk_resource_tags")),
    )
    with op.batch_alter_table("resource_tags", schema=None) as batch_op:
        batch_op.create_index(
            "ix_resource_tags_account", ["account_id", "region", "kind", "key", "value"], unique=False
        )


def _create_signed_metadata() -> None:
    op.create_table(
        "signed_metadata",
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("role", "version", name=op.f("pk_signed_metadata")),
    )


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("requested_by", sa.String(length=256), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.String(length=64), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
    )
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.create_index("ix_tasks_account", ["account_id", "created_at"], unique=False)
        batch_op.create_index("ix_tasks_deadline", ["state", "deadline"], unique=False)


def _create_account_pairs() -> None:
    op.create_table(
        "account_pairs",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("other_account_id", sa.String(length=16), nullable=False),
        sa.Column("role_name", sa.String(length=64), nullable=False),
        sa.Column("folded_role_name", sa.String(length=64), nullable=False),
        sa.Column("alias", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_account_pairs_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_pairs")),
        sa.UniqueConstraint(
            "account_id",
            "other_account_id",
            "folded_role_name",
            name=op.f("uq_account_pairs_account_id_other_account_id_folded_role_name"),
        ),
    )


def _create_assistant_files() -> None:
    op.create_table(
        "assistant_files",
        sa.Column("invocation_id", sa.String(length=64), nullable=False),
        sa.Column("folder", sa.String(length=255), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("content_type", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("group", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=4), nullable=False),
        sa.Column("overwrite", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["invocation_id"], ["assistant_invocations.id"], name=op.f("fk_assistant_files_invocation_id")
        ),
        sa.PrimaryKeyConstraint("invocation_id", name=op.f("pk_assistant_files")),
    )


def _create_assistant_records() -> None:
    op.create_table(
        "assistant_records",
        sa.Column("invocation_id", sa.String(length=64), nullable=False),
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("at_boot", sa.Boolean(), nullable=False),
        sa.Column("last_due_at", sa.BigInteger(), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("repeats", sa.Integer(), nullable=False),
        sa.Column("stop_asked", sa.Boolean(), nullable=False),
        sa.Column("stopped_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["invocation_id"], ["assistant_invocations.id"], name=op.f("fk_assistant_records_invocation_id")
        ),
        sa.PrimaryKeyConstraint("invocation_id", "instance_id", name=op.f("pk_assistant_records")),
    )
    with op.batch_alter_table("assistant_records", schema=None) as batch_op:
        batch_op.create_index(
            "ix_assistant_records_due",
            ["next_at"],
            unique=False,
            sqlite_where=sa.text("next_at IS NOT NULL"),
            postgresql_where=sa.text("next_at IS NOT NULL"),
        )
        batch_op.create_index("ix_assistant_records_instance", ["instance_id", "created_at"], unique=False)


def _create_assistant_runs() -> None:
    op.create_table(
        "assistant_runs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("invocation_id", sa.String(length=64), nullable=False),
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("error_code", sa.String(length=64), nullable=False),
        sa.Column("error_text", sa.String(length=1024), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("output", sa.LargeBinary(), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("stopped_at", sa.BigInteger(), nullable=True),
        sa.Column("deliver_by", sa.BigInteger(), nullable=True),
        sa.Column("undelivered", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["invocation_id"], ["assistant_invocations.id"], name=op.f("fk_assistant_runs_invocation_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assistant_runs")),
        sa.UniqueConstraint(
            "invocation_id", "instance_id", "number", name=op.f("uq_assistant_runs_invocation_id_instance_id_number")
        ),
    )
    with op.batch_alter_table("assistant_runs", schema=None) as batch_op:
        batch_op.create_index(
            "ix_assistant_runs_deliver_by",
            ["deliver_by"],
            unique=False,
            sqlite_where=sa.text("deliver_by IS NOT NULL"),
            postgresql_where=sa.text("deliver_by IS NOT NULL"),
        )


def _create_client_upgrades() -> None:
    op.create_table(
        "client_upgrades",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("package", sa.String(length=64), nullable=False),
        sa.Column("platform", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), server_default="", nullable=False),
        sa.Column("code", sa.String(length=64), server_default="", nullable=False),
        sa.Column("message", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("from_version", sa.String(length=64), server_default="", nullable=False),
        sa.Column("to_version", sa.String(length=64), server_default="", nullable=False),
        sa.Column("current_version", sa.String(length=64), server_default="", nullable=False),
        sa.Column("patience", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.Column("remove_state", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("tries_again", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_client_upgrades_task_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_client_upgrades")),
        sa.UniqueConstraint("task_id", "position", name=op.f("uq_client_upgrades_task_id_position")),
    )
    with op.batch_alter_table("client_upgrades", schema=None) as batch_op:
        batch_op.create_index("ix_client_upgrades_state", ["state"], unique=False)
        batch_op.create_index(
            "uq_client_upgrades_live",
            ["client_id"],
            unique=True,
            sqlite_where=sa.text("state IN ('lost', 'running', 'sent', 'waiting') AND client_id != ''"),
            postgresql_where=sa.text("state IN ('lost', 'running', 'sent', 'waiting') AND client_id != ''"),
        )


def _create_clients() -> None:
    op.create_table(
        "clients",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("package", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), server_default="", nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("pin", sa.String(length=128), server_default="", nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
        sa.Column("drift", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_clients_instance_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clients")),
        sa.UniqueConstraint("instance_id", "package", name=op.f("uq_clients_instance_id_package")),
    )
    with op.batch_alter_table("clients", schema=None) as batch_op:
        batch_op.create_index("ix_clients_account_region", ["account_id", "region", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_clients_checked_at"), ["checked_at"], unique=False)


def _create_inventories() -> None:
    op.create_table(
        "inventories",
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("captured_at", sa.String(length=32), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_inventories_instance_id")),
        sa.PrimaryKeyConstraint("instance_id", "kind", name=op.f("pk_inventories")),
    )


def _create_oidc_providers() -> None:
    op.create_table(
        "oidc_providers",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.Column("client_ids", sa.Text(), nullable=False),
        sa.Column("keys", sa.Text(), nullable=False),
        sa.Column("description", sa.String(length=256), server_default="", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_oidc_providers_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oidc_providers")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_oidc_providers_account_id_name")),
    )


def _create_policies() -> None:
    op.create_table(
        "policies",
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("description", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("default_version", sa.Integer(), nullable=False),
        sa.Column("last_version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_policies_account_id")),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_policies")),
    )


def _create_policy_attachments() -> None:
    op.create_table(
        "policy_attachments",
        sa.Column("holder_kind", sa.String(length=8), nullable=False),
        sa.Column("holder_id", sa.String(length=32), nullable=False),
        sa.Column("policy_type", sa.String(length=16), nullable=False),
        sa.Column("policy_name", sa.String(length=128), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("attached_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_policy_attachments_account_id")),
        sa.PrimaryKeyConstraint(
            "holder_kind", "holder_id", "policy_type", "policy_name", name=op.f("pk_policy_attachments")
        ),
    )
    with op.batch_alter_table("policy_attachments", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_policy_attachments_account_id_policy_type_policy_name"),
            ["account_id", "policy_type", "policy_name"],
            unique=False,
        )


def _create_release_offers() -> None:
    op.create_table(
        "release_offers",
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("package", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("platform", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["package", "version", "platform"],
            ["releases.package", "releases.version", "releases.platform"],
            name=op.f("fk_release_offers_package_version_platform"),
        ),
        sa.PrimaryKeyConstraint("channel", "package", "version", "platform", name=op.f("pk_release_offers")),
    )


def _create_roles() -> None:
    op.create_table(
        "roles",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("folded_name", sa.String(length=64), nullable=False),
        sa.Column("description", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("trust", sa.Text(), nullable=False),
        sa.Column("max_session", sa.Integer(), nullable=False),
        sa.Column("tags", sa.Text(), server_default="{}", nullable=False),
        sa.Column("service", sa.String(length=128), server_default="", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_roles_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roles")),
        sa.UniqueConstraint("account_id", "folded_name", name=op.f("uq_roles_account_id_folded_name")),
    )


def _create_user_groups() -> None:
    op.create_table(
        "user_groups",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("comments", sa.String(length=128), server_default="", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_user_groups_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_groups")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_user_groups_account_id_name")),
    )


def _create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("display_name", sa.String(length=128), server_default="", nullable=False),
        sa.Column("comments", sa.String(length=128), server_default="", nullable=False),
        sa.Column("email", sa.String(length=128), server_default="", nullable=False),
        sa.Column("mobile_phone", sa.String(length=32), server_default="", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_users_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_users_account_id_name")),
    )


def _create_access_keys() -> None:
    op.create_table(
        "access_keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=True),
        sa.Column("sealed_secret", sa.String(length=512), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_access_keys_account_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_access_keys_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_keys")),
    )
    with op.batch_alter_table("access_keys", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_access_keys_account_id"), ["account_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_access_keys_user_id"), ["user_id"], unique=False)


def _create_client_preferences() -> None:
    op.create_table(
        "client_preferences",
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("sealed_password", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name=op.f("fk_client_preferences_client_id")),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_client_preferences")),
    )


def _create_group_members() -> None:
    op.create_table(
        "group_members",
        sa.Column("group_id", sa.String(length=32), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["user_groups.id"], name=op.f("fk_group_members_group_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_group_members_user_id")),
        sa.PrimaryKeyConstraint("group_id", "user_id", name=op.f("pk_group_members")),
    )
    with op.batch_alter_table("group_members", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_group_members_user_id"), ["user_id"], unique=False)


def _create_policy_versions() -> None:
    op.create_table(
        "policy_versions",
        sa.Column("account_id", sa.String(length=16), nullable=False),
        sa.Column("policy_name", sa.String(length=128), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "policy_name"],
            ["policies.account_id", "policies.name"],
            name=op.f("fk_policy_versions_account_id_policy_name"),
        ),
        sa.PrimaryKeyConstraint("account_id", "policy_name", "number", name=op.f("pk_policy_versions")),
    )
