"""How an order reaches a host, and how its report comes back. Knows nothing of what an order is for.

Owns no table. A carrier is a way to hosts. The first one is the `GatewayCarrier`, for hosts whose agents come to our
gateway. Every carrier has the verbs of the `Carrier` protocol:

    send: bring orders to their hosts, each once
    news, mark_collected: read what became of them
    repeat: send orders again whose outcome was lost, where the host has to be asked

What needs no carrier's settings is a function, and acts on all carriers:

    cancel: withdraw orders, or have them stopped on their hosts
    withdraw: withdraw orders that no host has yet
    forget: forget old orders
    takes_orders: whether any carrier can bring orders to an instance

An order is known by the sender's topic, which is published when there is news of it, and by the sender's reference.
"""

from backfleet.carriers.bootstrap import Bootstrap
from backfleet.carriers.gateway import GatewayCarrier, cancel, forget, takes_orders, withdraw
from backfleet.carriers.model import Carrier, Delivery, News
from backfleet.commands import Outcome, Reached, State

__all__ = [
    "Bootstrap",
    "Carrier",
    "Delivery",
    "GatewayCarrier",
    "News",
    "Outcome",
    "Reached",
    "State",
    "cancel",
    "forget",
    "takes_orders",
    "withdraw",
]
