"""The tables of runs, and of when the next one of a client is expected."""

import sqlalchemy as sa

from backfleet.storage import Moment, metadata

runs = sa.Table(
    "client_runs",
    metadata,
    sa.Column("client_id", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),  # the host's
    sa.Column("instance_id", sa.String(64), nullable=False),
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Column("package", sa.String(64), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("begun_at", Moment, nullable=False),
    sa.Column("ended_at", Moment),
    sa.Column("result", sa.String(16), nullable=False),  # "": it runs
    sa.Column("code", sa.Integer),
    sa.Column("user", sa.String(64), nullable=False),
    sa.Column("caller", sa.String(64), nullable=False),
    sa.Column("is_backup", sa.Boolean, nullable=False),
    sa.Index("ix_client_runs_client", "client_id", "begun_at"),
    sa.Index("ix_client_runs_account", "account_id", "region", "begun_at"),
    sa.Index("ix_client_runs_package", "account_id", "region", "package", "begun_at"),
    sa.Index("ix_client_runs_begun_at", "begun_at"),
)

intervals = sa.Table(
    "run_intervals",
    metadata,
    sa.Column("client_id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(16), nullable=False),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Column("last_begun_at", Moment, nullable=False),
    sa.Column("usual_seconds", sa.BigInteger, nullable=False),
    sa.Column("expected_by", Moment, nullable=False),
    sa.Index("ix_run_intervals_expected_by", "account_id", "region", "expected_by"),
)
