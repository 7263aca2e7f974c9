"""The statements on tasks and client upgrades that run most often; only `_store` runs them."""

from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from backfleet import fleet
from backfleet.storage import Moment, Prepared, not_searched
from backfleet.upgrades._tables import is_live, items, tasks
from backfleet.upgrades.states import OPEN, ItemState, TaskState

OPEN_STATES: Final = sorted(OPEN)
WITH_ORDER: Final = sorted(OPEN - {ItemState.WAITING})
LONG_AGO: Final = sa.literal(datetime(2000, 1, 1, tzinfo=UTC), Moment())  # before all moments that are stored
CHANGING: Final = (
    "state", "stage", "code", "message", "current_version", "timeout_seconds", "started_at", "completed_at",
    "evidence", "deferred", "order_until", "not_before", "attempts",
)  # fmt: skip
NOT_YET: Final = ("stage", "started_at", "evidence", "deferred", "order_until", "not_before", "attempts")
"""Of an item that no order was sent for: the column's default, or null."""

# The worker's busiest statements. They are built once: building one costs more than running it.
IDS: Final[sa.BindParameter[Any]] = sa.bindparam("ids", expanding=True)
ONE_TASK = Prepared(sa.select(tasks).where(tasks.c.id == sa.bindparam("of"), tasks.c.account_id == sa.bindparam("in")))
TASKS_BY_ID = Prepared(sa.select(tasks).where(tasks.c.id.in_(IDS)))
TASKS_LOCKED = Prepared(sa.select(tasks).where(tasks.c.id.in_(IDS)).order_by(tasks.c.id).with_for_update())
ITEMS_OF = Prepared(sa.select(items).where(items.c.task_id.in_(IDS)).order_by(items.c.task_id, items.c.position))
ITEMS_LOCKED = Prepared(sa.select(items).where(items.c.id.in_(IDS)).order_by(items.c.id).with_for_update())
_STATUS: Final = (items.c.task_id, items.c.state, items.c.stage)
ITEM_STATUSES = Prepared(
    sa.select(*_STATUS, sa.func.count().label("number")).where(items.c.task_id.in_(IDS)).group_by(*_STATUS)
)
LIVE = Prepared(
    sa.select(items.c.client_id, items.c.task_id).where(
        items.c.client_id.in_(IDS), items.c.account_id == sa.bindparam("in"), is_live
    )
)
WAITING_LOCKED = Prepared(
    sa.select(items)
    .where(items.c.client_id.in_(IDS), items.c.account_id == sa.bindparam("in"), is_live)
    .where(not_searched(items.c.state) == ItemState.WAITING, items.c.waits_until.is_not(None))
    .order_by(items.c.id)
    .with_for_update()
)
CHANGE_ITEMS = Prepared(
    sa.update(items).where(items.c.id.in_(IDS)).values({name: sa.bindparam(f"new_{name}") for name in CHANGING})
)
CHANGE_TASK = Prepared(
    sa.update(tasks)
    .where(tasks.c.id == sa.bindparam("of"))
    .values({name: sa.bindparam(f"new_{name}") for name in ("state", "progress", "updated_at", "completed_at")})
)

# Asked by each run of the worker, several times a second in a wave.
NOW: Final[sa.BindParameter[Any]] = sa.bindparam("now", type_=Moment)
MOST: Final[sa.BindParameter[Any]] = sa.bindparam("most", type_=sa.Integer)
LATE_TASKS: Final = sa.select(tasks).where(tasks.c.deadline <= NOW).order_by(tasks.c.deadline, tasks.c.id)
OVERDUE = Prepared(LATE_TASKS.where(tasks.c.state == TaskState.CREATED).limit(MOST))
OVERDUE_AMONG = Prepared(LATE_TASKS.where(tasks.c.id.in_(IDS), not_searched(tasks.c.state) == TaskState.CREATED))
LATE_ITEMS = Prepared(
    sa.select(items)
    .where(
        sa.or_(
            sa.and_(items.c.state == ItemState.WAITING, items.c.waits_until <= NOW),
            # Those that wait for no host are most of the open ones: by the index of both, they are not read.
            sa.and_(items.c.state.in_(WITH_ORDER), items.c.waits_until > LONG_AGO, items.c.order_until <= NOW),
        )
    )
    .order_by(items.c.id)
    .limit(MOST)
)
# Waiting items whose deadline is still to come, without those that wait for their host and must go on.
WAITING: Final = (
    sa.select(items)
    .join(tasks, tasks.c.id == items.c.task_id)
    .where(
        items.c.state == ItemState.WAITING,
        tasks.c.deadline > NOW,
        sa.or_(
            items.c.waits_until.is_(None),
            sa.and_(
                items.c.waits_until > NOW,
                sa.or_(
                    items.c.not_before.is_(None),
                    items.c.not_before <= NOW,
                    items.c.not_before > sa.bindparam("after_pauses", type_=Moment),  # the clock was set back since
                ),
                fleet.can_be_sent_to(items.c.instance_id, sa.bindparam("since", type_=Moment)),
            ),
        ),
    )
)
ANY_WAITING = Prepared(WAITING.with_only_columns(items.c.id).limit(1))
TAKE_WAITING = Prepared(
    WAITING.order_by(tasks.c.created_at, items.c.id).limit(MOST).with_for_update(of=items, skip_locked=True)
)
