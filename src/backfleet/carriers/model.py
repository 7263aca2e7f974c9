"""What passes between a sender of orders and a carrier, and what each of them asks of a carrier."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from backfleet.carriers.bootstrap import Bootstrap
from backfleet.commands import Outcome
from backfleet.ids import Draw
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet_host.contract import Order


@value_object
class Delivery:
    """An order to bring to one host."""

    account_id: str
    instance_id: str
    order: Order
    timeout_seconds: int  # from sending to the end: what has not ended by then is stopped
    reference: str  # the sender's own name for it: sent twice under one topic, it is still one order
    repeats: int = 0  # how often it was sent again


@value_object
class News:
    """What is new of one order. Every carrier tells it in the states of an invocation."""

    reference: str
    repeats: int  # of the sending that this is about: 0 is the first one
    outcome: Outcome


class Carrier(Protocol):
    """What a sender of orders knows of carriers. All of it is part of the caller's transaction."""

    def send(self, tx: Transaction, deliveries: Sequence[Delivery], *, topic: str, now: datetime, draw: Draw) -> None:
        """Bring orders to their hosts. One that was sent before is left as it is.

        Raises:
            Conflict: another transaction was sending the same one; try the whole transaction again.
        """

    def repeat(self, tx: Transaction, lost: Sequence[Delivery], *, topic: str, now: datetime, draw: Draw) -> None:
        """Send orders again whose outcome was lost, where that helps: a host answers a known order from its journal.

        Args:
            lost: with the number of repeats of the sending that was lost.
        """

    def news(self, tx: Transaction, topic: str, *, limit: int, only_ends: bool = False) -> list[News]:
        """Return what is new of a sender's orders, oldest first, locked for this transaction.

        Args:
            tx: the transaction that collects it.
            topic: the sender's.
            limit: how many pieces at most.
            only_ends: leave out what hosts are still at; it stays new.
        """

    def mark_collected(self, tx: Transaction, news: Sequence[News]) -> None:
        """Mark this news as read. What changed after it was read stays news."""


class Way(Protocol):
    """One carrier: how the orders of its hosts are written.

    Orders wait in the queue of `commands`. Whoever goes to the hosts of a carrier, or is visited by them, claims them
    there, and reports there what becomes of them.
    """

    def bootstraps(self, tx: Transaction, instance_ids: Sequence[str]) -> dict[str, Bootstrap]:
        """Return the bootstrap of each of these hosts that runs shell commands; the others take an order as it is."""
