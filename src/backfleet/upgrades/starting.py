"""Starting a task: once per ClientToken, and never two tasks at one client."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from backfleet import fleet
from backfleet.fleet import Change
from backfleet.ids import Draw, new_id, new_ids
from backfleet.settings import Settings
from backfleet.storage import Transaction
from backfleet.upgrades import _store, traces
from backfleet.upgrades.ending import NEW_TASKS, TOPIC, expire_overdue
from backfleet.upgrades.model import KEEPS_VERSION, Item, NewTask, Task, TaskTarget, new_item
from backfleet.upgrades.progress import progress_of
from backfleet.upgrades.states import ItemState, Kind, TaskState, task_state
from backfleet.upgrades.waiting import supersede


def start(tx: Transaction, new: NewTask, *, now: datetime, draw: Draw, settings: Settings) -> Task:
    """Store a task with one item per target, in their order, and notify the worker.

    A client that another task is moving gets an item that ends at once with UpgradeInProgress and names that task. What
    waits for a client of this task ends with Superseded. A
    task whose items all end at once is over when it is stored, and its topic is published.

    Args:
        settings: for how long a task may take, and for how long a ClientToken is known.

    Raises:
        Conflict: another call was first with one of the clients or with the token. Begin again: what this transaction
            has read is out of date.
        Malformed: no order can be made of a target.
    """
    task_id = new_id("t", draw)
    items = _items(new, task_id, _still_busy(tx, new, task_id, now), now, draw)
    state = task_state([item.state for item in items])
    task = Task(
        id=task_id,
        account_id=new.account_id,
        kind=new.kind,
        state=state,
        progress=progress_of([(item.state, item.stage) for item in items], 0),
        requested_by=new.requested_by,
        created_at=now,
        updated_at=now,
        completed_at=None if state is TaskState.CREATED else now,
        deadline=now + (new.expires_in or timedelta()) + timedelta(seconds=settings.task_seconds),
        items=tuple(items),
        label=new.label,
        topic=new.topic,
        caller=new.caller,
        settings=new.settings,
        traceparent=new.traceparent,
        origin=new.origin,
    )
    _store.add(tx, task)
    remember_token(tx, new, task.id, until=now + timedelta(hours=settings.token_hours))
    fleet.set_clients(tx, _changes(items), now=now)
    tx.publish(TOPIC)
    tx.publish(NEW_TASKS)
    if state is not TaskState.CREATED:
        traces.record_over(tx, [task.id])
        if task.topic:
            tx.publish(task.topic)
    return task


def started_before(
    tx: Transaction, account_id: str, client_token: str, fingerprint: str, *, now: datetime
) -> Task | None:
    """Return the task that this ClientToken started; None if the token is new or was forgotten.

    Raises:
        TokenReused: the token came with other parameters before.
    """
    task_id = _store.client_tokens.find(tx, account_id, client_token, fingerprint, now=now)
    return None if task_id is None else _store.task(tx, account_id, task_id)


def remember_token(tx: Transaction, new: NewTask, task_id: str, *, until: datetime) -> None:
    """Let a later call with the same ClientToken get this task. Raises Conflict if another call was first."""
    if new.client_token is not None:
        _store.client_tokens.bind(tx, new.account_id, new.client_token, new.fingerprint, task_id, until=until)


def running_like(tx: Transaction, new: NewTask, *, now: datetime) -> Task | None:
    """Return the running task that was asked to do the same with the same clients, if there is one.

    An install or uninstall is asked for again by programs that gave up waiting or lost the answer.
    """
    if new.kind not in (Kind.INSTALL, Kind.UNINSTALL):
        return None
    clients_account_id = new.clients_account_id or new.account_id
    busy = _busy(tx, clients_account_id, _known_clients(new), now=now)
    if len(set(busy.values())) != 1:
        return None
    found = _store.task(tx, new.account_id, next(iter(busy.values())))
    if found is not None and any((item.waits_until is None) is not (new.expires_in is None) for item in found.items):
        return None
    if found is None or (found.kind, found.label, found.state) != (new.kind, new.label, TaskState.CREATED):
        return None
    if any(item.account_id != clients_account_id for item in found.items) or not _does_the_same(found, new):
        return None
    return found


def _does_the_same(task: Task, new: NewTask) -> bool:
    if {_asked_of(item) for item in task.items} != {_asked_of(target) for target in new.targets}:
        return False
    versions = {target.client_id: target.to_version for target in new.targets if new.names_version}
    return all(versions.get(item.client_id, item.to_version) == item.to_version for item in task.items)


def _asked_of(one: Item | TaskTarget) -> tuple[str, str, str, bool, bool]:
    """Return what is to be done with which client. A version that nobody named was decided when it began."""
    return one.instance_id, one.client_id, one.package, one.remove_state, one.tries_again


def _items(new: NewTask, task_id: str, busy: Mapping[str, str], now: datetime, draw: Draw) -> list[Item]:
    account_id = new.clients_account_id or new.account_id
    ids = new_ids("u", draw, len(new.targets))
    items = [
        new_item(
            _unless_busy(target, busy),
            item_id=item_id,
            task_id=task_id,
            position=position,
            account_id=account_id,
            kind=new.kind,
            now=now,
            waits_until=None if new.expires_in is None else now + new.expires_in,
        )
        for position, (target, item_id) in enumerate(zip(new.targets, ids, strict=True))
    ]
    different = {
        (item.package, item.to_version, item.platform, item.remove_state, item.tries_again): item
        for item in items
        if item.is_open
    }
    for item in different.values():
        item.order()  # one that cannot be written would stop the worker for everybody: it is refused here
    return items


def _still_busy(tx: Transaction, new: NewTask, task_id: str, now: datetime) -> dict[str, str]:
    """End what waits for clients that this task moves. Return, of its clients, the tasks that are moving them."""
    account_id, known = new.clients_account_id or new.account_id, _known_clients(new)
    if not _store.live_tasks_of(tx, account_id, known):  # as nearly always
        return {}
    if new.kind not in KEEPS_VERSION:
        moved = [target.client_id for target in new.targets if _is_known(target) and target.resolved is None]
        supersede(tx, account_id, moved, task_id, now=now)
    return _busy(tx, account_id, known, now=now)


def _busy(tx: Transaction, account_id: str, client_ids: Sequence[str], *, now: datetime) -> dict[str, str]:
    """Return the moving task of each of these clients that is being moved.

    A task past its deadline counts as expired: if no worker has come to it yet, it is ended here.
    """
    busy = _store.live_tasks_of(tx, account_id, client_ids)
    over = expire_overdue(tx, sorted(set(busy.values())), now=now)
    return {client_id: task_id for client_id, task_id in busy.items() if task_id not in over}


def _known_clients(new: NewTask) -> list[str]:
    return [target.client_id for target in new.targets if _is_known(target)]


def _is_known(target: TaskTarget) -> bool:
    """Return whether it is a client of this account; an id that names nothing here is never looked up."""
    return bool(target.client_id and target.instance_id)


def _unless_busy(target: TaskTarget, busy: Mapping[str, str]) -> TaskTarget:
    """Return the target, refused if another task is moving its client: the plan for it is about to be out of date."""
    running = busy.get(target.client_id) if _is_known(target) else None
    if running is None:
        return target
    text = f"task {running} is moving this client; wait for it"
    return replace(target, resolved=("UpgradeInProgress", text))


def _changes(items: Sequence[Item]) -> list[Change]:
    """Return the new status of clients that are now moving. A refusal changes no client."""
    return [
        Change(item.client_id, status=item.new_client_status)
        for item in items
        if item.client_id and item.state is not ItemState.FAILED and not item.waits
    ]
