"""How an order reaches a host, and how its report comes back. Knows nothing of what an order is for.

Owns no table but those of `ssh` and of `ecs`, which `ssm` shares. An instance has one carrier, fixed when it is
registered. `Carriers` are all of them behind one interface, so that no sender knows which carrier a host has:

    send: bring orders to their hosts, each once
    news, mark_collected: read what became of them
    repeat: send orders again whose outcome was lost, where the host has to be asked

Each carrier is a `Way`: the `Gateway` is for hosts whose agents come to us, `ssh` for those that
the server goes to, `ecs` and `ssm` for instances of a cloud. What needs no way is a function:

    cancel: withdraw orders, or have them stopped on their hosts
    withdraw: withdraw orders that no host has yet
    forget: forget old orders
    count_news: how much is new of a sender's orders
    rounds_go_on: whether what is out of time is so, and not by a clock that was set
    takes_orders: whether any carrier can bring orders to an instance

An order is known by the sender's topic, which is published when there is news of it, and by the sender's reference.
"""

from backfleet.carriers.bootstrap import Bootstrap
from backfleet.carriers.dispatching import Carriers, cancel, forget, through_gateway, withdraw
from backfleet.carriers.gateway import Gateway, takes_orders
from backfleet.carriers.model import Carrier, Delivery, News, Way
from backfleet.commands import Outcome, Reached, State, count_news, rounds_go_on

__all__ = [
    "Bootstrap",
    "Carrier",
    "Carriers",
    "Delivery",
    "Gateway",
    "News",
    "Outcome",
    "Reached",
    "State",
    "Way",
    "cancel",
    "count_news",
    "forget",
    "rounds_go_on",
    "takes_orders",
    "through_gateway",
    "withdraw",
]
