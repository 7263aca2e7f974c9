"""From the sender to the agent: send, hand out once per lease, stop."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backfleet.commands import _store
from backfleet.commands.states import State
from backfleet.ids import Draw, new_id
from backfleet.storage import Transaction

HANDED_AT_ONCE = 20  # commands in one task list: long lists make the official agent kill itself
LONGEST_CONTENT = 48 * 1024  # characters
SHELL = "RunShellScript"


@dataclass(frozen=True, slots=True)
class Send:
    """One command for one instance. `reference` is the sender's own name for it: the same twice is one command."""

    account_id: str
    instance_id: str
    content: str
    timeout_seconds: int
    reference: str
    kind: str = SHELL  # the agent's word for what the content is
    working_directory: str = ""  # "" = the agent's choice
    username: str = ""  # "" = whoever the agent is


@dataclass(frozen=True, slots=True)
class Command:
    """What an agent is given to run."""

    task_id: str
    content: str
    timeout_seconds: int
    kind: str = SHELL
    working_directory: str = ""
    username: str = ""


@dataclass(frozen=True, slots=True)
class Handout:
    """The answer to an agent that asks: what to run, and which of its tasks to stop."""

    run: list[Command]
    stop: list[str]


def topic_of(instance_id: str) -> str:
    """The bell of whoever holds this instance's socket."""
    return f"instance/{instance_id}"


def send_many(tx: Transaction, asked: Sequence[Send], *, topic: str, now: datetime, draw: Draw) -> None:
    """Queue commands and ring for their agents. One that was sent before is left as it is.

    Raises:
        ValueError: content longer than LONGEST_CONTENT.
        Conflict: the same was being sent elsewhere at this moment; to be tried again as a whole.
    """
    for send in asked:
        if len(send.content) > LONGEST_CONTENT:
            raise ValueError(f"a command may have {LONGEST_CONTENT} characters, not {len(send.content)}")
    _store.add(tx, [(new_id("t", draw), send) for send in asked], topic, now)
    for send in asked:
        tx.publish(topic_of(send.instance_id))


def waiting_for(tx: Transaction, instance_id: str) -> str | None:
    """The id of something this agent should ask for, if there is: worth a nudge."""
    return _store.something_for(tx, instance_id)


def instances_with_work(tx: Transaction, *, limit: int) -> list[str]:
    """Instances whose agents should ask for something, over all accounts: for when pubsub were lost."""
    return _store.instances_with_work(tx, limit)


def claim(tx: Transaction, instance_id: str, *, now: datetime, lease: timedelta) -> Handout:
    """Hand the instance's waiting commands to whoever asks, each once per lease; and what to stop.

    Two replicas that ask at once share them: a row goes to one of them.
    """
    rows = _store.take_waiting(tx, instance_id, HANDED_AT_ONCE, now, now + lease)
    run = [
        Command(row.id, row.content, row.timeout_seconds, row.kind, row.working_directory, row.username) for row in rows
    ]
    return Handout(run, _store.to_stop(tx, instance_id, HANDED_AT_ONCE))


def stop(tx: Transaction, topic: str, references: Sequence[str], *, now: datetime) -> None:
    """End commands by their sender's names: what was never handed out is cancelled, the rest is stopped on its host.

    One that waits again may be on its host all the same: it is lost until its agent says that it stopped.
    """
    found = _store.open_ones(tx, topic, references)
    waiting = [row for row in found if row.state == State.WAITING]
    been_out = [row.id for row in waiting if row.lease_until is not None]
    _store.give_up(tx, [row.id for row in waiting if row.lease_until is None], State.CANCELLED, now)
    _store.give_up(tx, been_out, State.LOST, now)
    out = [row for row in found if row.state != State.WAITING or row.id in been_out]
    _store.mark_to_stop(tx, [row.id for row in out])
    for row in out:
        tx.publish(topic_of(row.instance_id))


def take_back(tx: Transaction, topic: str, references: Sequence[str], *, now: datetime) -> list[str]:
    """Give up those of a sender's commands that no agent has begun; gives those about which it is too soon to say.

    What was never handed out is cancelled. What waits again after it was out may be on its host: it is lost, and to be
    stopped. What is out is left alone: it may begin, or will wait again. What runs goes on.
    """
    found = _store.open_ones(tx, topic, references)
    waiting = [row.reference for row in found if row.state == State.WAITING]
    stop(tx, topic, waiting, now=now)
    return [row.reference for row in found if row.state == State.HANDED]


def sweep(tx: Transaction, *, now: datetime, limit: int) -> int:
    """Look after leases that ran out: handed ones wait again, running ones are lost until they are heard of.

    A handed one that is to be stopped is lost too: to hand it again would run it. Returns how many were found; as many
    as `limit` means there may be more.
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
