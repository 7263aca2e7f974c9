"""From conditions to notices: what has begun, what is over, and one message of each kind for what came at once."""

import itertools
import json
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

from backfleet.ids import Draw, new_id
from backfleet.notifications import _store
from backfleet.notifications.kinds import KINDS, Kind
from backfleet.notifications.model import Condition, Destination, Notice
from backfleet.notifications.timing import read_quiet_hours
from backfleet.storage import Transaction

NAMED: Final = 20  # things that one message names; of the others it says how many there are


def note_conditions(
    tx: Transaction, account_id: str, kinds: Collection[Kind], found: Iterable[Condition], *, now: datetime, draw: Draw
) -> int:
    """Put a message into the outbox for what has begun since the last call; return how many messages.

    Args:
        tx: The transaction.
        account_id: Whose conditions they are.
        kinds: Those that were looked at: a known condition of one of them that is not in `found` is over.
        found: What is so now.
        now: The time.
        draw: Makes the ids of messages.
    """
    holding = {(each.kind.value, each.subject[:128]): each for each in found}
    known = _store.known_conditions(tx, account_id, kinds)
    _store.remove_conditions(tx, account_id, known - holding.keys())
    begun = [
        holding[place]
        for place in sorted(holding.keys() - known)
        if _store.add_condition(tx, account_id, holding[place].kind, holding[place].subject, now)
    ]
    made = notices_for(begun, _store.destinations_of(tx, account_id), now=now, draw=draw)
    _store.add_notices(tx, made)
    return len(made)


def notices_for(
    begun: Collection[Condition], destinations: Collection[Destination], *, now: datetime, draw: Draw
) -> list[Notice]:
    """Return the messages about conditions that have begun: one of each kind for each destination. Pure."""
    made = []
    for kind, destination in itertools.product(KINDS, destinations):
        wants = destination.wants(kind)
        heard = [each for each in begun if each.kind is kind and (wants or destination.name in each.to)]
        if heard:
            subject, body = message(kind, heard, now)
            made.append(notice_to(destination, kind, subject, body, now=now, draw=draw))
    return made


def notice_to(destination: Destination, kind: Kind, subject: str, body: str, *, now: datetime, draw: Draw) -> Notice:
    """Return a message to a destination. It waits for the end of the quiet hours; a test does not."""
    quiet = None if kind is Kind.TEST else read_quiet_hours(destination.quiet)
    at = now if quiet is None else quiet.over_at(now)
    return Notice(
        new_id("msg", draw), destination.account_id, destination.name, kind, subject, body, created_at=now, next_at=at
    )


def message(kind: Kind, about: Collection[Condition], now: datetime) -> tuple[str, str]:
    """Return subject and body of a message. Pure."""
    named = [{"id": each.subject, "text": each.text} for each in list(about)[:NAMED]]
    only = next(iter(about)) if len(about) == 1 else None
    subject = only.text if only else KINDS[kind].subject.format(len(about))
    data = {"summary": subject, "count": len(about), "items": named}
    return subject, json.dumps({"type": kind.value, "timestamp": now.isoformat(), "data": data})
