"""What each host that enrols asks about instances: whether it is there already, and what lost answers have left."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from backfleet.fleet._store.instances import READ
from backfleet.fleet._tables import instances
from backfleet.fleet.model import AgentKind, Instance
from backfleet.storage import Moment, Prepared, Transaction

PLACE: Final = ("machine_id", "hostname", "intranet_ip", "internet_ip")  # of a host, by column

_MADE: Final = sa.and_(instances.c.activation_id == sa.bindparam("by"), instances.c.deregistered_at.is_(None))
_UNHEARD: Final = (
    sa.select(instances.c.id)
    .where(_MADE, instances.c.signed_ms.is_(None))
    .order_by(instances.c.registered_at, instances.c.id)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_WITH_KEY: Final = Prepared(
    sa.select(instances).where(
        _MADE, instances.c.machine_id == sa.bindparam("machine"), instances.c.public_key == sa.bindparam("key")
    )
)
_UNHEARD_FROM: Final = Prepared(
    _UNHEARD.where(
        instances.c.agent_kind != AgentKind.BACKFLEET.value,
        *(instances.c[name] == sa.bindparam(f"same_{name}") for name in PLACE),
    )
)
_UNHEARD_SINCE: Final = Prepared(_UNHEARD.where(instances.c.registered_at <= sa.bindparam("before", type_=Moment)))


def find_with_key(tx: Transaction, activation_id: str, machine_id: str, public_key: str) -> Instance | None:
    """Return the instance that enrolled with exactly these, unless it is deregistered."""
    row = tx.first(_WITH_KEY, {"by": activation_id, "machine": machine_id, "key": public_key})
    return None if row is None else READ(row)


def unheard_from(tx: Transaction, activation_id: str, place: Mapping[str, str], limit: int) -> list[str]:
    """Return which instances without our agent an activation made for a host, and whose keys have signed nothing yet.

    `place` has what PLACE names.
    """
    same = {f"same_{name}": place[name] for name in PLACE}
    return [row.id for row in tx.rows(_UNHEARD_FROM, {"by": activation_id, "most": limit, **same})]


def unheard_since(tx: Transaction, activation_id: str, before: datetime, limit: int) -> list[str]:
    """Return enrolled instances of an activation whose keys have signed nothing since then, oldest first."""
    return [row.id for row in tx.rows(_UNHEARD_SINCE, {"by": activation_id, "before": before, "most": limit})]
