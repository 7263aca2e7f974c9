"""Rollouts, their members, their events, approvals, the answers of outside checks, and calendars."""

import sqlalchemy as sa

from backfleet.idempotency import token_table
from backfleet.rollouts.states import ENDED
from backfleet.storage import Moment, metadata

rollouts = sa.Table(
    "rollouts",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("policy", sa.Text, nullable=False),  # as its owner wrote it
    sa.Column("policy_sha256", sa.String(64), nullable=False),
    sa.Column("package", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("state", sa.String(32), nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("waits_for", sa.Text, nullable=False, server_default=""),
    sa.Column("waits", sa.Text, nullable=False, server_default="{}"),  # JSON: how many members wait, by what for
    sa.Column("target_version", sa.String(64), nullable=False, server_default=""),
    sa.Column("author", sa.Text, nullable=False),  # JSON: a caller
    sa.Column("starter", sa.Text, nullable=False, server_default=""),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.Column("start_at", Moment),
    sa.Column("started_at", Moment),
    sa.Column("ended_at", Moment),
    sa.Column("deadline", Moment, nullable=False),
    sa.Column("rings", sa.Text, nullable=False),  # JSON: the state of each
    sa.Column("roll_back_ring", sa.Integer),
    sa.Column("decide_at", Moment),  # when to decide again; null = a signal must come first
    sa.Column("decided_at", Moment),  # the last decision that was stored
    sa.Column("gaps", sa.Text, nullable=False, server_default="[]"),  # JSON: in which nobody decided it
    sa.Column("revision", sa.Integer, nullable=False, server_default="0"),  # raised by every change of its members
    sa.Column("events", sa.Integer, nullable=False, server_default="0"),
    sa.Column("head", sa.String(64), nullable=False, server_default=""),  # the hash of the newest event
    sa.Index("ix_rollouts_account", "account_id", "region", "created_at"),
    sa.Index("ix_rollouts_due", "decide_at"),
)

members = sa.Table(
    "rollout_members",
    metadata,
    sa.Column("rollout_id", sa.ForeignKey("rollouts.id"), primary_key=True),
    sa.Column("client_id", sa.String(64), primary_key=True),
    sa.Column("instance_id", sa.String(64), nullable=False),
    sa.Column("ring", sa.Integer, nullable=False),
    sa.Column("rank", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("since", Moment),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("code", sa.String(64), nullable=False, server_default=""),
    sa.Column("zone", sa.String(64), nullable=False, server_default=""),
    sa.Column("domains", sa.Text, nullable=False, server_default="[]"),  # JSON: pairs of tag key and value
    sa.Column("is_held", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("not_before", Moment),
    sa.Column("needs_seconds", sa.Integer, nullable=False),
    sa.Column("end", sa.String(16), nullable=False, server_default=""),
    sa.Column("end_text", sa.Text, nullable=False, server_default=""),
    sa.Column("first_run", sa.String(16), nullable=False, server_default=""),
    sa.Column("begun_at", Moment),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("from_version", sa.String(64), nullable=False, server_default=""),
    sa.Column("rolled_back_once", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("given_at", Moment),  # when the first order left that may have given it what the rollout brings
    sa.Column("ended", sa.Text, nullable=False, server_default=""),  # JSON: how one had that is tried again
    sa.Column("task_id", sa.String(64), nullable=False, server_default=""),
    sa.Column("item_id", sa.String(64), nullable=False, server_default=""),  # of its last order
    sa.Index("ix_rollout_members_state", "rollout_id", "state", "ring", "rank"),
    sa.Index("ix_rollout_members_client", "client_id"),
)

events = sa.Table(
    "rollout_events",
    metadata,
    sa.Column("rollout_id", sa.ForeignKey("rollouts.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("what", sa.String(16), nullable=False),  # rollout, ring, member, person
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("change", sa.String(64), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),  # SHA-256 over the one before and this one
)

approvals = sa.Table(
    "rollout_approvals",
    metadata,
    sa.Column("rollout_id", sa.ForeignKey("rollouts.id"), primary_key=True),
    sa.Column("ring", sa.Integer, primary_key=True, autoincrement=False),  # -1: the rollout's start
    sa.Column("person", sa.String(256), primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),  # approval, or resume of a manual check
)

answers = sa.Table(
    "rollout_answers",
    metadata,
    sa.Column("rollout_id", sa.ForeignKey("rollouts.id"), primary_key=True),
    sa.Column("ring", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("holds", sa.Boolean, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
)

heads = sa.Table(
    "rollout_heads",
    metadata,
    sa.Column("rollout_id", sa.ForeignKey("rollouts.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # of the newest event that is covered
    sa.Column("at", Moment, nullable=False),
    sa.Column("envelope", sa.Text, nullable=False),  # JSON: signed
)

calendars = sa.Table(
    "calendars",
    metadata,
    sa.Column("account_id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("text", sa.Text, nullable=False),  # iCalendar
    sa.Column("freezes", sa.Integer, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.Column("updated_by", sa.Text, nullable=False),  # an ARN
)

tokens = token_table("rollout_tokens", sa.Column("rollout_id", sa.String(64), nullable=False))

ENDED_STATES = sorted(ENDED)
