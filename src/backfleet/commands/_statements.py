"""The statements on invocations that run most often; only `_store` runs them.

Agents' requests come in batches, so most of them are about many agents or invocations at once. They are built once:
building one costs more than running it.
"""

from typing import Any, Final

import sqlalchemy as sa

from backfleet.commands._tables import invocations, lease_rounds
from backfleet.commands.states import State
from backfleet.storage import Prepared, not_searched

OUT: Final = (State.HANDED, State.RUNNING, State.LOST)  # with the agent, as far as we know
OPEN: Final = (State.WAITING, *OUT)
IDS: Final[sa.BindParameter[Any]] = sa.bindparam("ids", expanding=True)
HOSTS: Final[sa.BindParameter[Any]] = sa.bindparam("hosts", expanding=True)


def _columns(*names: str) -> list[sa.Column[Any]]:
    return [invocations.c[name] for name in names]


# --- Agents that fetch -----------------------------------------------------------------------------------------------

OPEN_ON: Final = Prepared(
    sa.select(*_columns("id", "instance_id", "state", "stop_asked"))
    .where(invocations.c.instance_id.in_(HOSTS), invocations.c.state.in_(OPEN))
    .order_by(invocations.c.created_at, invocations.c.id)
)
# Locked rows are another replica's: skipped, not waited for. On SQLite this transaction is the only writer.
TAKE: Final = Prepared(
    sa.select(
        *_columns(
            "id", "instance_id", "content", "timeout_seconds", "kind", "working_directory", "username", "termination"
        )
    )
    .where(invocations.c.id.in_(IDS), not_searched(invocations.c.state) == State.WAITING)
    .order_by(invocations.c.created_at, invocations.c.id)
    .with_for_update(skip_locked=True)
)
HANDED: Final = Prepared(
    sa.update(invocations)
    .where(invocations.c.id.in_(IDS))
    .values(state=State.HANDED, lease_until=sa.bindparam("until"), changed_at=sa.bindparam("at"))
)
WORK: Final = sa.or_(
    invocations.c.state == State.WAITING, sa.and_(invocations.c.stop_asked, invocations.c.state.in_(OUT))
)
OLDEST_WORK: Final = Prepared(
    sa.select(invocations.c.id)
    .where(invocations.c.instance_id == sa.bindparam("host"), WORK)
    .order_by(invocations.c.created_at, invocations.c.id)
    .limit(1)
)

# --- Agents that report ----------------------------------------------------------------------------------------------

REPORTED: Final = (
    "state", "lease_until", "output", "dropped", "started_ms", "ended_ms", "exit_code", "error_code", "error_text",
    "changed_at", "revision",
)  # fmt: skip
LOCKED: Final = Prepared(
    sa.select(*_columns("id", "instance_id", "topic", *REPORTED))
    .where(invocations.c.id.in_(IDS))
    .order_by(invocations.c.id)
    .with_for_update()
)
REPORT: Final = Prepared(
    sa.update(invocations)
    .where(invocations.c.id == sa.bindparam("of"))
    .values({name: sa.bindparam(f"new_{name}") for name in REPORTED})
)
WAITING_ON: Final = Prepared(
    sa.select(invocations.c.instance_id)
    .where(invocations.c.instance_id.in_(HOSTS), invocations.c.state == State.WAITING)
    .distinct()
)

# --- Senders ---------------------------------------------------------------------------------------------------------

_IS_NEWS: Final = sa.and_(
    invocations.c.topic == sa.bindparam("wanted"), invocations.c.revision != invocations.c.collected
)
_NEWS: Final = (
    sa.select(*_columns("id", "reference", "instance_id", *REPORTED))
    .where(_IS_NEWS)
    .order_by(invocations.c.changed_at, invocations.c.id)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
)
NEWS: Final = Prepared(_NEWS)
NEWS_OF_ENDS: Final = Prepared(_NEWS.where(not_searched(invocations.c.state) != State.RUNNING))
COUNT_NEWS: Final = Prepared(
    sa.select(sa.func.count().label("number")).select_from(
        sa.select(invocations.c.id).where(_IS_NEWS).limit(sa.bindparam("most")).subquery()
    )
)
HAS_NEWS: Final = Prepared(sa.select(invocations.c.id).where(_IS_NEWS).limit(1))
COLLECTED: Final = Prepared(
    sa.update(invocations).where(invocations.c.id.in_(IDS)).values(collected=sa.bindparam("seen"))
)
_NAMED: Final = sa.and_(
    invocations.c.topic == sa.bindparam("of_topic"),
    invocations.c.reference.in_(sa.bindparam("references", expanding=True)),
)
KNOWN: Final = Prepared(sa.select(invocations.c.reference).where(_NAMED))
# All open states are selected: a row that changes while we wait for its lock is then still found.
OPEN_ONES: Final = Prepared(
    sa.select(*_columns("id", "reference", "instance_id", "state", "lease_until", "started_ms"))
    .where(_NAMED, invocations.c.state.in_(OPEN))
    .order_by(invocations.c.id)
    .with_for_update()
)

# --- Leases ----------------------------------------------------------------------------------------------------------

LAST_ROUND: Final = Prepared(sa.select(lease_rounds.c.at))
LAST_ROUND_LOCKED: Final = Prepared(sa.select(lease_rounds.c.at).with_for_update())
