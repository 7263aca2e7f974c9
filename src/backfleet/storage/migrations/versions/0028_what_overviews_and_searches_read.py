"""indexes with all that overviews, searches and histories of hosts read"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    drifted = sa.text("drift != ''")
    op.create_index(
        "ix_clients_drifted", "clients", ["account_id", "instance_id"], sqlite_where=drifted, postgresql_where=drifted
    )
    op.create_index(
        "ix_clients_of_instances", "clients", ["instance_id", "package", "version", "channel", "status", "id"]
    )
    op.drop_index("ix_instances_account_region", "instances")
    op.create_index(
        "ix_instances_account_region", "instances", ["account_id", "region", "id", "platform", "deregistered_at"]
    )
    op.drop_index("ix_instances_names", "instances")
    op.create_index(
        "ix_instances_names", "instances", ["account_id", "region", "name", "hostname", "id", "deregistered_at"]
    )
    op.create_index("ix_client_upgrades_instance", "client_upgrades", ["instance_id", "task_id"])
    op.create_index("ix_resource_tags_values", "resource_tags", ["key", "resource_id", "kind", "value"])
