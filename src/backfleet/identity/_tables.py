"""Accounts, users, access keys, policies, attachments, nonces."""

import sqlalchemy as sa

from backfleet.storage import Moment, metadata

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("created_at", Moment, nullable=False),
    # Exactly one account is the first: replicas that start together cannot make two.
    sa.Column("first", sa.Boolean, unique=True),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("display_name", sa.String(128), nullable=False, server_default=""),
    sa.Column("comments", sa.String(128), nullable=False, server_default=""),
    sa.Column("email", sa.String(128), nullable=False, server_default=""),
    sa.Column("mobile_phone", sa.String(32), nullable=False, server_default=""),
    sa.Column("created_at", Moment, nullable=False),
    sa.UniqueConstraint("account_id", "name"),
)

access_keys = sa.Table(
    "access_keys",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False, index=True),
    sa.Column("user_id", sa.ForeignKey("users.id"), index=True),  # NULL: a key of the account itself
    sa.Column("sealed_secret", sa.String(512), nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
)

policies = sa.Table(
    "policies",
    metadata,
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("description", sa.String(1024), nullable=False, server_default=""),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
)

attachments = sa.Table(
    "policy_attachments",
    metadata,
    sa.Column("user_id", sa.ForeignKey("users.id"), primary_key=True),
    sa.Column("policy_type", sa.String(16), primary_key=True),  # System or Custom
    sa.Column("policy_name", sa.String(128), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("attached_at", Moment, nullable=False),
    sa.Index(None, "account_id", "policy_type", "policy_name"),  # to whom is this policy attached?
)

nonces = sa.Table(
    "nonces",
    metadata,
    sa.Column("access_key_id", sa.String(64), primary_key=True),
    sa.Column("nonce", sa.String(128), primary_key=True),
    sa.Column("until", Moment, nullable=False, index=True),
)
