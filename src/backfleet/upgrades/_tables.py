"""Tasks, their items (one client's upgrade each), and the ClientTokens of the calls that started them."""

import sqlalchemy as sa

from backfleet.idempotency import token_table
from backfleet.storage import Moment, likely, metadata
from backfleet.upgrades.states import OPEN

tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("progress", sa.Integer, nullable=False),
    sa.Column("requested_by", sa.String(256), nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.Column("completed_at", Moment),
    sa.Column("deadline", Moment, nullable=False),
    sa.Column("label", sa.String(64), nullable=False, server_default=""),
    sa.Column(
        "topic", sa.String(64), nullable=False, server_default=""
    ),  # for when it ends, or an item fails; "" = none
    sa.Column("caller", sa.Text, nullable=False, server_default=""),  # who is judged again when a waiting order leaves
    sa.Column("settings", sa.Text, nullable=False, server_default=""),  # JSON; "" = it brings none
    sa.Column(
        "traceparent", sa.String(64), nullable=False, server_default=""
    ),  # of the call that started it; "" = none
    sa.Column("origin", sa.String(64), nullable=False, server_default=""),  # a rollout's id; "" = a call, or not known
    sa.Index("ix_tasks_account", "account_id", "created_at"),
    sa.Index("ix_tasks_deadline", "state", "deadline"),
    sa.Index("ix_tasks_origin", "origin"),
)

items = sa.Table(
    "client_upgrades",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),  # also the order's id on the host
    sa.Column("task_id", sa.ForeignKey("tasks.id"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("instance_id", sa.String(64), nullable=False),
    sa.Column("client_id", sa.String(64), nullable=False),  # "" where there is none
    sa.Column("package", sa.String(64), nullable=False),
    sa.Column("platform", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("stage", sa.String(16), nullable=False, server_default=""),
    sa.Column("code", sa.String(64), nullable=False, server_default=""),
    sa.Column("message", sa.String(1024), nullable=False, server_default=""),
    sa.Column("from_version", sa.String(64), nullable=False, server_default=""),
    sa.Column("to_version", sa.String(64), nullable=False, server_default=""),
    sa.Column("current_version", sa.String(64), nullable=False, server_default=""),
    # The order's time budget on the host, in seconds; 0 until it is sent.
    sa.Column("patience", sa.Integer, key="timeout_seconds", nullable=False),
    sa.Column("started_at", Moment),
    sa.Column("completed_at", Moment),
    sa.Column("remove_state", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("tries_again", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("evidence", sa.Text, nullable=False, server_default=""),
    sa.Column("deferred", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("waits_until", Moment),  # it may wait for its host until then; null = it does not wait
    sa.Column("order_until", Moment),  # when the order that is out ends; null = with its task
    sa.Column("not_before", Moment),  # its host was busy: it is given another order then
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.UniqueConstraint("task_id", "position"),
)

# Its values are part of the text, as they are of the index: SQLite finds rows by that only where both are the same.
_is_open = items.c.state.in_([sa.literal_column(f"'{state}'", sa.String) for state in sorted(OPEN)])
_moves_client = items.c.client_id != sa.literal_column("''", sa.String)
_is_live = sa.and_(_is_open, _moves_client)
is_live = sa.and_(likely(_is_open), _moves_client)
"""Condition: this item is open, and moves a client. Rows are not searched by it alone: there are too many."""

# At most one open item per client, over all accounts and replicas.
sa.Index("uq_client_upgrades_live", items.c.client_id, unique=True, sqlite_where=_is_live, postgresql_where=_is_live)
sa.Index("ix_client_upgrades_state", items.c.state, items.c.waits_until)
sa.Index("ix_client_upgrades_instance", items.c.instance_id, items.c.task_id)

settings_before = sa.Table(
    "settings_before",
    metadata,
    sa.Column("client_id", sa.String(64), primary_key=True),
    sa.Column("task_id", sa.ForeignKey("tasks.id"), primary_key=True, index=True),
    sa.Column("settings", sa.Text, nullable=False),  # JSON: those that the task changed, as they were; null = not set
    sa.Column("at", Moment, nullable=False),
)

tokens = token_table("client_tokens", sa.Column("task_id", sa.String(64), nullable=False))
