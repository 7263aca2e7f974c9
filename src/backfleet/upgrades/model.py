"""Tasks, their items, and what a new task is made of. Plain values: no SQL."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from backfleet.carriers import Reached
from backfleet.fleet import ClientStatus
from backfleet.upgrades.early_ends import RESTORED, cancelled_text, expired_text
from backfleet.upgrades.progress import FAILED
from backfleet.upgrades.states import FINAL, OPEN, ItemState, Kind, TaskState, may_move
from backfleet.values import changed, value_object
from backfleet_host.contract import Order

STATUS_UNDER_WAY: Final = {
    Kind.UPGRADE: ClientStatus.UPGRADING,
    Kind.INSTALL: ClientStatus.INSTALLING,
    Kind.UNINSTALL: ClientStatus.UNINSTALLING,
    Kind.ROLL_BACK: ClientStatus.UPGRADING,
    Kind.PRECHECK: ClientStatus.ACTIVATED,
    Kind.STAGE: ClientStatus.ACTIVATED,
    Kind.SETTINGS: ClientStatus.ACTIVATED,
}
STATUS_SUCCEEDED: Final = {
    Kind.UPGRADE: ClientStatus.ACTIVATED,
    Kind.INSTALL: ClientStatus.ACTIVATED,
    Kind.UNINSTALL: ClientStatus.NOT_INSTALLED,
    Kind.ROLL_BACK: ClientStatus.ACTIVATED,
    Kind.PRECHECK: ClientStatus.ACTIVATED,
    Kind.STAGE: ClientStatus.ACTIVATED,
    Kind.SETTINGS: ClientStatus.ACTIVATED,
}
STATUS_FAILED: Final = {
    Kind.UPGRADE: ClientStatus.UPGRADE_FAILED,
    Kind.INSTALL: ClientStatus.INSTALL_FAILED,
    Kind.UNINSTALL: ClientStatus.UNINSTALL_FAILED,
    Kind.ROLL_BACK: ClientStatus.UPGRADE_FAILED,
    Kind.PRECHECK: ClientStatus.ACTIVATED,
    Kind.STAGE: ClientStatus.ACTIVATED,
    Kind.SETTINGS: ClientStatus.ACTIVATED,
}

EXPIRED_CODE: Final = "TaskExpired"
CANCELLED_CODE: Final = "TaskCancelled"


def status_after_failure(kind: Kind, version: str, code: str, *, is_deferred: bool = False) -> ClientStatus:
    """Return what is true of a client whose order failed.

    A host that has a version runs it, also if an install of another one failed; what failed is in the client's failure.

    Args:
        kind: of the order.
        version: what its host has, as far as is known; "" = nothing.
        code: of the failure.
        is_deferred: nothing was tried, because the host was not ready.
    """
    if is_deferred:
        return ClientStatus.ACTIVATED if version else ClientStatus.NOT_INSTALLED
    if kind is Kind.INSTALL and version and code != "RollbackFailed":
        return ClientStatus.ACTIVATED
    return STATUS_FAILED[kind]


KEEPS_VERSION: Final = (Kind.PRECHECK, Kind.STAGE, Kind.SETTINGS)
"""What leaves the client's version, and so its status, as they are."""

LONGEST_PAUSE: Final = timedelta(hours=1)
"""Between two orders for a busy host."""


class IllegalMove(Exception):
    """An item cannot go from its state to that one: a fault of this program, not of a host."""


@value_object
class TaskTarget:
    """One client that a task is to move, and where to.

    A target that is `resolved` is refused: its item fails at once with this code and message.
    """

    instance_id: str
    client_id: str = ""  # "" where there is none
    package: str = ""
    platform: str = ""
    from_version: str = ""
    to_version: str = ""  # "" for an uninstall, where it is refused, and where a host rolls back to what it had
    resolved: tuple[str, str] | None = None
    remove_state: bool = False  # an uninstall that removes the client's configuration and state, too
    tries_again: bool = False  # also a version that is quarantined on the host, because it was rolled back there
    note: str = ""  # for people, until the host begins


@value_object
class Origin:
    """Which tasks of an account are meant: those of one origin.

    Tasks of before origins were kept have none: those count that have the topic and the label, and were made within
    these times. They may be of another one of the same label.
    """

    id: str
    topic: str
    label: str
    since: datetime
    until: datetime | None = None  # None = until now


