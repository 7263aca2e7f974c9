"""whether anybody has fetched a release, and the package that an install gets which names none"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("releases", sa.Column("fetched_at", sa.BigInteger(), nullable=True))
    op.execute("UPDATE releases SET fetched_at = created_at")  # nobody noted whether they were
    op.create_table(
        "default_packages",
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("platform", sa.String(length=64), nullable=False),
        sa.Column("package", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("channel", "platform", name=op.f("pk_default_packages")),
    )
    # Where one package is offered, it is what installs get that name none, and stays so. Where several are, none is.
    op.execute(
        "INSERT INTO default_packages (channel, platform, package) "
        "SELECT o.channel, o.platform, MIN(o.package) FROM release_offers o JOIN releases r "
        "ON r.package = o.package AND r.version = o.version AND r.platform = o.platform "
        "WHERE r.withdrawn_at IS NULL GROUP BY o.channel, o.platform HAVING COUNT(DISTINCT o.package) = 1"
    )
