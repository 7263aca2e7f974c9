"""Instances after they enrolled: heartbeats, boots, and whether they can be given work."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from backfleet.fleet import _store
from backfleet.fleet.model import (
    GONE,
    AgentIdentity,
    AgentKind,
    CarrierKind,
    Heartbeat,
    Instance,
    InstanceFilter,
    Reachability,
)
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction

DIALS_EVERY: Final = timedelta(minutes=30)  # an official agent without a socket
FIRST_DIAL_LASTS: Final = timedelta(seconds=60)  # from its enrolment until an agent has started and its socket is open
DIAL_LASTS: Final = timedelta(seconds=15)  # from the full half-hour until its socket is open


def rename(tx: Transaction, instance_id: str, name: str) -> None:
    """Give an instance a new name."""
    _store.instances.rename(tx, instance_id, name)


def note_boot(tx: Transaction, instance_id: str, *, now: datetime) -> None:
    """Record that a host has booted, until `take_boots` returns it."""
    _store.boots.note(tx, instance_id, now)


def has_boots(tx: Transaction) -> bool:
    """Return whether a boot is recorded that `take_boots` has not returned yet."""
    return _store.boots.exist(tx)


def take_boots(tx: Transaction, *, limit: int) -> dict[str, datetime]:
    """Return hosts that booted since the last call, and when we learned of it. Each boot is returned once."""
    return _store.boots.take(tx, limit)


def deregister(tx: Transaction, instance_id: str, *, now: datetime) -> bool:
    """Deregister an instance and delete its tags and pins. Return True to the one caller that did it.

    Its agent's signatures are refused from now on, and lists leave it out.
    """
    tx.publish(GONE + instance_id)
    _store.tags.drop(tx, "instance", [instance_id], None)
    _store.pins.drop_instance(tx, instance_id)
    activation_id = _store.instances.deregister(tx, instance_id, now)
    if activation_id is None:
        return False
    _store.activations.count_deregistered(tx, activation_id)
    return True


def keep_registered(tx: Transaction, instance_ids: Sequence[str]) -> list[str]:
    """Keep instances from being deregistered before this transaction ends; return those that are deregistered."""
    return _store.instances.keep_registered(tx, instance_ids)


def take_turns(tx: Transaction, instance_ids: Sequence[str]) -> bool:
    """Wait until no other transaction has the turn of one of these instances, and have them until this one ends.

    Return whether that can have taken time, so that what was read before has to be read again.
    """
    return _store.instances.take_turns(tx, instance_ids)


def deregistered_among(tx: Transaction, instance_ids: Sequence[str]) -> list[str]:
    """Return those of these instances that are deregistered."""
    return _store.instances.deregistered_among(tx, instance_ids)


def agent_identity(tx: Transaction, instance_id: str) -> AgentIdentity | None:
    """Return what an agent's signatures are verified with; None if the instance never existed, or has no agent."""
    found = _store.instances.identity(tx, instance_id)
    return found if found is not None and found.public_key else None


def note_heartbeats(tx: Transaction, heartbeats: Sequence[Heartbeat]) -> None:
    """Store many heartbeats at once, at most one for each instance. What one does not report stays as it was."""
    _store.instances.note_heartbeats(tx, heartbeats)


def note_left(tx: Transaction, left: Mapping[str, datetime]) -> None:
    """Record agents that closed their sockets, by instance, and when. Being heard later, anywhere, counts more."""
    _store.instances.note_left(tx, left)


def note_clock_set_back(tx: Transaction, *, now: datetime) -> None:
    """Have hosts that were heard at a moment that is still to come be heard now: the clock was set back since."""
    _store.instances.note_clock_set_back(tx, now)


def note_shutdown(tx: Transaction, instance_id: str, *, now: datetime) -> None:
    """Record that a host is stopped. Its next heartbeat ends that."""
    _store.instances.set_stopped(tx, instance_id, now)


def reachability(instance: Instance | None, *, now: datetime, reachable_within: timedelta) -> Reachability:
    """Return whether an instance can be given work now, and if not, why.

    Args:
        instance: the instance; None if there is none.
        now: the time of the question.
        reachable_within: its agent must have used its socket or asked for its tasks within this time. A heartbeat only
            says that the machine lives: an official agent without a socket sends them, and cannot be told of work.
    """
    if instance is None or instance.deregistered_at is not None:
        return Reachability.NOT_EXISTS
    if instance.stopped_at is not None:
        return Reachability.NOT_RUNNING
    connected = is_connected(instance, now=now, reachable_within=reachable_within)
    return Reachability.REACHABLE if connected else Reachability.AGENT_NOT_RUNNING


