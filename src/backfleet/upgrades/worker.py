"""The loop that moves upgrades on: end what is out of time, collect what came back, send what waits.

Any number of replicas may run it at once: each step takes its rows for itself, in small batches, one transaction each,
and does nothing the second time.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from backfleet import commands, fleet
from backfleet.carriers.bootstrap import MOST_ASKED, Bootstrap, command_for, read_reference, reference_of, references_of
from backfleet.commands import NewInvocation, Outcome, State
from backfleet.failpoints import failpoint
from backfleet.fleet import AgentKind, Change
from backfleet.ids import Draw
from backfleet.storage import Database, Transaction
from backfleet.upgrades import _store
from backfleet.upgrades.ending import TOPIC, expire, settle
from backfleet.upgrades.items import Item
from backfleet.upgrades.outcomes import Judgement, Later, judge
from backfleet.upgrades.states import ItemState
from backfleet.upgrades.tasks import Task
from backfleet_host.contract import LONGEST_PATIENCE, Order

AT_ONCE = 50  # items of one transaction: nobody is kept waiting long behind it
TASKS_AT_ONCE = 10  # tasks ended in one look; each may have a hundred items and has a transaction of its own
SPARE = timedelta(seconds=60)  # of a task's time that the host does not get: for going back, and for its report

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sending:
    """What every order of one look is made with."""

    now: datetime
    draw: Draw
    bringing: Bootstrap | None
    most_per_second: int


def run_once(
    database: Database, *, now: datetime, draw: Draw, bringing: Bootstrap | None = None, most_per_second: int = 0
) -> bool:
    """One look; True if there may be more to do at once.

    `bringing` is for hosts whose agents are not ours; `most_per_second` is how many bytes a host may download, 0 = any.
    """
    sending = Sending(now, draw, bringing, most_per_second)
    with database.reading() as tx:
        overdue = _store.overdue(tx, now, TASKS_AT_ONCE)
        something_waits = _store.anything_waiting(tx, now)
    for task in overdue:
        _expire(database, task, now)
    more = _collect(database, sending)
    if something_waits:
        more = _send_waiting(database, sending) or more
    return more or len(overdue) == TASKS_AT_ONCE


def _expire(database: Database, task: Task, now: datetime) -> None:
    with database.transaction() as tx:
        expire(tx, task, now=now)
    log.info("a task expired", extra={"task_id": task.id})


# --- Sending --------------------------------------------------------------------------------------------------------


def _send_waiting(database: Database, sending: Sending) -> bool:
    with database.transaction() as tx:
        waiting = _store.take_waiting(tx, sending.now, AT_ONCE)
        if waiting:
            _send(tx, waiting, sending)
    if waiting:
        failpoint("commands sent")
    return len(waiting) == AT_ONCE


def _send(tx: Transaction, waiting: Sequence[Item], sending: Sending) -> None:
    now = sending.now
    tasks = _store.tasks_by_id(tx, list({item.task_id for item in waiting}))
    sent = [sent_item(item, tasks[item.task_id].deadline - now, now) for item in waiting]
    foreign = _official(tx, [item.instance_id for item in sent]) if sending.bringing else set()
    orders = _orders(tx, sent, sending.most_per_second)
    sends = [
        NewInvocation(
            account_id=item.account_id,
            instance_id=item.instance_id,
            content=_content(orders[item.id], sending.bringing if item.instance_id in foreign else None),
            timeout_seconds=seconds_of(tasks[item.task_id].deadline - now),
            reference=item.id,
        )
        for item in sent
    ]
    commands.send(tx, sends, topic=TOPIC, now=now, draw=sending.draw)
    _store.update(tx, sent)
    settle(tx, tasks, now=now)


def _orders(tx: Transaction, items: Sequence[Item], most_per_second: int) -> dict[str, Order]:
    """Each item's order, with what is set for its client and who must read what it writes."""
    client_ids = [item.client_id for item in items if item.client_id]
    wished, readers = fleet.preferences_of(tx, client_ids), fleet.oldest_readers(tx, client_ids)
    return {
        item.id: replace(
            item.order(),
            settings=wished[item.client_id].as_dict() if item.client_id in wished else {},
            oldest_reader=readers.get(item.client_id, ""),
            bytes_per_second=most_per_second,
        )
        for item in items
    }


def _official(tx: Transaction, instance_ids: Sequence[str]) -> set[str]:
    kinds = fleet.agent_kinds(tx, instance_ids)
    return {instance_id for instance_id, kind in kinds.items() if kind is AgentKind.OFFICIAL}


def _content(order: Order, bringing: Bootstrap | None) -> str:
    return order.as_command() if bringing is None else command_for(order, bringing)


def sent_item(item: Item, left: timedelta, now: datetime) -> Item:
    """The item as it is sent, with `left` of its task's time: the host gets most of that, however late it is sent."""
    patience = seconds_of(left - min(SPARE, left / 5))
    return replace(item.moved(ItemState.SENT, at=now), patience=min(patience, LONGEST_PATIENCE))


