"""Saved commands, invocations, what became of them on each instance, every single run, sent files and ClientTokens."""

import sqlalchemy as sa

from backfleet.idempotency import token_table
from backfleet.storage import Moment, metadata

commands = sa.Table(
    "assistant_commands",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("description", sa.String(512), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("working_directory", sa.String(255), nullable=False),
    sa.Column("timeout_seconds", sa.Integer, nullable=False),
    sa.Column("has_parameters", sa.Boolean, nullable=False),
    sa.Column("parameter_names", sa.Text, nullable=False),  # JSON
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("invoke_count", sa.Integer, nullable=False),
    sa.Index("ix_assistant_commands_account", "account_id", "region", "created_at"),
)

invocations = sa.Table(
    "assistant_invocations",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Column("is_file", sa.Boolean, nullable=False),
    sa.Column("command_id", sa.String(64), nullable=False),
    # A copy of the command, so that changing or deleting it later does not change what ran.
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.String(512), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("working_directory", sa.String(255), nullable=False),
    sa.Column("username", sa.String(255), nullable=False),
    sa.Column("timeout_seconds", sa.Integer, nullable=False),
    sa.Column("has_parameters", sa.Boolean, nullable=False),
    sa.Column("parameters", sa.Text, nullable=False),  # JSON
    sa.Column("repeat", sa.String(16), nullable=False),
    sa.Column("frequency", sa.String(128), nullable=False),
    sa.Column("termination", sa.String(16), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Index("ix_assistant_invocations_account", "account_id", "region", "created_at"),
    sa.Index("ix_assistant_invocations_command", "command_id"),
    sa.Index("ix_assistant_invocations_age", "created_at"),
)

files = sa.Table(
    "assistant_files",
    metadata,
    sa.Column("invocation_id", sa.ForeignKey("assistant_invocations.id"), primary_key=True),
    sa.Column("folder", sa.String(255), nullable=False),
    sa.Column("content", sa.Text, nullable=False),  # as it was sent
    sa.Column("content_type", sa.String(16), nullable=False),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("group", sa.String(64), nullable=False),
    sa.Column("mode", sa.String(4), nullable=False),
    sa.Column("overwrite", sa.Boolean, nullable=False),
)

records = sa.Table(
    "assistant_records",
    metadata,
    sa.Column("invocation_id", sa.ForeignKey("assistant_invocations.id"), primary_key=True),
    sa.Column("instance_id", sa.String(64), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("next_at", Moment),  # the time of the next run; None: no run by the clock
    sa.Column("at_boot", sa.Boolean, nullable=False),  # runs when the host boots
    sa.Column("last_due_at", Moment),
    sa.Column("run_id", sa.String(64)),  # the newest run
    sa.Column("repeats", sa.Integer, nullable=False),  # runs so far
    sa.Column("stop_asked", sa.Boolean, nullable=False),
    sa.Column("stopped_at", Moment),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("changed_at", Moment, nullable=False),
    sa.Index("ix_assistant_records_instance", "instance_id", "created_at"),
)

_is_due = records.c.next_at.is_not(None)
sa.Index("ix_assistant_records_due", records.c.next_at, sqlite_where=_is_due, postgresql_where=_is_due)

runs = sa.Table(
    "assistant_runs",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),  # also the reference of its command in the commands module
    sa.Column("invocation_id", sa.ForeignKey("assistant_invocations.id"), nullable=False),
    sa.Column("instance_id", sa.String(64), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("error_code", sa.String(64), nullable=False),
    sa.Column("error_text", sa.String(1024), nullable=False),
    sa.Column("exit_code", sa.Integer),
    sa.Column("output", sa.LargeBinary, nullable=False),
    sa.Column("dropped", sa.BigInteger, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("started_at", Moment),
    sa.Column("ended_at", Moment),
    sa.Column("stopped_at", Moment),
    sa.Column("deliver_by", Moment),  # None once the agent has taken it, or it was given up
    sa.Column("undelivered", sa.Boolean, nullable=False),  # given up because no agent took it by `deliver_by`
    sa.UniqueConstraint("invocation_id", "instance_id", "number"),
)

_is_out = runs.c.deliver_by.is_not(None)
sa.Index("ix_assistant_runs_deliver_by", runs.c.deliver_by, sqlite_where=_is_out, postgresql_where=_is_out)

tokens = token_table("assistant_tokens", sa.Column("answer", sa.Text, nullable=False))  # JSON
