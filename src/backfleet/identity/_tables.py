"""The tables of accounts, users, groups, roles, access keys, providers, policies and nonces."""

import sqlalchemy as sa

from backfleet.storage import Moment, metadata

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False, server_default=""),
    sa.Column("created_at", Moment, nullable=False),
    # Exactly one account is the first: replicas that start together cannot make two.
    sa.Column("first", sa.Boolean, unique=True),
)

pairs = sa.Table(
    "account_pairs",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("other_account_id", sa.String(16), nullable=False),
    sa.Column("role_name", sa.String(64), nullable=False),
    sa.Column("folded_role_name", sa.String(64), nullable=False),  # lower case: letter case does not matter in ARNs
    sa.Column("alias", sa.String(32), nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.UniqueConstraint("account_id", "other_account_id", "folded_role_name"),
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
    sa.Column("updated_at", Moment, nullable=False),
    sa.UniqueConstraint("account_id", "name"),
)

groups = sa.Table(
    "user_groups",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("comments", sa.String(128), nullable=False, server_default=""),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.UniqueConstraint("account_id", "name"),
)

members = sa.Table(
    "group_members",
    metadata,
    sa.Column("group_id", sa.ForeignKey("user_groups.id"), primary_key=True),
    sa.Column("user_id", sa.ForeignKey("users.id"), primary_key=True, index=True),
    sa.Column("joined_at", Moment, nullable=False),
)

roles = sa.Table(
    "roles",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("folded_name", sa.String(64), nullable=False),  # lower case: letter case does not matter in ARNs
    sa.Column("description", sa.String(1024), nullable=False, server_default=""),
    sa.Column("trust", sa.Text, nullable=False),
    sa.Column("max_session", sa.Integer, nullable=False),  # seconds
    sa.Column("tags", sa.Text, nullable=False, server_default="{}"),
    sa.Column("service", sa.String(128), nullable=False, server_default=""),  # the service that owns the role
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.UniqueConstraint("account_id", "folded_name"),
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

oidc_providers = sa.Table(
    "oidc_providers",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("issuer", sa.String(255), nullable=False),
    sa.Column("client_ids", sa.Text, nullable=False),  # a JSON list
    sa.Column("keys", sa.Text, nullable=False),  # a JSON Web Key Set
    sa.Column("description", sa.String(256), nullable=False, server_default=""),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.UniqueConstraint("account_id", "name"),
)

policies = sa.Table(
    "policies",
    metadata,
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("description", sa.String(1024), nullable=False, server_default=""),
    sa.Column("default_version", sa.Integer, nullable=False),
    sa.Column("last_version", sa.Integer, nullable=False),  # numbers are never used twice
    sa.Column("tags", sa.Text, nullable=False, server_default="{}"),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
)

policy_versions = sa.Table(
    "policy_versions",
    metadata,
    sa.Column("account_id", sa.String(16), primary_key=True),
    sa.Column("policy_name", sa.String(128), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.ForeignKeyConstraint(["account_id", "policy_name"], ["policies.account_id", "policies.name"]),
)

attachments = sa.Table(
    "policy_attachments",
    metadata,
    sa.Column("holder_kind", sa.String(8), primary_key=True),  # User, Group or Role
    sa.Column("holder_id", sa.String(32), primary_key=True),
    sa.Column("policy_type", sa.String(16), primary_key=True),  # System or Custom
    sa.Column("policy_name", sa.String(128), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("attached_at", Moment, nullable=False),
    sa.Index(None, "account_id", "policy_type", "policy_name"),  # for: who has this policy?
)

nonces = sa.Table(
    "nonces",
    metadata,
    sa.Column("access_key_id", sa.String(64), primary_key=True),
    sa.Column("nonce", sa.String(128), primary_key=True),
    sa.Column("until", Moment, nullable=False, index=True),
)
