"""The only SQL on calendars."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from backfleet.paging import Listing, Page
from backfleet.rollouts._tables import ENDED_STATES, calendars, rollouts
from backfleet.storage import Transaction
from backfleet.values import value_object


@value_object
class CalendarRecord:
    """A calendar as it is stored. `freezes`: how many of its events freeze anything."""

    account_id: str
    name: str
    text: str  # iCalendar
    freezes: int
    updated_at: datetime
    updated_by: str  # an ARN


def put(tx: Transaction, record: CalendarRecord) -> None:
    """Store a calendar in place of the one of its name."""
    delete(tx, record.account_id, record.name)
    tx.add(calendars, [{column.name: getattr(record, column.name) for column in calendars.c}])


def delete(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a calendar."""
    tx.run(sa.delete(calendars).where(calendars.c.account_id == account_id, calendars.c.name == name))


def find(tx: Transaction, account_id: str, name: str) -> CalendarRecord | None:
    """Return a calendar."""
    row = tx.first(sa.select(calendars).where(calendars.c.account_id == account_id, calendars.c.name == name))
    return None if row is None else CalendarRecord(**row._mapping)


def page_of(tx: Transaction, account_id: str, page: Page) -> Listing[CalendarRecord]:
    """Return a page of an account's calendars, by name, without their texts."""
    mine = calendars.c.account_id == account_id
    columns = [column for column in calendars.c if column.name != "text"]
    rows = tx.rows(sa.select(*columns).where(mine).order_by(calendars.c.name).limit(page.size).offset(page.offset))
    total = tx.scalar(sa.select(sa.func.count()).select_from(calendars).where(mine))
    return Listing([CalendarRecord(**row._mapping, text="") for row in rows], total)


def texts(tx: Transaction, account_id: str, names: Sequence[str]) -> dict[str, str]:
    """Return the texts of those of these calendars that exist."""
    query = sa.select(calendars.c.name, calendars.c.text)
    rows = tx.rows(query.where(calendars.c.account_id == account_id, calendars.c.name.in_(names)))
    return {row.name: row.text for row in rows}


def policies_in_use(tx: Transaction, account_id: str) -> list[tuple[str, str]]:
    """Return id and policy of each rollout of an account that has not ended."""
    query = sa.select(rollouts.c.id, rollouts.c.policy).where(rollouts.c.account_id == account_id)
    rows = tx.rows(query.where(rollouts.c.state.not_in(ENDED_STATES)).order_by(rollouts.c.id))
    return [(row.id, row.policy) for row in rows]


def wake(tx: Transaction, rollout_ids: Sequence[str], now: datetime) -> None:
    """Have rollouts decided soon, as far as they are decided at all."""
    if rollout_ids:
        mine = sa.and_(rollouts.c.id.in_(rollout_ids), rollouts.c.decide_at.is_not(None))
        tx.run(sa.update(rollouts).where(mine).values(decide_at=now))
