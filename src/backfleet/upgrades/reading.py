"""Reading tasks, within the account that started them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from backfleet.paging import Listing, Page
from backfleet.storage import Transaction
from backfleet.upgrades import _store
from backfleet.upgrades.ending import is_out_of_time
from backfleet.upgrades.model import EndedBadly, Item, Origin, Task
from backfleet.upgrades.waiting import REACHABLE_WITHIN, with_reasons


def read(
    tx: Transaction, account_id: str, task_id: str, *, now: datetime, reachable_within: timedelta = REACHABLE_WITHIN
) -> Task | None:
    """Return a task as it is now, its items in request order; None if this account has no such task.

    Items that wait for their hosts say why, and until when.
    """
    task = _store.task(tx, account_id, task_id)
    if task is None:
        return None
    shown = task.as_of(now) if is_out_of_time(tx, task, now) else task
    return with_reasons(tx, shown, now=now, reachable_within=reachable_within)


def unsent_since(tx: Transaction, account_id: str, *, now: datetime, reachable_since: datetime) -> datetime | None:
    """Return since when an account's orders wait to be sent, although nothing is waited for; None if none do."""
    return _store.unsent_since(tx, account_id, now, reachable_since)


def ended_badly(tx: Transaction, account_id: str, *, since: datetime, limit: int) -> list[EndedBadly]:
    """Return an account's tasks that ended since a moment with clients that failed, but not those of rollouts."""
    return _store.ended_badly(tx, account_id, since, limit)


def count_ended(
    tx: Transaction, *, since: datetime, account_id: str | None = None
) -> dict[tuple[str, str, str, str, str], int]:
    """Return how many clients' orders ended since a moment, by account, package, kind, state and code.

    Args:
        tx: the transaction to read in.
        since: the moment.
        account_id: only of its tasks; None = of those of every account.
    """
    return _store.count_ended(tx, since, account_id)


def count_open(tx: Transaction) -> dict[tuple[str, str], tuple[int, datetime]]:
    """Return how many clients' orders are open and since when the oldest is, by account and state."""
    return _store.count_open(tx)


def are_moving(tx: Transaction, account_id: str, client_ids: Sequence[str]) -> bool:
    """Return whether a task is moving any of these clients of the account."""
    return bool(_store.live_tasks_of(tx, account_id, client_ids))


def find(tx: Transaction, account_id: str, page: Page, *, instance_id: str | None = None) -> Listing[Task]:
    """Return an account's tasks, newest first, without their items and as the worker last left them.

    Args:
        instance_id: Only those with orders for this instance, each with the items of this instance.
    """
    return _store.tasks_page(tx, account_id, page, instance_id)


def with_output(tx: Transaction, account_id: str, origin: Origin) -> list[tuple[str, str]]:
    """Return the items of an account's tasks that did not end well and whose hosts said something of it.

    Args:
        tx: the transaction to read in.
        account_id: whose tasks.
        origin: of the tasks.

    Returns:
        The id and the client of each, the first to end first.
    """
    return _store.with_output(tx, account_id, origin)


def find_items(tx: Transaction, item_ids: Sequence[str]) -> dict[str, Item]:
    """Return items of any account by id, as the worker last left them."""
    return _store.items_by_id(tx, item_ids)
