"""What senders of orders see of all carriers: an order is a command in the queue of its host, and is run there once.

Which carrier takes it from there, the sender does not know. A host without an agent of ours gets the order as a shell
command. Our own agent reports until it is heard; elsewhere a report comes once, so an order whose outcome was lost is
sent again, and the host answers from its journal.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from backfleet import commands, fleet
from backfleet.carriers.bootstrap import Bootstrap, command_for
from backfleet.carriers.gateway import Gateway
from backfleet.carriers.model import Delivery, News, Way
from backfleet.commands import NewInvocation, Reached, State
from backfleet.fleet import CarrierKind
from backfleet.host_outputs import read_host_output
from backfleet.ids import Draw
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet_host.contract import Order

MOST_REPEATS: Final = 5  # times that a lost order is sent again
ANY_ID: Final = "THE-ID-OF-ANY-ORDER"  # stands for an order's own
_REPEAT: Final = re.compile(r"(.+)\+([1-9])")  # one digit: senders' own references may end with a longer number


@value_object
class Carriers:
    """Every carrier of this installation, as the one `Carrier` that senders know."""

    ways: Mapping[CarrierKind, Way]

    def send(self, tx: Transaction, deliveries: Sequence[Delivery], *, topic: str, now: datetime, draw: Draw) -> None:
        """Queue orders as commands for their hosts. See `Carrier.send`."""
        bootstraps = self._bootstraps(tx, [delivery.instance_id for delivery in deliveries])
        alike: dict[str, str] = {}
        invocations = [
            _invocation(delivery, bootstraps.get(delivery.instance_id), topic, alike) for delivery in deliveries
        ]
        commands.send(tx, invocations, topic=topic, now=now, draw=draw)

    def repeat(self, tx: Transaction, lost: Sequence[Delivery], *, topic: str, now: datetime, draw: Draw) -> None:
        """Send lost orders again, except to our own agents, at most MOST_REPEATS times. See `Carrier.repeat`."""
        bootstraps = self._bootstraps(tx, [delivery.instance_id for delivery in lost])
        again = [
            _invocation(replace(delivery, repeats=delivery.repeats + 1), bootstraps[delivery.instance_id], topic, {})
            for delivery in lost
            if delivery.instance_id in bootstraps and delivery.repeats < MOST_REPEATS
        ]
        if again:
            commands.send(tx, again, topic=topic, now=now, draw=draw)

    def news(self, tx: Transaction, topic: str, *, limit: int, only_ends: bool = False) -> list[News]:
        """Return the news of a sender's orders. See `Carrier.news`.

        A command that ended without the report of its order is lost, where it can be sent again: the host then answers
        from its journal.
        """
        outcomes = commands.outcomes(tx, topic, limit=limit, only_ends=only_ends)
        found = [News(*read_reference(one.reference), one) for one in outcomes]
        silent = [news for news in found if _ended_without_report(news)]
        others = self._bootstraps(tx, [news.outcome.instance_id for news in silent])
        return [
            replace(news, outcome=replace(news.outcome, state=State.LOST))
            if news in silent and news.outcome.instance_id in others
            else news
            for news in found
        ]

    def mark_collected(self, tx: Transaction, news: Sequence[News]) -> None:
        """Mark this news as read. See `Carrier.mark_collected`."""
        commands.mark_collected(tx, [one.outcome for one in news])

    def _bootstraps(self, tx: Transaction, instance_ids: Sequence[str]) -> dict[str, Bootstrap]:
        """Return how orders are written for those of these instances that run shell commands."""
        if not instance_ids:
            return {}
        hosts: dict[CarrierKind, list[str]] = {}
        for instance_id, kind in fleet.carriers_of(tx, instance_ids).items():
            hosts.setdefault(kind, []).append(instance_id)
        found: dict[str, Bootstrap] = {}
        for kind, ids in hosts.items():
            if kind in self.ways:
                found |= self.ways[kind].bootstraps(tx, ids)
        return found


def through_gateway(bootstrap: Bootstrap | None = None) -> Carriers:
    """Return the carriers of an installation that has the gateway alone."""
    return Carriers({CarrierKind.ASSIST: Gateway(bootstrap)})


def _ended_without_report(news: News) -> bool:
    """Return whether the host's shell ended before the order's report, and the order may be sent again."""
    if news.outcome.state is not State.FINISHED or news.repeats >= MOST_REPEATS:
        return False
    return read_host_output(news.outcome.output).report is None


def _invocation(delivery: Delivery, bootstrap: Bootstrap | None, topic: str, alike: dict[str, str]) -> NewInvocation:
    order, reference = delivery.order, reference_of(delivery.reference, delivery.repeats)
    return NewInvocation(
        account_id=delivery.account_id,
        instance_id=delivery.instance_id,
        content=_content(order, alike) if bootstrap is None else command_for(order, bootstrap, f"{topic}/{reference}"),
        timeout_seconds=delivery.timeout_seconds,
        reference=reference,
    )


def _content(order: Order, alike: dict[str, str]) -> str:
    """Return an order as our own agent takes it.

    Args:
        order: the order.
        alike: contents that were made already, with ANY_ID, by what they say; orders of one task differ in their ids.
    """
    facts = repr([value for name, value in vars(order).items() if name != "order_id"])
    content = alike.get(facts) or alike.setdefault(facts, replace(order, order_id=ANY_ID).as_command())
    return content.replace(ANY_ID, order.order_id) if content.count(ANY_ID) == 1 else order.as_command()


def cancel(tx: Transaction, topic: str, references: Sequence[str], *, now: datetime) -> dict[str, Reached]:
    """Withdraw a sender's orders that no host has yet, and have the others stopped on their hosts, repeats included.

    Returns:
        How far each had come that had not ended, by the sender's reference.
    """
    furthest: dict[str, Reached] = {}
    for name, reached in commands.stop(tx, topic, _every_reference(references), now=now).items():
        reference, _ = read_reference(name)
        furthest[reference] = max(reached, furthest.get(reference, reached))
    return furthest


def withdraw(tx: Transaction, topic: str, references: Sequence[str], *, now: datetime) -> None:
    """Withdraw a sender's orders that no host has yet, and leave the others alone."""
    commands.withdraw(tx, topic, _every_reference(references), now=now)


def forget(tx: Transaction, topic: str, *, before: datetime) -> None:
    """Forget a sender's orders that were sent before this moment."""
    commands.drop_before(tx, topic, before)


def reference_of(reference: str, repeats: int = 0) -> str:
    """Return the name of an order's invocation: the sender's reference, for each repeat with a number of its own."""
    return f"{reference}+{repeats}" if repeats else reference


def read_reference(reference: str) -> tuple[str, int]:
    """Return the sender's reference in an invocation's name, and the number of the repeat (0 for the first sending)."""
    found = _REPEAT.fullmatch(reference)
    return (found[1], int(found[2])) if found else (reference, 0)


def _every_reference(references: Iterable[str]) -> list[str]:
    return [reference_of(each, repeats) for each in references for repeats in range(MOST_REPEATS + 1)]
