"""Hosts without an agent, and the keys that the server logs in with."""

import sqlalchemy as sa

from backfleet.storage import Moment, metadata

ssh_keys = sa.Table(
    "ssh_keys",
    metadata,
    sa.Column("account_id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("public", sa.Text, nullable=False),  # one line in OpenSSH's form
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("sealed", sa.Text, nullable=False),  # the private half, by the vault
)

ssh_hosts = sa.Table(
    "ssh_hosts",
    metadata,
    sa.Column("instance_id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("address", sa.String(253), nullable=False),
    sa.Column("port", sa.Integer, nullable=False),
    sa.Column("username", sa.String(64), nullable=False),
    sa.Column("root", sa.String(128), nullable=False),
    sa.Column("host_keys", sa.Text, nullable=False),  # a line each
    sa.Column("key_name", sa.String(64), nullable=False),
    sa.Column("sudo", sa.Boolean, nullable=False),
    sa.Column("jumps", sa.Text, nullable=False),  # JSON
    sa.Column("problem_code", sa.String(32), nullable=False, server_default=""),
    sa.Column("problem", sa.Text, nullable=False, server_default=""),
    sa.Column("visited_at", Moment),
    sa.Column("next_visit_at", Moment, nullable=False, index=True),
    sa.Column("free_at", Moment),  # until then it is visited, or was out of reach; empty = free
    # What is imported twice is one host.
    sa.UniqueConstraint("account_id", "address", "port", "username", "root"),
)
