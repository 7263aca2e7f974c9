"""The audit trail, one row per call and account; and the calls that accounts have left."""

import sqlalchemy as sa

from backfleet.storage import Moment, metadata

audit_events = sa.Table(
    "audit_events",
    metadata,
    sa.Column("request_id", sa.String(36), primary_key=True),
    sa.Column("account_id", sa.String(32), primary_key=True),
    sa.Column("at", Moment, nullable=False, index=True),
    sa.Column("product", sa.String(16), nullable=False),
    sa.Column("version", sa.String(16), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("writes", sa.Boolean, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("principal", sa.String(256), nullable=False),
    sa.Column("principal_id", sa.String(128), nullable=False),
    sa.Column("user_name", sa.String(160), nullable=False),
    sa.Column("access_key_id", sa.String(64), nullable=False),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Column("source_ip", sa.String(64), nullable=False),
    sa.Column("user_agent", sa.String(256), nullable=False),
    sa.Column("named", sa.Text, nullable=False),  # JSON: the parameters that name resources
    sa.Column("verdict", sa.String(16), nullable=False),  # allowed or denied
    sa.Column("error_code", sa.String(64), nullable=False),  # "" unless the call failed
    sa.Index("ix_audit_events_account", "account_id", "at", "request_id"),
)

buckets = sa.Table(
    "call_buckets",
    metadata,
    sa.Column("account_id", sa.String(32), primary_key=True),
    sa.Column("action", sa.String(96), primary_key=True),
    sa.Column("calls_left", sa.Float, nullable=False),
    sa.Column("at", Moment, nullable=False),
)
