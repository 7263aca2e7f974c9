"""Items that wait for their hosts, because their caller said for how long: until the host is back, or is idle.

What may have changed meanwhile is judged again when an order leaves: the caller's permission, pins, and whether the
version is still offered. Every order of an item has an id of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from backfleet import carriers, fleet, releases
from backfleet.carriers import Reached
from backfleet.fleet import Change, ClientStatus, Failure, Hold, Instance, Pin, Place, Reachability
from backfleet.ids import Draw, new_id
from backfleet.storage import Transaction
from backfleet.upgrades import _store, traces
from backfleet.upgrades.ending import TOPIC, update_tasks
from backfleet.upgrades.model import CANCELLED_CODE, KEEPS_VERSION, LONGEST_PAUSE, Item, Task
from backfleet.upgrades.outcomes import LONGEST_MESSAGE, Judgement
from backfleet.upgrades.planning import PINNED, pinned_text
from backfleet.upgrades.states import ItemState, Kind
from backfleet_host.versions import scheme_of

EXPIRED_CODE: Final = "WaitExpired"
SUPERSEDED_CODE: Final = "Superseded"
NO_PERMISSION: Final = "NoPermission"
BUSY: Final = frozenset({"BackupRunning", "HostBusy", "UpgradeInProgress"})
"""Codes of hosts that touched nothing and may take another order later; so is whatever they only deferred."""
FIRST_PAUSE: Final = timedelta(minutes=5)
REACHABLE_WITHIN: Final = timedelta(seconds=180)  # unless the settings say otherwise
WITH_VERSION: Final = (Kind.UPGRADE, Kind.INSTALL, Kind.PRECHECK, Kind.STAGE, Kind.ROLL_BACK)

StillMay = Callable[[Transaction, str, Kind, Mapping[str, str], datetime], dict[str, str]]
"""Returns why a caller may no longer move clients, by client: (transaction, caller, kind, instance by client, now)."""


def nobody_is_refused(
    _tx: Transaction, _caller: str, _kind: Kind, _clients: Mapping[str, str], _now: datetime
) -> dict[str, str]:
    """Return that everybody may still do what they asked for."""
    return {}


# --- What people are shown ------------------------------------------------------------------------------------------


def with_reasons(tx: Transaction, task: Task, *, now: datetime, reachable_within: timedelta) -> Task:
    """Return a task of which every item that waits says for what, and until when at the latest."""
    waiting = [item for item in task.items if item.waits]
    if not waiting:
        return task
    on = fleet.instances_of(tx, waiting[0].account_id, [item.instance_id for item in waiting])
    shown = [
        replace(item, message=wait_text(item, on.get(item.instance_id), now=now, reachable_within=reachable_within))
        if item.waits
        else item
        for item in task.items
    ]
    return replace(task, items=tuple(shown))


def wait_text(item: Item, on: Instance | None, *, now: datetime, reachable_within: timedelta) -> str:
    """Return what a waiting item waits for, since when, and until when at the latest. Pure."""
    end = "" if item.waits_until is None else f", until {_text(item.waits_until)} at the latest"
    why = absence(on, now=now, reachable_within=reachable_within)
    if why:
        return f"waiting: {why}{end}"
    if item.not_before is not None and item.not_before > now:
        return f"waiting: {item.message}; its host is asked again at {_text(item.not_before)}{end}"
    return f"waiting: its order leaves within seconds{end}"


def absence(on: Instance | None, *, now: datetime, reachable_within: timedelta) -> str:
    """Return why an instance cannot be given work, and since when; "" if it can. Pure."""
    found = fleet.reachability(on, now=now, reachable_within=reachable_within)
    if on is None or found is Reachability.NOT_EXISTS:
        return "its instance was deregistered"
    if found is Reachability.NOT_RUNNING and on.stopped_at is not None:
        return f"stopped since {_text(on.stopped_at)}"
    if found is Reachability.AGENT_NOT_RUNNING:
        since = max(filter(None, (on.reachable_at, on.left_at)), default=on.registered_at)
        return f"offline since {_text(since)}"
    return ""


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


# --- Another order --------------------------------------------------------------------------------------------------


def is_put_off(item: Item, now: datetime) -> bool:
    """Return whether a host put this item's order off, and it may wait for another one."""
    if item.state is not ItemState.FAILED or item.waits_until is None or item.waits_until <= now:
        return False
    if item.code == CANCELLED_CODE:
        return False  # it was withdrawn
    return item.deferred or item.code in BUSY


def after_busy(item: Item, *, now: datetime, draw: Draw) -> Item:
    """Return an item whose host was busy, as it waits for the next order: 5 minutes, then longer, up to an hour."""
    pause = min(FIRST_PAUSE * 2 ** min(item.attempts, 8), LONGEST_PAUSE)
    why = f"busy since {_text(now)} ({item.code}: {item.message})"[:800]
    return item.waiting_again(item_id=new_id("u", draw), message=why, not_before=now + pause)


def after_put_off(judgement: Judgement) -> Judgement:
    """Return what a host that put its order off said, without a failure: its client is as it was."""
    item, change = judgement.item, judgement.change
    if change is None:
        return judgement
    status = ClientStatus.ACTIVATED if item.current_version else ClientStatus.NOT_INSTALLED
    return replace(
        judgement, change=replace(change, status=None if item.kind in KEEPS_VERSION else status, failure=None)
    )


