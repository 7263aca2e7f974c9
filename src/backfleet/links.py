"""What ties a process to the others: notifications, figures, and turns at SQLite. Part of the composition root."""

from collections.abc import Callable

from backfleet.figures import OwnFigures, show_all
from backfleet.pubsub import PubSub, SiblingPubSub, open_pubsub
from backfleet.siblings import Siblings
from backfleet.storage import Turns, TurnsBetween
from backfleet.values import value_object


@value_object
class Links:
    """The ties of one process.

    Args:
        number: Its place among the processes of its server; 0 has the workers.
        pubsub: Carries notifications.
        figures: Makes the text of /metrics. It may block. None where no other process has any.
        turns: Who writes to SQLite next; None where no other process does.
        close: Ends all of it.
    """

    number: int
    pubsub: PubSub
    figures: Callable[[], bytes] | None
    turns: Turns | None
    close: Callable[[], None]

    @classmethod
    def open(cls, nats: str, siblings: Siblings | None) -> "Links":
        """Open the ties that there are.

        Args:
            nats: The addresses of NATS, "" = none. It carries the notifications then, between siblings, too.
            siblings: What the parent handed over, if there is one with several processes.

        Raises:
            ValueError: `nats` cannot be used.
        """
        if siblings is None:
            pubsub = open_pubsub(nats)
            return cls(0, pubsub, None, None, pubsub.close)
        further = open_pubsub(nats) if nats else None
        own = OwnFigures(siblings.figures[siblings.number])
        between = SiblingPubSub(siblings.inbox, siblings.outboxes, own.collect_bytes)
        files = {number: siblings.figures[number] for number in siblings.outboxes}

        def close() -> None:
            if further is not None:
                further.close()
            between.close()

        def figures() -> bytes:
            return show_all(own, between.ask, files)

        return cls(siblings.number, further or between, figures, TurnsBetween(siblings.locks, siblings.events), close)
