"""What tasks and orders that ended are in a trace: the task, and of each order its command, its host and its report."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from backfleet import tracing
from backfleet.carriers import Outcome
from backfleet.storage import Database, Transaction
from backfleet.tracing import Span
from backfleet.upgrades import _store
from backfleet.upgrades.model import Item, Task
from backfleet.upgrades.states import ItemState, TaskState

_LATEST_MILLISECONDS = 4_102_444_800_000  # the year 2100


def record(
    database: Database, ended: Sequence[Item], late: Sequence[Item], outcomes: Mapping[str, Outcome], now: datetime
) -> None:
    """Record the spans of orders that hosts reported on, if traces are on.

    Args:
        database: Where their tasks are.
        ended: The items that ended with that.
        late: The items that were ended before their hosts reported: their commands have spans already.
        outcomes: What hosts sent, by the item's id.
        now: When it was collected.
    """
    if not (ended or late) or not tracing.is_on():
        return
    with database.reading() as tx:
        tasks = _store.tasks_by_id(tx, sorted({item.task_id for item in (*ended, *late)}))
    over_early = {item.id for item in late}
    for item in (*ended, *late):
        if item.task_id in tasks and item.id in outcomes:
            for span in spans_of(tasks[item.task_id], item, outcomes[item.id], now):
                if not (item.id in over_early and span.name.startswith("command ")):
                    tracing.record(span)


def record_over(tx: Transaction, task_ids: Collection[str]) -> None:
    """Record the spans of tasks that this transaction ends, once it is committed and if traces are on."""
    if task_ids and tracing.is_on():
        tasks = _store.tasks_by_id(tx, sorted(task_ids))
        _record_later(tx, [task_span(task) for task in tasks.values() if task.completed_at is not None])


def record_early(tx: Transaction, ended: Sequence[Item]) -> None:
    """Record the spans of commands that this transaction ends without their hosts: cancelled, or out of time."""
    if ended and tracing.is_on():
        tasks = _store.tasks_by_id(tx, sorted({item.task_id for item in ended}))
        _record_later(tx, [early_span(tasks[item.task_id], item) for item in ended if item.task_id in tasks])


def _record_later(tx: Transaction, spans: Sequence[Span]) -> None:
    for span in spans:
        tx.after_commit(partial(tracing.record, span))


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
    above = tracing.parent_of("task", task.id, task.traceparent).span_id
    for name, (began, ended) in _moments(task, outcome, now).items():
        span = _span(name, task, item, above, began, ended)
        yield replace(span, attributes={**span.attributes, "command_id": outcome.task_id})
        above = span.span_id


def early_span(task: Task, item: Item) -> Span:
    """Return the command of an order that ended without its host, below its task."""
    above, ended = tracing.parent_of("task", task.id, task.traceparent).span_id, item.completed_at or task.updated_at
    return _span("command", task, item, above, task.created_at, max(task.created_at, ended))


def _span(name: str, task: Task, item: Item, above: str, began: datetime, ended: datetime) -> Span:
    """Return a part of an order. Its id is that of the item, which has one order at a time."""
    place = tracing.parent_of(name, item.id, task.traceparent or str(tracing.parent_of("task", task.id)))
    ids = {"task_id": task.id, "instance": item.instance_id, "client_id": item.client_id, "order_id": item.id}
    facts = {"package": item.package, "from_version": item.from_version, "to_version": item.to_version}
    return Span(
        name=f"{name} {item.kind.value}",
        trace_id=place.trace_id,
        span_id=place.span_id,
        parent_id=above,
        began=began,
        ended=ended,
        attributes={**ids, **facts, "stage": item.stage, "code": item.code},
        error="" if item.state is ItemState.SUCCEEDED else item.code or item.state.value,
    )


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
