"""Invocations: one command on one instance is one row."""

import sqlalchemy as sa

from backfleet.storage import Moment, metadata

invocations = sa.Table(
    "invocations",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),  # the agent's task id
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("instance_id", sa.String(64), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("timeout_seconds", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),  # the agent's word: RunShellScript and its like
    sa.Column("working_directory", sa.String(255), nullable=False, server_default=""),
    sa.Column("username", sa.String(255), nullable=False, server_default=""),
    sa.Column("termination", sa.String(16), nullable=False, server_default=""),  # ProcessTree, Process, or "" (either)
    sa.Column("topic", sa.String(64), nullable=False),  # the sender's: published when something changes
    sa.Column("reference", sa.String(64), nullable=False),  # the sender's own name for it
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("stop_asked", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("lease_until", Moment),  # of a waiting one: when its last lease ran out; None if it was never handed out
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("changed_at", Moment, nullable=False),
    sa.Column("started_ms", sa.BigInteger),  # by the host's clock
    sa.Column("ended_ms", sa.BigInteger),
    sa.Column("exit_code", sa.Integer),
    sa.Column("error_code", sa.String(64), nullable=False, server_default=""),
    sa.Column("error_text", sa.String(512), nullable=False, server_default=""),
    sa.Column("dropped", sa.BigInteger, nullable=False, server_default="0"),  # bytes of output that are lost
    sa.Column("output", sa.LargeBinary, nullable=False, server_default=sa.text("''")),
    # `revision` counts changes, `collected` is the last one that the sender has read: if they differ, there is news.
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("collected", sa.Integer, nullable=False),
    # What is sent twice is one invocation.
    sa.UniqueConstraint("topic", "reference"),
)

sa.Index("ix_invocations_open", invocations.c.instance_id, invocations.c.state)
sa.Index("ix_invocations_lease", invocations.c.state, invocations.c.lease_until)
sa.Index(
    "ix_invocations_news",
    invocations.c.topic,
    invocations.c.changed_at,
    sqlite_where=invocations.c.revision != invocations.c.collected,
    postgresql_where=invocations.c.revision != invocations.c.collected,
)

lease_rounds = sa.Table(
    "lease_rounds",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),  # the only row has 1
    sa.Column("at", Moment, nullable=False),  # when leases were last looked at
)