def is_connected(instance: Instance, *, now: datetime, reachable_within: timedelta) -> bool:
    """Return whether an agent used its socket, or asked for its tasks, recently enough, and did not leave since."""
    reached, left = instance.reachable_at, instance.left_at
    return reached is not None and now - reached <= reachable_within and (left is None or left < reached)


def connects_for_the_first_time(instance: Instance, *, now: datetime, reachable_within: timedelta) -> bool:
    """Return whether an instance has just enrolled, so that its agent is about to connect."""
    return instance.reachable_at is None and now <= instance.registered_at + min(FIRST_DIAL_LASTS, reachable_within)


def next_dial(instance: Instance, *, now: datetime, reachable_within: timedelta) -> datetime | None:
    """Return when an agent that cannot be given work will connect by itself; None if that is not known.

    The official agent gives its socket up after about 20 s of failed tries. Then it tries again at each full half-hour
    of its process. Source: agent wire protocol, section 5.5. Any agent connects within seconds of its enrolment.
    """
    if connects_for_the_first_time(instance, now=now, reachable_within=reachable_within):
        return instance.registered_at + min(FIRST_DIAL_LASTS, reachable_within)
    is_alive = instance.last_heard_at is not None and now - instance.last_heard_at <= reachable_within
    if instance.agent_kind is not AgentKind.OFFICIAL or instance.agent_started_at is None or not is_alive:
        return None
    first = instance.agent_started_at + DIAL_LASTS
    return first + DIALS_EVERY * max(-((first - now) // DIALS_EVERY), 1)


def find_instances(
    tx: Transaction, account_id: str, region: str, selected: InstanceFilter, page: Page, *, reachable_since: datetime
) -> Listing[Instance]:
    """Return an account's instances that are not deregistered, oldest first.

    Args:
        tx: the transaction to read in.
        account_id: the account.
        region: the region.
        selected: which instances.
        page: which part of the list.
        reachable_since: the filter's `connected` means: it could be given work since this moment, and is not stopped.
    """
    return _store.instances.page_of(tx, account_id, region, selected, page, reachable_since)


def instance(tx: Transaction, account_id: str, instance_id: str) -> Instance | None:
    """Return one instance of the account; None if it has none of this id, or has deregistered it."""
    return _store.instances.by_id(tx, account_id, None, [instance_id]).get(instance_id)


def instances_of(tx: Transaction, account_id: str, instance_ids: Sequence[str]) -> dict[str, Instance]:
    """Return instances of the account by id, without those that are deregistered."""
    return _store.instances.by_id(tx, account_id, None, instance_ids)


def names_of(tx: Transaction, account_id: str, instance_ids: Sequence[str]) -> dict[str, str]:
    """Return what people call instances of the account, by id: also of those that are deregistered."""
    return _store.instances.names_of(tx, account_id, instance_ids)


def can_be_sent_to(
    instance_id: sa.ColumnElement[str], reachable_since: datetime | sa.BindParameter[Any]
) -> sa.ColumnElement[bool]:
    """Return a condition for another module's query: the instance in this column can be given work, or is gone.

    What is sent to an instance that is deregistered ends at once.
    """
    return _store.instances.can_be_sent_to(instance_id, reachable_since)


def agent_kinds(tx: Transaction, instance_ids: Sequence[str]) -> dict[str, AgentKind]:
    """Return whose agent each of these instances of any account has. Unknown ids are left out."""
    return _store.instances.agent_kinds(tx, instance_ids)


def carriers_of(tx: Transaction, instance_ids: Sequence[str]) -> dict[str, CarrierKind]:
    """Return how orders reach each of these instances of any account. Unknown ids are left out."""
    return _store.instances.carriers_of(tx, instance_ids)


def count_presence(tx: Transaction, account_id: str, *, reachable_since: datetime) -> tuple[int, int]:
    """Return how many of the account's instances can be given work, and how many only send heartbeats."""
    return _store.instances.count_presence(tx, account_id, reachable_since)


def forget_presence(tx: Transaction) -> None:
    """Record that no host can be given work until it is heard of again: what is known of that is of another time."""
    _store.instances.forget_presence(tx)


def count_instances(tx: Transaction, account_id: str) -> int:
    """Return how many instances the account has."""
    return _store.instances.count(tx, account_id)


def out_of_reach(tx: Transaction, account_id: str, region: str, *, reachable_since: datetime) -> set[str]:
    """Return the ids of an account's instances that cannot be given work: silent, stopped or deregistered."""
    return _store.instances.out_of_reach(tx, account_id, region, reachable_since)
