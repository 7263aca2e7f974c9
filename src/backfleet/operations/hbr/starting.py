"""From a call that asks for a task to the task: once per ClientToken, in one transaction.

One call, in order, once it is clear in which account it acts:
 1. resolve the ids, and find which instances are reachable
 2. if its ClientToken is known: answer with the task that it started
 3. if it is about one instance or client only, and that cannot be given work: refuse the call; if it is about several
    and none can be given work: start no task
 4. plan what is to be done with each client; if a running task does just that: answer with it
 5. store the task, its items and the token, in the same transaction as 1 to 4

The task belongs to the account of the caller, its items to the account whose clients they move.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any, Final

from backfleet import fleet, identity, upgrades
from backfleet.failpoints import failpoint
from backfleet.operations.catalogue import Call
from backfleet.operations.hbr.answers import no_task_answer, started_answer
from backfleet.operations.hbr.errors import TokenMismatch
from backfleet.operations.hbr.identifiers import NamedIds
from backfleet.operations.hbr.selection import Selection, is_unfit, select
from backfleet.operations.held import refuse_orders
from backfleet.storage import Conflict, Transaction
from backfleet.upgrades import Kind, NewTask, Task, TaskTarget
from backfleet.values import value_object
from backfleet.wire.errors import OperationConflict

TRIES: Final = 3  # of a transaction that met a conflict
Plan = Callable[[Transaction, Selection], list[TaskTarget]]
"""Returns what is to be done, once the ids are resolved."""


@value_object
class TaskRequest:
    """One call that asks for a task."""

    call: Call
    there: Call  # the same call as it acts: in its own account, or in another one
    kind: Kind
    named: NamedIds
    plan: Plan
    asked: Any  # the typed parameters
    client_token: str | None = None
    label: str = ""  # what the task is called, if not by its kind


def start_task(request: TaskRequest) -> dict[str, Any]:
    """Resolve, plan and start in one transaction; again from the beginning if another call was first.

    Returns:
        The answer of the call.

    Raises:
        OperationConflict: another call was first, TRIES times.
        ServerHeld: the server was restored, and no operator has looked yet.
    """
    refuse_orders(request.call)
    for _ in range(TRIES):
        try:
            with request.call.services.database.transaction() as tx:
                answer = _start_in(tx, request)
        except Conflict:
            continue
        failpoint("task stored")
        return answer
    raise OperationConflict("Other calls keep changing the same clients. Ask again.")


def select_for(tx: Transaction, there: Call, named: NamedIds, *, waits: bool) -> Selection:
    """Return what ids name where a call acts.

    Args:
        tx: the transaction to read in.
        there: the call as it acts.
        named: the ids.
        waits: the task waits for hosts that are away.
    """
    found = fleet.resolve(tx, there.account_id, there.region, named.instances, named.clients)
    reachable_within = timedelta(seconds=there.services.settings.fit_seconds)
    task_time = timedelta(seconds=there.services.settings.task_seconds)
    return select(named, found, now=there.now, reachable_within=reachable_within, task_time=task_time, waits=waits)


def planned(tx: Transaction, selected: Selection, plan: Plan, now: datetime) -> list[TaskTarget]:
    """Return what is to be done with each client that is selected, and why it is refused where it is."""
    targets = selected.with_dials(selected.with_unfit(plan(tx, selected)))
    clones = fleet.clones_of(tx, list({target.instance_id for target in targets}), now=now)
    return upgrades.refuse_clones(targets, clones)


def _start_in(tx: Transaction, request: TaskRequest) -> dict[str, Any]:
    call, there = request.call, request.there
    expires_in = getattr(request.asked, "expires_in_seconds", None)
    waits = expires_in is not None
    selected = select_for(tx, there, request.named, waits=waits)
    failpoint("targets resolved")
    fingerprint = "" if request.client_token is None else _fingerprint(request.kind, request.asked)
    known = _known_task(tx, call, request.client_token, fingerprint)
    if known is not None:
        return started_answer(known.id, _repeated_lines(selected, known))
    selected.refuse_if_alone()
    if not selected.reachable and not selected.found.clients:
        return no_task_answer(selected.lines)
    new = NewTask(
        kind=request.kind,
        account_id=call.account_id,
        clients_account_id=there.account_id,
        targets=planned(tx, selected, request.plan, call.now),
        requested_by=call.caller.arn,
        label=request.label,
        client_token=request.client_token,
        fingerprint=fingerprint,
        names_version=bool(getattr(request.asked, "release_version", None)),
        expires_in=timedelta(seconds=expires_in) if expires_in is not None else None,
        caller=identity.write_caller(call.caller) if waits else "",
        traceparent=call.traceparent,
    )
    running = upgrades.running_like(tx, new, now=call.now)
    if running is not None:
        upgrades.remember_token(
            tx, new, running.id, until=call.now + timedelta(hours=call.services.settings.token_hours)
        )
        return started_answer(running.id, _repeated_lines(selected, running))
    task = upgrades.start(tx, new, now=call.now, draw=call.services.draw, settings=call.services.settings)
    return started_answer(task.id, selected.lines)


def _known_task(tx: Transaction, call: Call, token: str | None, fingerprint: str) -> Task | None:
    if token is None:
        return None
    try:
        return upgrades.started_before(tx, call.account_id, token, fingerprint, now=call.now)
    except upgrades.TokenReused:
        raise TokenMismatch from None


def _repeated_lines(selected: Selection, task: Task) -> list[dict[str, object]]:
    """Return InstanceStatuses for a repeated call: an instance that the task took in was valid, and stays so."""
    taken = {item.instance_id for item in task.items if not is_unfit(item)}
    return [
        {**line, "ValidInstance": True, "ErrorCode": ""} if line["InstanceId"] in taken else line
        for line in selected.lines
    ]


def _fingerprint(kind: Kind, asked: Any) -> str:
    """Return a digest of what was asked, ClientToken excepted, from which nothing of it can be read back."""
    values = {field.name: getattr(asked, field.name) for field in fields(asked) if field.name != "client_token"}
    for name in ("release_version", "expires_in_seconds"):
        if values.get(name) is None:  # digests of calls without it are as they were before it existed
            values.pop(name, None)
    return hashlib.sha256(json.dumps([kind.value, values], sort_keys=True, default=asdict).encode()).hexdigest()
