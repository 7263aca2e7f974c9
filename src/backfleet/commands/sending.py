"""From the sender to the agent: send, hand out once per lease, stop."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from backfleet import fleet
from backfleet.commands import _store
from backfleet.commands.model import HandedInvocation, Handout, NewInvocation, Reached
from backfleet.commands.states import State
from backfleet.ids import Draw, new_ids
from backfleet.storage import Transaction

WORK: Final = "instance/"  # how a topic begins, before the id of an instance that has work
# Every agent runs 10 at a time and queues the rest. What it has queued cannot be stopped: the official agent runs it
# later all the same. So the queue is kept here. Source: agent wire protocol, sections 7.1 and 7.3.
RUN_AT_ONCE: Final = 10
STOPPED_AT_ONCE: Final = 20  # ids in one task list: long lists make the official agent kill itself
LONGEST_CONTENT: Final = 48 * 1024  # characters
_WITH_AGENT: Final = frozenset({State.HANDED, State.RUNNING})


def topic_of(instance_id: str) -> str:
    """Return the topic that the holder of this instance's socket is subscribed to."""
    return WORK + instance_id


def send(tx: Transaction, asked: Sequence[NewInvocation], *, topic: str, now: datetime, draw: Draw) -> None:
    """Queue invocations and notify their agents. One that was sent before is left as it is.

    What is for an instance that is deregistered has ended at once. None of the others can be deregistered before this
    transaction ends, so that `end_gone` finds what was sent to them.

    Args:
        topic: the sender's: published when an invocation changes; with the reference it names the invocation.

    Raises:
        ValueError: a content is longer than LONGEST_CONTENT.
        Conflict: another transaction was sending the same one; try the whole transaction again.
    """
    for new in asked:
        if len(new.content) > LONGEST_CONTENT:
            raise ValueError(f"a command may have {LONGEST_CONTENT} characters, not {len(new.content)}")
    gone = fleet.keep_registered(tx, [new.instance_id for new in asked])
    if _store.add(tx, list(zip(new_ids("t", draw, len(asked)), asked, strict=True)), topic, now, gone):
        tx.publish(topic)
    for new in asked:
        tx.publish(topic_of(new.instance_id))


def oldest_work_for(tx: Transaction, instance_id: str) -> str | None:
    """Return the id of the oldest invocation that this agent should fetch, to run or to stop it; None if there is none.

    Use it to decide whether the agent needs a kick.
    """
    return _store.oldest_work_for(tx, instance_id)


def instances_with_work(tx: Transaction, *, limit: int) -> list[str]:
    """Return instances, over all accounts, whose agents should fetch their tasks: for when a notification was lost."""
    return _store.instances_with_work(tx, limit)


