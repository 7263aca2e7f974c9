"""One task: some clients, to be moved together, and how far that is."""

from dataclasses import dataclass, replace
from datetime import datetime

from backfleet.upgrades.items import Item
from backfleet.upgrades.progress import FAILED
from backfleet.upgrades.states import ItemState, Kind, TaskState

EXPIRED = (
    "TaskExpired",
    "the task's time was over; the host finishes or goes back by itself, and its word will be recorded",
)
CANCELLED = (
    "TaskCancelled",
    "the task was cancelled; a host that has begun to switch finishes or goes back by itself",
)


@dataclass(frozen=True, slots=True)
class Task:
    """Some clients, to be moved together. `items` are in the order they were asked for."""

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
    label: str = ""  # what its asker calls it; "" = by its kind

    def is_overdue(self, now: datetime) -> bool:
        """Whether it is open past its deadline, because no worker came by yet."""
        return self.state is TaskState.CREATED and now >= self.deadline

    def as_of(self, now: datetime) -> "Task":
        """What must be told of it now: past its deadline it has expired, whether or not a worker came by."""
        if not self.is_overdue(now):
            return self
        end = self.deadline
        items = tuple(expired(item, at=end) if item.is_open else item for item in self.items)
        return replace(self, state=TaskState.EXPIRED, progress=FAILED, updated_at=end, completed_at=end, items=items)


def expired(item: Item, *, at: datetime) -> Item:
    """An open item whose task's time is over."""
    code, message = EXPIRED
    return item.moved(ItemState.EXPIRED, at=at, code=code, message=message)
