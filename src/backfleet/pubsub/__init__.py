"""The ground: nudges. A bell carries no facts and may be lost: the table tells, the bell only shortens the wait.

Owns no table. Verbs: `ring` a topic, `listen` for one (a worker), `subscribe` to a family of topics (a door with an
event loop), `poll_until_stopped` (the shape of every worker's loop).
`open_pubsub` chooses: within this process, or over NATS.
"""

from backfleet.pubsub._channels import InProcessPubSub, PubSub, Subscription
from backfleet.pubsub._polling import LONGEST_WAIT, poll_until_stopped

__all__ = ["LONGEST_WAIT", "InProcessPubSub", "PubSub", "Subscription", "open_pubsub", "poll_until_stopped"]


def open_pubsub(url: str) -> PubSub:
    """PubSub over the NATS at this address, or within this process for "". NATS need not be there.

    Raises:
        ValueError: not an address of NATS.
    """
    if not url:
        return InProcessPubSub()
    from backfleet.pubsub._nats import NatsPubSub, check_address  # a process alone needs none of it

    check_address(url)
    return NatsPubSub(url)