def has_work(instance_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Return a condition for another module's query: the instance in this column has commands to fetch, or to stop."""
    return _store.has_work(instance_id)


def claim(tx: Transaction, instance_id: str, *, now: datetime, lease: timedelta) -> Handout:
    """Hand the instance's waiting invocations to its agent, each once per lease, and tell it which to stop.

    See `claim_for_each`.
    """
    return claim_for_each(tx, [instance_id], now=now, lease=lease).get(instance_id) or Handout([], [])


def claim_for_each(
    tx: Transaction, instance_ids: Sequence[str], *, now: datetime, lease: timedelta, started: Collection[str] = ()
) -> dict[str, Handout]:
    """Hand the waiting invocations of instances to their agents, each once per lease, and tell them which to stop.

    No agent ever has more than it runs at once; the oldest go first. Replicas that claim for one instance do it one
    after the other, so that together they hand out no more than that. While several hosts claim to be one instance,
    none of them is handed anything: any of them might be the wrong one.

    Args:
        tx: the transaction to write in.
        instance_ids: whose agents ask.
        now: the moment.
        lease: what an invocation gets that is handed out.
        started: those of them whose agents have just started and forgot what they had; see `end_all`.

    Returns:
        What each instance's agent is given; those without work are left out.
    """
    if started:
        fleet.take_turns(tx, instance_ids)  # before any invocation is locked, as of a host that is handed something
        end_all(tx, *started, now=now)
    on = _store.open_on_each(tx, instance_ids)
    on = {
        each: rows for each, rows in on.items() if any(row.state == State.WAITING or _is_to_stop(row) for row in rows)
    }
    if on and fleet.take_turns(tx, list(on)):
        on = _store.open_on_each(tx, list(on))  # as whoever had the turns before left it
    found = {each: Handout([], [row.id for row in on[each] if _is_to_stop(row)][:STOPPED_AT_ONCE]) for each in on}
    next_ones = {each: ids for each, ids in ((each, _next_ones(rows)) for each, rows in on.items()) if ids}
    cloned = fleet.clones_of(tx, list(next_ones), now=now) if next_ones else {}
    wanted = [task_id for each, ids in next_ones.items() if each not in cloned for task_id in ids]
    for row in _store.take(tx, wanted, now, now + lease):
        found[row.instance_id].run.append(
            HandedInvocation(
                row.id, row.content, row.timeout_seconds, row.kind, row.working_directory, row.username, row.termination
            )
        )
    return found


def _is_to_stop(row: _store.Row) -> bool:
    return bool(row.stop_asked) and row.state != State.WAITING


def _next_ones(rows: Sequence[_store.Row]) -> list[str]:
    """Return which of an instance's open invocations its agent may be handed now."""
    free = RUN_AT_ONCE - sum(row.state in _WITH_AGENT for row in rows)
    return [row.id for row in rows if row.state == State.WAITING][: max(0, free)]


def lost_among(tx: Transaction, task_ids: Sequence[str]) -> list[str]:
    """Return those of these invocations that nobody reports on any more."""
    return _store.lost_among(tx, task_ids)


def stop(tx: Transaction, topic: str, references: Sequence[str], *, now: datetime) -> dict[str, Reached]:
    """End a sender's invocations: cancel those that were never handed out, have the others stopped on their hosts.

    One that waits again after its lease ran out may be on its host all the same: it is lost until its agent reports
    that it stopped.

    Returns:
        How far each had come that had not ended, by its reference.
    """
    found = _store.open_ones(tx, topic, references)
    waiting = [row for row in found if row.state == State.WAITING]
    handed_before = [row.id for row in waiting if row.lease_until is not None]
    _store.give_up(tx, [row.id for row in waiting if row.lease_until is None], State.CANCELLED, now)
    _store.give_up(tx, handed_before, State.LOST, now)
    on_hosts = [row for row in found if row.state != State.WAITING or row.id in handed_before]
    _store.mark_to_stop(tx, [row.id for row in on_hosts])
    for row in on_hosts:
        tx.publish(topic_of(row.instance_id))
    return {row.reference: _reached(row) for row in found}


def _reached(row: _store.Row) -> Reached:
    if row.state == State.WAITING and row.lease_until is None:
        return Reached.NOT_FETCHED
    if row.state == State.RUNNING:
        return Reached.BEGUN
    return Reached.FETCHED if row.started_ms is None else Reached.SILENT


def end_gone(tx: Transaction, instance_id: str, *, now: datetime) -> None:
    """End everything that was sent to an instance that this transaction has deregistered: nobody will report on it."""
    ended = _store.open_on(tx, instance_id)
    _store.give_up(tx, [row.id for row in ended], State.GONE, now)
    for topic in {row.topic for row in ended}:
        tx.publish(topic)


def withdraw(tx: Transaction, topic: str, references: Sequence[str], *, now: datetime) -> list[str]:
    """Stop those of a sender's invocations that wait; leave alone what an agent has fetched.

    One that waits again after its lease ran out may be on its host: it is lost, and to be stopped.

    Returns:
        The references of those that were handed out and not begun: they may begin, or will wait again, so ask later.
    """
    found = _store.open_ones(tx, topic, references)
    waiting = [row.reference for row in found if row.state == State.WAITING]
    stop(tx, topic, waiting, now=now)
    return [row.reference for row in found if row.state == State.HANDED]


def end_open(tx: Transaction, *, now: datetime) -> None:
    """End everything that is open on any instance: a restored copy does not know what became of it.

    Nothing of it is handed out again. What an agent still reports is recorded: a lost one may have ended meanwhile.
    """
    for topic in _store.end_open(tx, now):
        tx.publish(topic)


def end_all(tx: Transaction, *instance_ids: str, now: datetime) -> None:
    """Act on the start of agents that forget their tasks: nobody will report on those that they had.

    Those that ran, or were to be stopped, are lost, which is news: their senders ask at once, and need not wait for the
    lease to run out. That of one which was not begun is short.
    """
    lost = [row for row in _store.with_agent(tx, instance_ids) if row.state == State.RUNNING or row.stop_asked]
    _store.give_up(tx, [row.id for row in lost], State.LOST, now)
    for topic in {row.topic for row in lost}:
        tx.publish(topic)


def sweep(tx: Transaction, *, now: datetime, limit: int) -> int:
    """Act on leases that ran out: handed invocations wait again, running ones are lost until they are heard of.

    A handed one that is to be stopped is lost, too: to hand it out again would run it.

    Returns:
        How many were found; as many as `limit` means that there may be more.
    """
    overdue = _store.overdue(tx, now, limit)
    again = [row for row in overdue if row.state == State.HANDED and not row.stop_asked]
    lost = [row for row in overdue if row.state == State.RUNNING or row.stop_asked]
    _store.put_back(tx, [row.id for row in again], now)
    _store.give_up(tx, [row.id for row in lost], State.LOST, now)
    for row in again:
        tx.publish(topic_of(row.instance_id))
    for topic in {row.topic for row in lost}:
        tx.publish(topic)
    return len(overdue)
