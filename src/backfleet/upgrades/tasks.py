"""One task: these clients to these versions. Starting, reading and cancelling it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from backfleet import commands, fleet
from backfleet.fleet import Change, ClientStatus
from backfleet.ids import Draw, new_id
from backfleet.storage import Transaction
from backfleet.upgrades import _store
from backfleet.upgrades.progress import progress_of
from backfleet.upgrades.states import FINAL, OPEN, ItemState, Kind, TaskState, may_move, task_state

TOPIC: Final = "upgrades"
SPARE_SECONDS = 60  # of a task's time that the host does not get: for the order's way there and the report's back

UNDER_WAY: Final = {
    Kind.UPGRADE: ClientStatus.UPGRADING,
    Kind.INSTALL: ClientStatus.INSTALLING,
    Kind.UNINSTALL: ClientStatus.UNINSTALLING,
}
WELL: Final = {
    Kind.UPGRADE: ClientStatus.ACTIVATED,
    Kind.INSTALL: ClientStatus.ACTIVATED,
    Kind.UNINSTALL: ClientStatus.NOT_INSTALLED,
}
UNWELL: Final = {
    Kind.UPGRADE: ClientStatus.UPGRADE_FAILED,
    Kind.INSTALL: ClientStatus.INSTALL_FAILED,
    Kind.UNINSTALL: ClientStatus.UNINSTALL_FAILED,
}


class TokenReused(Exception):
    """The same ClientToken came with other parameters."""


class IllegalMove(Exception):
    """An item's state cannot become that one: a fault of ours, not of a host."""


@dataclass(frozen=True, slots=True)
class Target:
    """One client that a task is to move. What is `settled` ends at once, with a code and a message."""

    instance_id: str
    client_id: str = ""
    package: str = ""
    platform: str = ""
    from_version: str = ""
    to_version: str = ""
    settled: tuple[str, str] | None = None
    succeeds: bool = False  # of a settled one


@dataclass(frozen=True, slots=True)
class Item:
    """One client's upgrade."""

    id: str
    task_id: str
    position: int
    account_id: str
    instance_id: str
    client_id: str
    package: str
    platform: str
    kind: Kind
    state: ItemState
    stage: str
    code: str
    message: str
    from_version: str
    to_version: str
    current_version: str
    patience: int
    started_at: datetime | None
    completed_at: datetime | None

    def moved(self, to: ItemState, *, at: datetime, code: str = "", message: str = "") -> "Item":
        """The same upgrade in state `to`. Saying again what is already so changes nothing.

        Raises:
            IllegalMove: its life does not go there.
        """
        if to is self.state:
            return self
        if not may_move(self.state, to):
            raise IllegalMove(f"{self.id}: {self.state} -> {to} ({code})")
        began = self.started_at or (at if to is not ItemState.WAITING else None)
        ended = at if to in FINAL else None
        return replace(self, state=to, code=code, message=message, started_at=began, completed_at=ended)

    @property
    def client_status(self) -> ClientStatus:
        """The client's status as far as this upgrade goes, in the API's words."""
        if self.state is ItemState.SUCCEEDED:
            return WELL[self.kind]
        return UNDER_WAY[self.kind] if self.state in OPEN else UNWELL[self.kind]


@dataclass(frozen=True, slots=True)
class Task:
    """Some clients, to be moved together, and how far that is."""

    id: str
    account_id: str
    kind: Kind
    state: TaskState
    progress: int
    requested_by: str
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    deadline: datetime
    items: tuple[Item, ...] = ()


def start(
    tx: Transaction,
    *,
    kind: Kind,
    account_id: str,
    targets: Sequence[Target],
    requested_by: str,
    seconds: int,
    now: datetime,
    draw: Draw,
) -> str:
    """Write a task down, one item per target in their order, and ring for the worker. Its id.

    A client that is being moved already gets an item that ends with UpgradeInProgress: the live one stays alone.
    """
    deadline = now + timedelta(seconds=seconds)
    task = Task(new_id("t", draw), account_id, kind, TaskState.CREATED, 0, requested_by, now, now, None, deadline)
    busy = _store.live_tasks_of(tx, [t.client_id for t in targets if t.client_id and t.settled is None])
    patience = max(1, seconds - SPARE_SECONDS)
    items = [
        _item(task, position, _unless_busy(target, busy), patience, now, draw)
        for position, target in enumerate(targets)
    ]
    states = [item.state for item in items]
    state = task_state(states)
    finished = state is not TaskState.CREATED
    progress = progress_of([(item.state, item.stage) for item in items], 0)
    _store.add(tx, replace(task, state=state, progress=progress, completed_at=now if finished else None), items)
    under_way = [item for item in items if item.state in OPEN and item.client_id]
    fleet.set_clients(tx, [Change(item.client_id, status=UNDER_WAY[kind]) for item in under_way], now=now)
    tx.ring(TOPIC)
    return task.id


