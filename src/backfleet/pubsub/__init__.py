"""Infrastructure: notifications between threads, and over NATS between processes. Owns no table.

A notification carries no facts and may be lost: the receiver reads the tables, the notification only shortens its wait.

- `SiblingPubSub` reaches the processes of one server, which have a parent that made its sockets.
- `open_pubsub(url)` opens what the settings ask for: within this process, or over NATS.
- `PubSub.publish(topic)` notifies everyone who waits for the topic.
- `PubSub.subscription(*topics)` is for a worker: it waits on the result.
- `PubSub.subscribe(prefix, callback)` is for an endpoint with an event loop: it is called for a family of topics.
- `poll_until_stopped` is the loop of every worker; `Breath` is how long it waits for what comes close together.
"""

from backfleet.pubsub._channels import InProcessPubSub, PubSub, Subscription
from backfleet.pubsub._polling import LONGEST_WAIT, Breath, poll_until_stopped
from backfleet.pubsub._siblings import SiblingPubSub

__all__ = [
    "LONGEST_WAIT",
    "Breath",
    "InProcessPubSub",
    "PubSub",
    "SiblingPubSub",
    "Subscription",
    "open_pubsub",
    "poll_until_stopped",
]


def open_pubsub(url: str) -> PubSub:
    """Open publish/subscribe over the NATS servers at `url`, or within this process if it is empty.

    Returns at once: NATS need not be reachable yet.

    Raises:
        ValueError: `url` is not an address of NATS servers.
    """
    if not url:
        return InProcessPubSub()
    from backfleet.pubsub._nats import NatsPubSub, check_address  # costly to import, and not needed without NATS

    check_address(url)
    return NatsPubSub(url)
