"""The tables of logins."""

import sqlalchemy as sa

from backfleet.storage import Moment, metadata

sessions = sa.Table(
    "console_sessions",
    metadata,
    sa.Column("id_hash", sa.String(64), primary_key=True),  # SHA-256 of what the browser shows
    sa.Column("access_key_id", sa.String(64), nullable=False),
    sa.Column("security_token", sa.Text, nullable=False, server_default=""),
    sa.Column("began_at", Moment, nullable=False),
    sa.Column("used_at", Moment, nullable=False),
    sa.Column("ends_at", Moment, nullable=False, index=True),
    sa.Index(None, "access_key_id", "began_at"),
)

codes = sa.Table(
    "login_codes",
    metadata,
    sa.Column("code_hash", sa.String(64), primary_key=True),
    sa.Column("access_key_id", sa.String(64), nullable=False),
    sa.Column("until", Moment, nullable=False, index=True),
)
