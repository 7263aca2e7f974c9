"""Starting a task: once per ClientToken, and never two at one client."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from backfleet import fleet
from backfleet.fleet import Change
from backfleet.ids import Draw, new_id
from backfleet.settings import Settings
from backfleet.storage import Transaction
from backfleet.upgrades import _store
from backfleet.upgrades.ending import TOPIC, expire_overdue
from backfleet.upgrades.items import Item, TaskTarget, item_for
from backfleet.upgrades.progress import progress_of
from backfleet.upgrades.states import ItemState, Kind, TaskState, task_state
from backfleet.upgrades.tasks import Task


def start(
    tx: Transaction,
    *,
    kind: Kind,
    account_id: str,
    clients_account_id: str = "",
    label: str = "",
    targets: Sequence[TaskTarget],
    requested_by: str,
    now: datetime,
    draw: Draw,
    settings: Settings,
    client_token: str | None = None,
    fingerprint: str = "",
) -> Task:
    """Write a task down, one item per target in their order, and ring for the worker.

    A client that is being moved already gets an item that ends with UpgradeInProgress and names the running task: the
    live one stays alone. The task is `account_id`'s; its clients are `clients_account_id`'s where that is another one.
    `label` is what the asker calls the task. `fingerprint` is what a later call with the same `client_token` is
    compared with.

    Raises:
        Conflict: another call was first with one of the clients or with the token. Begin again: what was
            read before this is no longer so.
        Malformed: a target that no order could be made of.
    """
    task_id, of = new_id("t", draw), clients_account_id or account_id
    deadline = now + timedelta(seconds=settings.task_seconds)
    busy = _busy(tx, of, [target.client_id for target in targets if _is_known(target)], now=now)
    items = [
        item_for(
            _unless_busy(target, busy),
            item_id=new_id("u", draw),
            task_id=task_id,
            position=position,
            account_id=of,
            kind=kind,
            now=now,
        )
        for position, target in enumerate(targets)
    ]
    _check_orders(items)
    state = task_state([item.state for item in items])
    completed_at = None if state is TaskState.CREATED else now
    progress = progress_of([(item.state, item.stage) for item in items], 0)
    task = Task(
        task_id, account_id, kind, state, progress, requested_by, now, now, completed_at, deadline, tuple(items), label
    )
    _store.add(tx, task)
    if client_token is not None:
        until = now + timedelta(hours=settings.token_hours)
        _store.client_tokens.bind(tx, account_id, client_token, fingerprint, task.id, until=until)
    fleet.set_clients(tx, _changes(items), now=now)
    tx.publish(TOPIC)
    return task


def started_before(
    tx: Transaction, account_id: str, client_token: str, fingerprint: str, *, now: datetime
) -> Task | None:
    """The task that this ClientToken started; None if the token is new, or so old that it is forgotten.

    Raises:
        TokenReused: it came with other parameters then.
    """
    task_id = _store.client_tokens.find(tx, account_id, client_token, fingerprint, now=now)
    return None if task_id is None else _store.task(tx, account_id, task_id)


def _busy(tx: Transaction, account_id: str, client_ids: Sequence[str], *, now: datetime) -> dict[str, str]:
    """For each of these clients that is being moved, the task that does it.

    A task past its deadline, which is told to have expired, moves nobody: if no worker came by yet, it ends here.
    """
    busy = _store.live_tasks_of(tx, account_id, client_ids)
    over = expire_overdue(tx, sorted(set(busy.values())), now=now)
    return {client_id: task_id for client_id, task_id in busy.items() if task_id not in over}


def _is_known(target: TaskTarget) -> bool:
    """Whether it is a client of this account; an id that names nothing here is never looked up."""
    return bool(target.client_id and target.instance_id)


def _unless_busy(target: TaskTarget, busy: Mapping[str, str]) -> TaskTarget:
    """What else was found out about a client that is being moved is about to change: its task comes first."""
    running = busy.get(target.client_id) if _is_known(target) else None
    if running is None:
        return target
    text = f"task {running} is moving this client; wait for it"
    return replace(target, settled=("UpgradeInProgress", text), succeeded=False)


def _check_orders(items: Sequence[Item]) -> None:
    """An order that cannot be written would stop the worker for everybody: it is refused here."""
    for item in items:
        if item.is_open:
            item.order()


def _changes(items: Sequence[Item]) -> list[Change]:
    """Clients that are now under way, and those that are as they were asked to be. A refusal changes no client."""
    return [
        Change(item.client_id, status=item.client_status)
        for item in items
        if item.client_id and item.state is not ItemState.FAILED
    ]
