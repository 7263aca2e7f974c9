"""The identities of the instances that this node heard of last."""

from collections import OrderedDict

from backfleet.fleet import AgentIdentity

MOST_REMEMBERED = 50_000  # identities


class IdentityCache:
    """Remembers identities, so that not every request needs the database, and none while it is unavailable. Bounded.

    An instance that is deregistered meanwhile is forgotten when its next heartbeat is written, a few seconds later, or
    by a notification.
    """

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._known: OrderedDict[str, tuple[AgentIdentity, float]] = OrderedDict()
        self._most = most

    def remember(self, identity: AgentIdentity, at: float) -> None:
        """Remember an identity as it was read at this Unix time, in seconds."""
        self._known[identity.instance_id] = identity, at
        self._known.move_to_end(identity.instance_id)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, instance_id: str) -> None:
        """Forget an instance that was deregistered."""
        self._known.pop(instance_id, None)

    def recall(self, instance_id: str, since: float = 0.0) -> AgentIdentity | None:
        """Return an identity as it was last read; None if that was before `since` (Unix time in seconds)."""
        identity, at = self._known.get(instance_id, (None, 0.0))
        return identity if at >= since else None
