"""What an order that ended is in a trace: its command, its time on the host, its report, and its task if it is over."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from backfleet import tracing
from backfleet.carriers import Outcome
from backfleet.storage import Database
from backfleet.tracing import Span
from backfleet.upgrades import _store
from backfleet.upgrades.model import Item, Task
from backfleet.upgrades.states import ItemState, TaskState

_LATEST_MILLISECONDS = 4_102_444_800_000  # the year 2100


def record(database: Database, ended: Sequence[Item], outcomes: Mapping[str, Outcome], now: datetime) -> None:
    """Record the spans of orders that ended, if traces are on.

    Args:
        database: Where their tasks are.
        ended: The items.
        outcomes: What hosts sent, by the item's id.
        now: When it was collected.
    """
    if not ended or not tracing.is_on():
        return
    tasks = _tasks(database, {item.task_id for item in ended})
    for item in ended:
        if item.task_id in tasks and item.id in outcomes:
            for span in spans_of(tasks[item.task_id], item, outcomes[item.id], now):
                tracing.record(span)
    _record_over(tasks)


def record_tasks(database: Database, task_ids: Sequence[str]) -> None:
    """Record the spans of those of these tasks that are over, if traces are on."""
    if task_ids and tracing.is_on():
        _record_over(_tasks(database, task_ids))


def _tasks(database: Database, task_ids: Collection[str]) -> Mapping[str, Task]:
    with database.reading() as tx:
        return _store.tasks_by_id(tx, sorted(task_ids))


def _record_over(tasks: Mapping[str, Task]) -> None:
    for task in tasks.values():
        if task.completed_at is not None:
            tracing.record(task_span(task))


def task_span(task: Task) -> Span:
    """Return a task that is over, below the call that started it."""
    place, call = tracing.parent_of("task", task.id, task.traceparent), tracing.read_traceparent(task.traceparent)
    return Span(
        name=f"task {task.kind.value}",
        trace_id=place.trace_id,
        span_id=place.span_id,
        parent_id=call.span_id if call else "",
        began=task.created_at,
        ended=task.completed_at or task.updated_at,
        attributes={"task_id": task.id, "account_id": task.account_id, "state": task.state.value},
        error="" if task.state is TaskState.COMPLETED and task.progress == 100 else "not every host succeeded",
    )


def spans_of(task: Task, item: Item, outcome: Outcome, now: datetime) -> Iterator[Span]:
    """Yield the command of an order, what its host did, and its report: each below the one before."""
    whole = tracing.parent_of("task", task.id, task.traceparent)
    ids = {"task_id": task.id, "instance": item.instance_id, "client_id": item.client_id, "command_id": outcome.task_id}
    facts = {"package": item.package, "from_version": item.from_version, "to_version": item.to_version}
    error = "" if item.state is ItemState.SUCCEEDED else item.code or item.state.value
    above, moments = whole.span_id, _moments(task, outcome, now)
    for name, (began, ended) in moments.items():
        place = tracing.parent_of(name, outcome.task_id, task.traceparent)
        yield Span(
            name=f"{name} {item.kind.value}",
            trace_id=whole.trace_id,
            span_id=place.span_id,
            parent_id=above,
            began=began,
            ended=ended,
            attributes={**ids, **facts, "order_id": item.id, "stage": item.stage, "code": item.code},
            error=error,
        )
        above = place.span_id


def _moments(task: Task, outcome: Outcome, now: datetime) -> dict[str, tuple[datetime, datetime]]:
    """Return when each part began and ended. What the host did is by the host's clock."""
    found = {"command": (task.created_at, outcome.changed_at)}
    began, ended = _at(outcome.started_ms), _at(outcome.ended_ms)
    if began is not None and ended is not None:
        found["host"] = (began, max(began, ended))
    return {**found, "report": (outcome.changed_at, now)}


def _at(milliseconds: int | None) -> datetime | None:
    """Return a moment that a host named; None if it named none, or one that no clock shows."""
    if not milliseconds or not 0 < milliseconds < _LATEST_MILLISECONDS:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