@value_object
class NewTask:
    """Everything that `start` makes a task of.

    The task belongs to `account_id`, its clients to `clients_account_id` where that is another account. A later call
    with the same `client_token` is compared with this one by `fingerprint`.
    """

    kind: Kind
    account_id: str
    targets: Sequence[TaskTarget]
    requested_by: str  # an ARN
    clients_account_id: str = ""  # "" = the same account
    label: str = ""  # what the caller calls the task; "" = by its kind
    topic: str = ""  # published when it ends, or an item of it fails; at most 64 characters; "" = none
    client_token: str | None = None
    names_version: bool = False  # its caller named the version
    expires_in: timedelta | None = None  # its items may wait for their hosts for so long; None = they do not wait
    caller: str = ""  # who is judged again when a waiting order leaves, as `identity.write_caller` writes it
    settings: str = ""  # JSON: those that a task of kind `settings` brings; "" = none
    traceparent: str = ""  # of the call that started it; "" = no traces are recorded
    origin: str = ""  # the id of what started it, where no call did: of a rollout; "" = a call did
    fingerprint: str = ""


@value_object
class Item:
    """One client of a task. Its id is also the order's: a host that gets the order twice answers from its journal."""

    id: str
    task_id: str
    position: int  # in the request, from 0
    account_id: str
    instance_id: str
    client_id: str
    package: str
    platform: str
    kind: Kind
    state: ItemState
    stage: str  # the last step begun on the host
    code: str
    message: str
    from_version: str
    to_version: str
    current_version: str  # as the host last reported it
    timeout_seconds: int  # the order's time budget on the host; 0 until it is sent
    started_at: datetime | None  # when the host first reported on it
    completed_at: datetime | None
    remove_state: bool = False
    tries_again: bool = False
    evidence: str = ""  # what a version printed that was rolled back: first and last lines
    deferred: bool = False  # the host was not ready, and its client is as it was
    waits_until: datetime | None = None  # it may wait for its host until then; None = it does not wait
    order_until: datetime | None = None  # when the order that is out ends; None = with its task
    not_before: datetime | None = None  # its host was busy: it is given another order then
    attempts: int = 0  # orders that its host did not begin, or put off

    def moved(self, to: ItemState, *, at: datetime, code: str = "", message: str = "") -> "Item":
        """Return this item in state `to`; unchanged if it is in that state already.

        Raises:
            IllegalMove: no such move is in the table of states.
        """
        if to is self.state:
            return self
        if not may_move(self.state, to):
            raise IllegalMove(f"{self.id}: {self.state} -> {to} ({code})")
        started_at = self.started_at or (at if to is ItemState.RUNNING else None)
        completed_at = at if to in FINAL else None
        return changed(self, state=to, code=code, message=message, started_at=started_at, completed_at=completed_at)

    def expired(self, *, at: datetime, reached: Reached | None) -> "Item":
        """Return this open item as it is once its task is out of time. How far its order has come decides the words."""
        message = expired_text(self._reached(reached))
        return self.moved(ItemState.EXPIRED, at=at, code=EXPIRED_CODE, message=message)

    def restored(self, *, at: datetime) -> "Item":
        """Return this open item as it is after a restore: it may have ended in any way since the copy was made."""
        return self.moved(ItemState.EXPIRED, at=at, code=EXPIRED_CODE, message=RESTORED)

    def cancelled(self, *, at: datetime, reached: Reached | None) -> "Item":
        """Return this open item as it is once its task is cancelled. How far its order has come decides the words.

        Of an order that no host has fetched nothing was tried: its client is as it was.
        """
        how_far = self._reached(reached)
        ended = self.moved(ItemState.CANCELLED, at=at, code=CANCELLED_CODE, message=cancelled_text(how_far))
        return replace(ended, deferred=self.deferred or how_far is Reached.NOT_FETCHED)

    def _reached(self, known: Reached | None) -> Reached | None:
        """Return how far its host has come; None if that is not known. An order that was not sent was not fetched."""
        by_state = {
            ItemState.WAITING: Reached.NOT_FETCHED, ItemState.RUNNING: Reached.BEGUN, ItemState.LOST: Reached.SILENT
        }  # fmt: skip
        return by_state.get(self.state) if known is None else known

    def waiting_again(self, *, item_id: str, message: str, not_before: datetime | None) -> "Item":
        """Return this open item as it waits for another order.

        Args:
            item_id: its new id: a host answers an order that it has had from its journal.
            message: why.
            not_before: when the next order may leave; None = as soon as its host can be given work.
        """
        return replace(
            self,
            id=item_id,
            state=ItemState.WAITING,
            stage="",
            code="",
            message=message,
            timeout_seconds=0,
            started_at=None,
            completed_at=None,
            evidence="",
            deferred=False,
            order_until=None,
            not_before=not_before,
            attempts=self.attempts + 1,
        )

    @property
    def waits(self) -> bool:
        """Whether it waits for its host, and no order is out."""
        return self.waits_until is not None and self.state is ItemState.WAITING

    @property
    def is_open(self) -> bool:
        """Whether it can still change its state."""
        return self.state in OPEN

    @property
    def goal_version(self) -> str:
        """The version that the order goes to. Where a roll-back left it to the host: what that went to, once known."""
        is_left_to_host = self.kind is Kind.ROLL_BACK and not self.to_version
        return self.current_version if is_left_to_host and self.state is ItemState.SUCCEEDED else self.to_version

    @property
    def client_status(self) -> ClientStatus:
        """The client's status as far as this item goes."""
        if self.state is ItemState.SUCCEEDED:
            return STATUS_SUCCEEDED[self.kind]
        if self.waits:
            return ClientStatus.ACTIVATED if self.current_version else ClientStatus.NOT_INSTALLED
        if self.is_open:
            return STATUS_UNDER_WAY[self.kind]
        return status_after_failure(self.kind, self.current_version, self.code, is_deferred=self.deferred)

    @property
    def new_client_status(self) -> ClientStatus | None:
        """The status that the client gets by this item; None if it keeps its own, as by a precheck."""
        return None if self.kind in KEEPS_VERSION or self.waits else self.client_status

    def order(self, **facts: Any) -> Order:
        """Return the order that the host is given, with further facts that it names.

        Raises:
            Malformed: no order can be made of it; `start` stores no such item.
        """
        return Order(
            self.id,
            self.kind.value,
            self.package,
            self.to_version,
            self.platform,
            max(1, self.timeout_seconds),
            remove_state=self.remove_state,
            tries_again=self.tries_again,
            **facts,
        )


