"""The events of a rollout form a chain: each one's hash covers the one before. Pure."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from backfleet.rollouts.model import Decision, Rollout
from backfleet.values import value_object

LONGEST_WHY: Final = 1000  # characters


@value_object
class NewEvent:
    """Something that happened to a rollout, a ring, a member, or that a person did."""

    what: str  # rollout, ring, member, person
    name: str
    change: str
    why: str


@value_object
class Event:
    """The same with its place in the chain."""

    number: int  # from 1
    at: datetime
    what: str
    name: str
    change: str
    why: str
    hash: str


def chained(new: Iterable[NewEvent], *, after: int, head: str, at: datetime) -> list[Event]:
    """Return events in their places.

    Args:
        new: what happened, oldest first.
        after: how many events the rollout has.
        head: the hash of the newest of those; "" if there is none.
        at: when.
    """
    found = []
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)  # as it is stored and hashed
    for number, one in enumerate(new, after + 1):
        why = one.why[:LONGEST_WHY]
        head = hash_of(head, number, at, one.what, one.name, one.change, why)
        found.append(Event(number, at, one.what, one.name, one.change, why, head))
    return found


def broken_at(events: Sequence[Event]) -> int | None:
    """Return the number of the first event that does not follow from the one before; None if the chain is intact."""
    head = ""
    for expected, event in enumerate(events, 1):
        head = hash_of(head, expected, event.at, event.what, event.name, event.change, event.why)
        if (event.number, event.hash) != (expected, head):
            return expected
    return None


def events_of(rollout: Rollout, decision: Decision) -> list[NewEvent]:
    """Return what a decision makes happen."""
    names = [ring.name for ring in rollout.policy.rings]
    found = [
        NewEvent("member", move.client_id, move.to.value, _with_code(move.why, move.code)) for move in decision.moves
    ]
    found += [NewEvent("ring", names[move.ring], move.to.value, move.why) for move in decision.ring_moves]
    if decision.state is not None:
        found.append(NewEvent("rollout", rollout.id, decision.state.value, decision.reason))
    return found


def left(client_ids: Iterable[str]) -> list[NewEvent]:
    """Return what happens when clients of members are deleted."""
    return [NewEvent("member", client_id, "gone", "its client is no more") for client_id in client_ids]


def _with_code(why: str, code: str) -> str:
    return f"{code}: {why}" if code and code not in why else why


def hash_of(head: str, number: int, at: datetime, *texts: str) -> str:
    """Return the hash of an event.

    Args:
        head: the hash of the one before; "" for the first.
        number: its own, from 1.
        at: when; whole milliseconds count.
        texts: what, name, change and why.
    """
    fields = [head, number, at.isoformat(timespec="milliseconds"), *texts]
    return hashlib.sha256(json.dumps(fields, separators=(",", ":")).encode()).hexdigest()
