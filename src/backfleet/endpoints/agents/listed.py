"""Agents that get their lists at another node than the one that kicked them.

Behind one address, a balancer's or that of several processes, an agent fetches wherever its connection leads it, not
where its socket is. The node that has the socket awaits it, and is told.
"""

import re
from typing import Final

from backfleet.endpoints.agents.node import Node

LISTED: Final = "listed/"  # how a topic begins, before the milliseconds that a list took and the id of its instance
_TOPIC: Final = re.compile(r"listed/([0-9]{1,8})/([!-~]{1,100})")


def note_list(node: Node, instance_id: str, seconds: float) -> None:
    """Note that an agent gets its list now, so many seconds after it asked, and let other nodes know if need be."""
    if node.sockets.holds(instance_id):
        node.sockets.answered(instance_id, seconds)
    else:
        node.publish(f"{LISTED}{round(seconds * 1000)}/{instance_id}")


def note_listed_elsewhere(node: Node, topic: str) -> None:
    """Act on such a notification: an agent whose socket is here has fetched, and has its list."""
    found = _TOPIC.fullmatch(topic)
    if found is not None and node.sockets.holds(found[2]):
        node.sockets.fetched(found[2])
        node.sockets.answered(found[2], int(found[1]) / 1000)
