"""Agents that closed their sockets: whoever does not come back in time is noted as not connected."""

import asyncio
from datetime import datetime

from backfleet.endpoints.agents.node import Node


class Departures:
    """Agents of this node that may come back. Used from the event loop only.

    What another process hears of them needs no look: a moment at which an agent left counts only until it is heard
    later. A node that ends forgets them: its sockets ended because it did, and the rule of `fit_seconds` is left.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting: dict[str, asyncio.TimerHandle] = {}

    def expect(self, instance_id: str, seconds: float) -> None:
        """Note an agent's departure of this moment, unless it has a socket here again in so many seconds."""
        self._forget(instance_id)
        left_at = self._node.clock()
        later = asyncio.get_running_loop().call_later
        self._waiting[instance_id] = later(seconds, self._note, instance_id, left_at)

    def forget_all(self) -> None:
        """Note no departure any more."""
        for instance_id in list(self._waiting):
            self._forget(instance_id)

    def _note(self, instance_id: str, left_at: datetime) -> None:
        self._waiting.pop(instance_id, None)
        if not self._node.sockets.holds(instance_id):
            self._node.heartbeats.note_left(instance_id, left_at)

    def _forget(self, instance_id: str) -> None:
        handle = self._waiting.pop(instance_id, None)
        if handle is not None:
            handle.cancel()