def known_token(tx: Transaction, account_id: str, token: str, fingerprint: str, *, now: datetime) -> str | None:
    """The task that this ClientToken started, None if it is new.

    Raises:
        TokenReused: it came with other parameters before.
    """
    known = _store.token(tx, account_id, token, now)
    if known is None:
        return None
    if known.fingerprint != fingerprint:
        raise TokenReused
    return str(known.task_id)


def remember_token(
    tx: Transaction, account_id: str, token: str, fingerprint: str, task_id: str, *, until: datetime
) -> bool:
    """Bind a token to a task. False if another request bound it first: then this transaction must be undone."""
    return _store.add_token(tx, account_id, token, fingerprint, task_id, until)


def read(tx: Transaction, account_id: str, task_id: str) -> Task | None:
    """A task of this account with its items in request order."""
    return _store.task(tx, account_id, task_id)


def find(tx: Transaction, account_id: str, page: fleet.Page) -> fleet.Found[Task]:
    """An account's tasks without their items, newest first."""
    return _store.tasks_page(tx, account_id, page)


def cancel(tx: Transaction, account_id: str, task_id: str, *, now: datetime) -> bool:
    """End what is open with TaskCancelled and stop its commands. False if the account has no such task.

    A host that has begun to switch finishes or goes back by itself; its report still tells the truth about the client.
    """
    task = _store.task(tx, account_id, task_id, lock=True)
    if task is None:
        return False
    end_open(tx, task, ItemState.CANCELLED, "TaskCancelled", "the task was cancelled by an operator", now=now)
    return True


def end_open(tx: Transaction, task: Task, to: ItemState, code: str, message: str, *, now: datetime) -> None:
    """End every open item of a task this way, and with that the task."""
    open_items = [item for item in task.items if item.state in OPEN]
    ended = [item.moved(to, at=now, code=code, message=message) for item in open_items]
    _store.update(tx, ended)
    commands.stop(tx, TOPIC, [item.id for item in open_items], now=now)
    # The host's word is still out: until it comes, what is known of the client is what was known before.
    unsure = [Change(item.client_id, status=UNWELL[item.kind]) for item in open_items if item.client_id]
    fleet.set_clients(tx, unsure, now=now)
    settle(tx, [task.id], now=now)


def settle(tx: Transaction, task_ids: Sequence[str], *, now: datetime) -> None:
    """Bring tasks' state and progress in line with their items."""
    for task in _store.tasks_for_update(tx, sorted(set(task_ids))):
        if task.state is not TaskState.CREATED:
            continue  # over is over: a late report changes the client, not the task
        states = [(item.state, item.stage) for item in task.items]
        state = task_state([item_state for item_state, _ in states])
        progress = progress_of(states, task.progress)
        if (state, progress) != (task.state, task.progress):
            completed = now if state is not TaskState.CREATED else None
            _store.update_task(tx, task.id, state, progress, now, completed)


def purge(tx: Transaction, *, before: datetime) -> None:
    """Forget tasks that ended before this moment, with their commands and tokens."""
    _store.drop_before(tx, before)
    commands.drop_before(tx, TOPIC, before)


def _unless_busy(target: Target, busy: dict[str, str]) -> Target:
    running = busy.get(target.client_id)
    if running is None or target.settled is not None:
        return target
    return replace(target, settled=("UpgradeInProgress", f"task {running} is at it"))


def _item(task: Task, position: int, target: Target, patience: int, now: datetime, draw: Draw) -> Item:
    item = Item(
        id=new_id("u", draw),
        task_id=task.id,
        position=position,
        account_id=task.account_id,
        instance_id=target.instance_id,
        client_id=target.client_id,
        package=target.package,
        platform=target.platform,
        kind=task.kind,
        state=ItemState.WAITING,
        stage="",
        code="",
        message="",
        from_version=target.from_version,
        to_version=target.to_version,
        current_version=target.from_version,
        patience=patience,
        started_at=None,
        completed_at=None,
    )
    if target.settled is None:
        return item
    code, message = target.settled
    to = ItemState.SUCCEEDED if target.succeeds else ItemState.FAILED
    return item.moved(to, at=now, code=code, message=message)
