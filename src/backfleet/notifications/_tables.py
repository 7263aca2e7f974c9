"""Destinations, the conditions that are known, and the outbox."""

import sqlalchemy as sa

from backfleet.storage import Moment, metadata

destinations = sa.Table(
    "notification_destinations",
    metadata,
    sa.Column("account_id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("way", sa.String(16), nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("kinds", sa.Text, nullable=False),  # JSON: names; [] = all
    sa.Column("quiet", sa.String(128), nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("sealed_secret", sa.Text, nullable=False),
)

conditions = sa.Table(
    "notification_conditions",
    metadata,
    sa.Column("account_id", sa.String(16), primary_key=True),
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("subject", sa.String(128), primary_key=True),
    sa.Column("since", Moment, nullable=False),
)

notices = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("destination", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("next_at", Moment),  # null = delivered, or given up
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("delivered_at", Moment),
    sa.Column("problem", sa.Text, nullable=False, server_default=""),
    sa.Index("ix_notifications_account", "account_id", "created_at"),
    sa.Index("ix_notifications_due", "next_at"),
)