@value_object
class Task:
    """One call's work on some clients. `items` are in the order in which the clients were asked for."""

    id: str
    account_id: str
    kind: Kind
    state: TaskState
    progress: int  # 0 to 99 while open, then 100 or -1
    requested_by: str
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    deadline: datetime
    items: tuple[Item, ...] = ()
    label: str = ""  # what the caller calls it; "" = by its kind
    topic: str = ""  # published when it ends, or an item of it fails; "" = none
    caller: str = ""  # who is judged again when a waiting order leaves; "" = nobody
    settings: str = ""  # JSON: those that it brings; "" = none
    traceparent: str = ""  # of the call that started it; "" = no traces were recorded
    origin: str = ""  # the id of what started it; "" = a call did, or a server of before this was kept

    def is_overdue(self, now: datetime) -> bool:
        """Return whether it is open past its deadline, which means that no worker has come to it yet."""
        return self.state is TaskState.CREATED and now >= self.deadline

    def as_of(self, now: datetime) -> "Task":
        """Return the task as it is to be shown now: past its deadline it has expired, even if no worker noted that."""
        if not self.is_overdue(now):
            return self
        end = self.deadline
        items = tuple(item.expired(at=end, reached=None) if item.is_open else item for item in self.items)
        return replace(self, state=TaskState.EXPIRED, progress=FAILED, updated_at=end, completed_at=end, items=items)


def new_item(
    target: TaskTarget,
    *,
    item_id: str,
    task_id: str,
    position: int,
    account_id: str,
    kind: Kind,
    now: datetime,
    waits_until: datetime | None = None,
) -> Item:
    """Return a new item for a target: waiting, or failed at once if the target is refused."""
    state = ItemState.WAITING if target.resolved is None else ItemState.FAILED
    code, message = target.resolved or ("", target.note)
    return Item(
        id=item_id,
        task_id=task_id,
        position=position,
        account_id=account_id,
        instance_id=target.instance_id,
        client_id=target.client_id,
        package=target.package,
        platform=target.platform,
        kind=kind,
        state=state,
        stage="",
        code=code,
        message=message,
        from_version=target.from_version,
        to_version=target.to_version,
        current_version=target.from_version,
        timeout_seconds=0,
        started_at=None,
        completed_at=now if state in FINAL else None,
        remove_state=target.remove_state,
        tries_again=target.tries_again,
        waits_until=waits_until,
    )


@value_object
class EndedBadly:
    """A task that ended, and not well: how many of its items failed or expired, and the code of one of them."""

    task_id: str
    kind: str
    items: int
    code: str
