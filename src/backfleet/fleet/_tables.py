"""The tables of activations, instances, their inventories, backup clients, pins, and tags."""

import sqlalchemy as sa

from backfleet.storage import Moment, metadata

activations = sa.Table(
    "activations",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(16), nullable=False, index=True),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Column("code_hash", sa.String(64), nullable=False),  # SHA-256, hex: the code itself is shown once
    sa.Column("instance_count", sa.Integer, nullable=False),
    sa.Column("registered_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("deregistered_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("hours", sa.Integer, nullable=False),
    sa.Column("name", sa.String(64), nullable=False, server_default=""),
    sa.Column("description", sa.String(128), nullable=False, server_default=""),
    sa.Column("address_range", sa.String(64), nullable=False, server_default=""),
    sa.Column("disabled", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created_at", Moment, nullable=False),
    # Two hosts that enrol at once cannot both be the last one.
    sa.CheckConstraint("registered_count <= instance_count", name="not_too_many"),
)

instances = sa.Table(
    "instances",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Column("activation_id", sa.String(64), nullable=False),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("hostname", sa.String(255), nullable=False),
    sa.Column("machine_id", sa.String(64), nullable=False),
    sa.Column("public_key", sa.Text, nullable=False),  # PEM
    sa.Column("os_type", sa.String(32), nullable=False),
    sa.Column("os_version", sa.String(255), nullable=False),
    sa.Column("platform", sa.String(64), nullable=False),
    sa.Column("agent_version", sa.String(64), nullable=False),
    sa.Column("agent_kind", sa.String(16), nullable=False, server_default="official"),
    sa.Column("agent_mode", sa.String(16), nullable=False),
    sa.Column("carrier", sa.String(16), nullable=False, server_default="assist"),
    sa.Column("intranet_ip", sa.String(64), nullable=False),
    sa.Column("internet_ip", sa.String(64), nullable=False),
    sa.Column("registered_at", Moment, nullable=False),
    sa.Column("last_heard_at", Moment),  # any signed request: its machine lives
    sa.Column("reachable_at", Moment),  # a message on its socket, or a task-list request: it can be given work
    sa.Column(
        "left_at", Moment
    ),  # its agent closed its socket then and did not come back; older than reachable_at: it did
    sa.Column("agent_started_at", Moment),  # by our clock; from the age that its process reports in heartbeats
    sa.Column("time_zone", sa.String(64), nullable=False, server_default=""),  # of the host, by its name
    sa.Column("clock_skew_ms", sa.BigInteger),  # the host's clock minus ours, as of its last heartbeat
    sa.Column("signed_ms", sa.BigInteger),  # the newest time it signed, by its own clock; never in our future
    sa.Column("stopped_at", Moment),
    sa.Column("deregistered_at", Moment),
    sa.CheckConstraint("agent_kind IN ('backfleet', 'official')", name="agent_kind"),
    sa.Index("ix_instances_activation", "activation_id", "machine_id"),  # asked for by each host that enrols
    # All that an overview counts by, and that a search reads: neither of them opens the wide rows.
    sa.Index("ix_instances_account_region", "account_id", "region", "id", "platform", "deregistered_at"),
    sa.Index("ix_instances_names", "account_id", "region", "name", "hostname", "id", "deregistered_at"),
)

inventories = sa.Table(
    "inventories",
    metadata,
    sa.Column("instance_id", sa.ForeignKey("instances.id"), primary_key=True),
    sa.Column("kind", sa.String(64), primary_key=True),  # ACS:Application...
    sa.Column("content_hash", sa.String(64), nullable=False),  # computed by the agent
    sa.Column("captured_at", sa.String(32), nullable=False),  # by the host's clock
    sa.Column("received_at", Moment, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),  # zlib, of JSON: a list of objects
)

# The replay cache: a signature covers neither address nor body, so each request id is accepted once.
requests = sa.Table(
    "agent_requests",
    metadata,
    sa.Column("mark", sa.BigInteger, primary_key=True, autoincrement=False),  # fingerprint of instance and request id
    sa.Column("until", Moment, nullable=False, index=True),
)

clients = sa.Table(
    "clients",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Column("instance_id", sa.ForeignKey("instances.id"), nullable=False),
    sa.Column("package", sa.String(64), nullable=False),
    sa.Column("version", sa.String(64), nullable=False, server_default=""),  # "": none on the host
    sa.Column("channel", sa.String(64), nullable=False),
    # Of no use any more: processes of an earlier version read it while an upgrade of replicas is under way.
    sa.Column("pin", sa.String(128), nullable=False, server_default=""),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    # When its host last reported its state, or was asked for it.
    sa.Column("checked_at", Moment, nullable=False, index=True),
    sa.Column("drift", sa.Text, nullable=False, server_default=""),
    sa.Column("confirmed_at", Moment),  # when its host last said which version it has
    sa.Column("in_doubt", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("failure", sa.Text, nullable=False, server_default=""),  # JSON: the last order that failed; "" = none
    sa.UniqueConstraint("instance_id", "package"),
    sa.Index("ix_clients_account_region", "account_id", "region", "id"),
    sa.Index("ix_clients_of_instances", "instance_id", "package", "version", "channel", "status", "id"),
)
_has_drifted = clients.c.drift != ""
sa.Index(
    "ix_clients_drifted", clients.c.account_id, clients.c.instance_id,
    sqlite_where=_has_drifted, postgresql_where=_has_drifted,
)  # fmt: skip

preferences = sa.Table(
    "client_preferences",
    metadata,
    sa.Column("client_id", sa.ForeignKey("clients.id"), primary_key=True),
    sa.Column("told", sa.Text, key="settings", nullable=False),  # JSON
    sa.Column("sealed_password", sa.Text, nullable=False),  # of the proxy; "" = none
    sa.Column("updated_at", Moment, nullable=False),
)

pins = sa.Table(
    "client_pins",
    metadata,
    sa.Column("account_id", sa.String(16), primary_key=True),
    sa.Column("region", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),  # of an instance its id, of a tag its key
    sa.Column("value", sa.String(128), primary_key=True),
    sa.Column("package", sa.String(64), primary_key=True),  # "" = every package
    sa.Column("versions", sa.String(128), nullable=False),
    sa.Column("reason", sa.String(256), nullable=False),
    sa.Column("owner", sa.Text, nullable=False),  # an ARN
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False, index=True),
)

# Below which version no client of a package is to be after a moment.
minimums = sa.Table(
    "minimum_versions",
    metadata,
    sa.Column("account_id", sa.String(16), primary_key=True),
    sa.Column("region", sa.String(64), primary_key=True),
    sa.Column("package", sa.String(64), primary_key=True),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("due_at", Moment, nullable=False),
    sa.Column("reason", sa.String(256), nullable=False),
    sa.Column("owner", sa.Text, nullable=False),  # an ARN
    sa.Column("created_at", Moment, nullable=False),
)

# Hosts that booted, until the module that waits for boots has read it.
boots = sa.Table(
    "boots",
    metadata,
    sa.Column("instance_id", sa.String(64), primary_key=True),
    sa.Column("at", Moment, nullable=False),
)

# Tags of resources; `kind` is the API's word for the kind of resource.
tags = sa.Table(
    "resource_tags",
    metadata,
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("resource_id", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.String(128), nullable=False),
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Index("ix_resource_tags_account", "account_id", "region", "kind", "key", "value"),
    sa.Index("ix_resource_tags_values", "key", "resource_id", "kind", "value"),
)

# Processes of agents: two that run side by side with one identity are two hosts.
runs = sa.Table(
    "agent_runs",
    metadata,
    sa.Column("instance_id", sa.String(64), primary_key=True),
    sa.Column("mark", sa.String(128), primary_key=True),
    sa.Column("first_at", Moment, nullable=False),
    sa.Column("last_at", Moment, nullable=False, index=True),
    sa.Column("address", sa.String(64), nullable=False, server_default=""),
    sa.Column("hostname", sa.String(255), nullable=False, server_default=""),
    sa.Column("machine_id", sa.String(64), nullable=False, server_default=""),
)
