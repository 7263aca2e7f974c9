"""One client's upgrade: what is asked for it, where it stands, and the order that carries it to the host."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from backfleet.fleet import ClientStatus
from backfleet.upgrades.states import FINAL, OPEN, ItemState, Kind, may_move
from backfleet_host.contract import Order

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


class IllegalMove(Exception):
    """An item's state cannot become that one: a fault of ours, not of a host."""


@dataclass(frozen=True, slots=True)
class TaskTarget:
    """One client that a task is to move. What is `settled` ends at once, with a code and a message."""

    instance_id: str
    client_id: str = ""  # "" where there is none
    package: str = ""
    platform: str = ""
    from_version: str = ""
    to_version: str = ""  # "" where it is to go, or to go nowhere
    settled: tuple[str, str] | None = None
    succeeded: bool = False  # of a settled one
    remove_state: bool = False  # an uninstall that takes the client's configuration and state along
    tries_again: bool = False  # also a version that the host has taken back a short while ago


@dataclass(frozen=True, slots=True)
class Item:
    """One client's upgrade. Its id is also the order's: a host that is given it twice answers from its journal."""

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
    current_version: str  # what the host last told
    patience: int  # seconds the order gave the host; 0 until it is sent
    started_at: datetime | None  # when the host was first heard of it
    completed_at: datetime | None
    remove_state: bool = False
    tries_again: bool = False

    def moved(self, to: ItemState, *, at: datetime, code: str = "", message: str = "") -> "Item":
        """The same upgrade in state `to`. Saying again what is already so changes nothing.

        Raises:
            IllegalMove: its life does not go there.
        """
        if to is self.state:
            return self
        if not may_move(self.state, to):
            raise IllegalMove(f"{self.id}: {self.state} -> {to} ({code})")
        began = self.started_at or (at if to is ItemState.RUNNING else None)
        ended = at if to in FINAL else None
        return replace(self, state=to, code=code, message=message, started_at=began, completed_at=ended)

    @property
    def is_open(self) -> bool:
        """Whether anything may still become of it."""
        return self.state in OPEN

    @property
    def client_status(self) -> ClientStatus:
        """The client's status as far as this upgrade goes."""
        if self.state is ItemState.SUCCEEDED:
            return WELL[self.kind]
        return UNDER_WAY[self.kind] if self.is_open else UNWELL[self.kind]

    def order(self) -> Order:
        """What the host is told.

        Raises:
            Malformed: it could not be told that; `start` lets no such item into the table.
        """
        return Order(
            self.id,
            self.kind.value,
            self.package,
            self.to_version,
            self.platform,
            max(1, self.patience),
            remove_state=self.remove_state,
            tries_again=self.tries_again,
        )


def item_for(
    target: TaskTarget, *, item_id: str, task_id: str, position: int, account_id: str, kind: Kind, now: datetime
) -> Item:
    """A new item: waiting, or born final if its target is settled."""
    state, (code, message) = ItemState.WAITING, target.settled or ("", "")
    if target.settled is not None:
        state = ItemState.SUCCEEDED if target.succeeded else ItemState.FAILED
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
        patience=0,
        started_at=None,
        completed_at=now if state in FINAL else None,
        remove_state=target.remove_state,
        tries_again=target.tries_again,
    )