def seconds_of(left: timedelta) -> int:
    """Whole seconds, at least one."""
    return max(1, int(left.total_seconds()))


# --- Collecting -----------------------------------------------------------------------------------------------------


def _collect(database: Database, sending: Sending) -> bool:
    with database.transaction() as tx:
        news = commands.outcomes(tx, TOPIC, limit=AT_ONCE)
        ended = _take(tx, news, sending.now) if news else []
        if sending.bringing is not None:
            _ask_again(tx, news, sending, sending.bringing)
    if news:
        failpoint("outcome collected")
    for item in ended:
        _log_end(item)
    return len(news) == AT_ONCE


def _take(tx: Transaction, news: Sequence[Outcome], now: datetime) -> list[Item]:
    """Write down what this news means; the items that it ended."""
    known = _store.items_for_update(tx, list({read_reference(outcome.reference)[0] for outcome in news}))
    tasks = _store.tasks_by_id(tx, list({item.task_id for item in known.values()}))
    later = _what_came_later(tx, list(known.values()), tasks)
    judged, standing = [], dict(known)  # one item may have several commands: each is judged by what the last one told
    for outcome in news:
        item = standing.get(read_reference(outcome.reference)[0])
        if item is not None:  # a purged one is nobody's
            judged.append(_judge(item, outcome, tasks, later, now))
            standing[item.id] = judged[-1].item
    moved = [item for item in standing.values() if item != known[item.id]]
    _store.update(tx, moved)
    fleet.set_clients(tx, _changes(judged, tasks), now=now)
    commands.mark_collected(tx, news)
    # Out of time before the sweep came by: once its task is over, nothing else would stop it.
    expired = [item.id for item in moved if item.state is ItemState.EXPIRED]
    commands.stop(tx, TOPIC, references_of(expired), now=now)
    settle(tx, [item.task_id for item in moved], now=now)
    return [item for item in moved if known[item.id].is_open and not item.is_open]


def _ask_again(tx: Transaction, news: Sequence[Outcome], sending: Sending, bringing: Bootstrap) -> None:
    """Lost outcomes of hosts with other agents: the same order once more, which the host answers from its journal.

    Our own agent needs no asking: it reports until it is heard.
    """
    lost = {outcome.reference for outcome in news if outcome.state is State.LOST}
    again = {item_id: number + 1 for item_id, number in map(read_reference, lost) if number < MOST_ASKED}
    items = [item for item in _store.items_for_update(tx, list(again)).values() if item.state is ItemState.LOST]
    foreign = _official(tx, [item.instance_id for item in items]) if items else set()
    tasks = _store.tasks_by_id(tx, list({item.task_id for item in items}))
    orders = _orders(tx, items, sending.most_per_second)
    sends = [
        NewInvocation(
            account_id=item.account_id,
            instance_id=item.instance_id,
            content=command_for(orders[item.id], bringing),
            timeout_seconds=seconds_of(tasks[item.task_id].deadline - sending.now),
            reference=reference_of(item.id, again[item.id]),
        )
        for item in items
        if item.instance_id in foreign
    ]
    if sends:
        commands.send(tx, sends, topic=TOPIC, now=sending.now, draw=sending.draw)


def _judge(
    item: Item, outcome: Outcome, tasks: Mapping[str, Task], later: Mapping[str, Later], now: datetime
) -> Judgement:
    deadline = tasks[item.task_id].deadline
    return judge(item, outcome, deadline=deadline, later=later.get(item.id, Later()), now=now)


def _changes(judged: Sequence[Judgement], tasks: Mapping[str, Task]) -> list[Change]:
    """What is now known of clients; of two orders for one client the later one's word comes last, and stays."""
    oldest_first = sorted(judged, key=lambda judgement: tasks[judgement.item.task_id].created_at)
    return [judgement.change for judgement in oldest_first if judgement.change is not None]


def _what_came_later(tx: Transaction, items: Sequence[Item], tasks: Mapping[str, Task]) -> dict[str, Later]:
    """For items that were over before this news: what has happened to their clients since."""
    over = [item for item in items if item.client_id and not item.is_open]
    if not over:
        return {}
    since = min(tasks[item.task_id].created_at for item in over)
    others = _store.items_since(tx, [item.client_id for item in over], since)
    return {item.id: later_than(item, tasks[item.task_id].created_at, others) for item in over}


def later_than(item: Item, asked_at: datetime, others: Sequence[tuple[Item, datetime]]) -> Later:
    """What those of `others` that are the same client's, and were asked for later, say."""
    after = [other for other, at in others if other.client_id == item.client_id and at > asked_at]
    told = (ItemState.SUCCEEDED, ItemState.FAILED)
    return Later(
        live=any(other.is_open for other in after),
        heard=any(other.state in told and other.stage for other in after),
    )


def _log_end(item: Item) -> None:
    facts = {"task_id": item.task_id, "instance_id": item.instance_id, "client_id": item.client_id}
    log.info("%s of a client: %s", item.kind.value, item.state.value, extra={**facts, "code": item.code})
