"""Releases, the channels that offer them, and the signed metadata that vouches for them."""

import sqlalchemy as sa

from backfleet.storage import Moment, metadata

releases = sa.Table(
    "releases",
    metadata,
    sa.Column("package", sa.String(64), primary_key=True),
    sa.Column("version", sa.String(64), primary_key=True),
    sa.Column("platform", sa.String(64), primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False, index=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("file_name", sa.String(255), nullable=False),
    sa.Column("manifest", sa.JSON, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("withdrawn_at", Moment),
    sa.Column("published_at", Moment),  # null: signed metadata does not vouch for it yet
    sa.Column("fetched_at", Moment),  # when its artifact was first sent to anybody; null: never
)

offers = sa.Table(
    "release_offers",
    metadata,
    sa.Column("channel", sa.String(64), primary_key=True),
    sa.Column("package", sa.String(64), primary_key=True),
    sa.Column("version", sa.String(64), primary_key=True),
    sa.Column("platform", sa.String(64), primary_key=True),
    sa.ForeignKeyConstraint(
        ["package", "version", "platform"], ["releases.package", "releases.version", "releases.platform"]
    ),
)

# What was made, or tried, of two versions of a package: what makes the content of one of that of the other.
deltas = sa.Table(
    "release_deltas",
    metadata,
    sa.Column("package", sa.String(64), primary_key=True),
    sa.Column("version", sa.String(64), primary_key=True),
    sa.Column("platform", sa.String(64), primary_key=True),
    sa.Column("base_version", sa.String(64), primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False, index=True),  # "": there is none, and the note says why
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("base_sha256", sa.String(64), nullable=False),
    sa.Column("base_length", sa.BigInteger, nullable=False),
    sa.Column("result_sha256", sa.String(64), nullable=False),
    sa.Column("result_length", sa.BigInteger, nullable=False),
    sa.Column("note", sa.String(300), nullable=False),
    sa.Column("made_at", Moment, nullable=False),
    sa.Column("retry_above", sa.Integer),  # megabytes: with more of them it is tried again
    sa.Column("retry_at", Moment),  # when it is tried again in any case; null: never
    sa.Column("downloads", sa.BigInteger, nullable=False, server_default="0"),  # by hosts that said so
)

package_schemes = sa.Table(
    "package_schemes",
    metadata,
    sa.Column("package", sa.String(64), primary_key=True),
    sa.Column("scheme", sa.String(16), nullable=False),  # how its versions compare: one of versions.SCHEMES
)

default_packages = sa.Table(
    "default_packages",
    metadata,
    sa.Column("channel", sa.String(64), primary_key=True),
    sa.Column("platform", sa.String(64), primary_key=True),
    sa.Column("package", sa.String(64), nullable=False),  # what an install gets that names none
)

signed_metadata = sa.Table(
    "signed_metadata",
    metadata,
    sa.Column("role", sa.String(16), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),  # two replicas cannot both publish the same version
    sa.Column("bytes", sa.LargeBinary, nullable=False),
)

# What versions of metadata begin above, after a restore: hosts have seen newer ones than the copy knows.
metadata_floors = sa.Table(
    "signed_metadata_floors",
    metadata,
    sa.Column("role", sa.String(16), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)