def end_overdue(tx: Transaction, late: Sequence[Item], *, now: datetime, draw: Draw) -> list[Item]:
    """End items whose wait is over, and orders that were out for too long. Return those that ended.

    An order that its host never fetched is withdrawn, and its item waits on.
    """
    seen = {item.id: item.state for item in late}
    reached = carriers.cancel(tx, TOPIC, list(seen), now=now)
    locked = [item for item in _store.items_for_update(tx, list(seen)).values() if item.state is seen[item.id]]
    renewed, ended = {}, []
    for item in locked:
        was_not_fetched = reached.get(item.id) is Reached.NOT_FETCHED and item.state is ItemState.SENT
        if was_not_fetched and item.waits_until is not None and item.waits_until > now:
            renewed[item.id] = item.waiting_again(item_id=new_id("u", draw), message="", not_before=None)
        else:
            ended.append(_ended(item, reached.get(item.id), now))
    _store.update(tx, ended)
    traces.record_early(tx, ended)
    _store.renew(tx, renewed)
    untouched = {item.id for item in locked if item.waits}
    changes = [
        Change(
            item.client_id,
            status=item.new_client_status,
            unsure=True,
            failure=Failure(item.code, item.message, item.to_version, now),
        )
        for item in ended
        if item.id not in untouched
    ]
    back = [Change(item.client_id, status=item.client_status) for item in renewed.values()]
    fleet.set_clients(tx, [change for change in [*changes, *back] if change.client_id], now=now)
    update_tasks(tx, [item.task_id for item in locked], now=now)
    return ended


def _ended(item: Item, reached: Reached | None, now: datetime) -> Item:
    if item.state is not ItemState.WAITING or item.waits_until is None:
        return item.expired(at=item.order_until or now, reached=reached)
    why = f"; it was {item.message}" if item.message else ""
    text = f"its host was not there, or not idle, until {_text(item.waits_until)}{why}; nothing was changed there"
    ended = item.moved(ItemState.EXPIRED, at=item.waits_until, code=EXPIRED_CODE, message=text)
    return replace(ended, deferred=True)


def supersede(tx: Transaction, account_id: str, client_ids: Sequence[str], task_id: str, *, now: datetime) -> None:
    """End what waits for these clients: a later task moves them."""
    waiting = _store.waiting_of(tx, account_id, client_ids)
    text = f"task {task_id} came later for this client; nothing was changed by this one"
    ended = [
        replace(item.moved(ItemState.CANCELLED, at=now, code=SUPERSEDED_CODE, message=text), deferred=True)
        for item in waiting
    ]
    _store.update(tx, ended)
    traces.record_early(tx, ended)
    update_tasks(tx, {item.task_id for item in ended}, now=now)


# --- Judging again --------------------------------------------------------------------------------------------------


def refusals(
    tx: Transaction, items: Sequence[Item], tasks: Mapping[str, Task], still_may: StillMay, *, now: datetime
) -> dict[str, tuple[str, str]]:
    """Return code and message, by item, of those that waited and may no longer be sent."""
    found: dict[str, tuple[str, str]] = {}
    for task_id in {item.task_id for item in items}:
        mine, task = [item for item in items if item.task_id == task_id], tasks[task_id]
        on = fleet.instances_of(tx, mine[0].account_id, [item.instance_id for item in mine])
        here = [item for item in mine if item.instance_id in on]  # what is for the others ends when it is sent
        if not here:
            continue
        places = {(item.instance_id, item.package): item.client_id for item in here}
        holds = fleet.holds_of(tx, here[0].account_id, on[here[0].instance_id].region, places, now=now)
        clients = {item.client_id: item.instance_id for item in here}
        refused = still_may(tx, task.caller, task.kind, clients, now) if task.caller else {}
        for item in here:
            why = (NO_PERMISSION, refused[item.client_id]) if item.client_id in refused else None
            why = why or _pin_refusal(tx, item, holds) or _withdrawal(tx, item)
            if why is not None:
                found[item.id] = why
    return found


def _pin_refusal(tx: Transaction, item: Item, holds: Mapping[Place, Hold]) -> tuple[str, str] | None:
    hold = holds.get((item.instance_id, item.package))
    if hold is None:
        return None
    pin: Pin | None = hold.longest
    if item.to_version:
        scheme = scheme_of(releases.schemes_of(tx, [item.package])[item.package])
        pin = hold.refusing(scheme, item.to_version, item.from_version)
    return None if pin is None else (PINNED, pinned_text(item.package, pin))


def _withdrawal(tx: Transaction, item: Item) -> tuple[str, str] | None:
    if item.kind not in WITH_VERSION or not item.to_version:
        return None
    release = releases.find(tx, item.package, item.to_version, item.platform)
    if release is not None and release.withdrawn_at is None:
        return None
    return "NoRelease", f"{item.package} {item.to_version} was withdrawn while this waited; ask again for another"


def refused(item: Item, why: tuple[str, str], *, now: datetime) -> Item:
    """Return an item that may not be sent any more, as if it had been refused at once; its client is as it was."""
    code, message = why
    message = message[:LONGEST_MESSAGE]
    return replace(item, state=ItemState.FAILED, code=code, message=message, completed_at=now, deferred=True)
