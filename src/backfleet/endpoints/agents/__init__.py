"""The door of Cloud Assistant agents: /luban/... over HTTPS and WebSocket, as the official agent expects it.

Owns the open sockets of this node. Finds out which instance speaks, and hands to commands and fleet; what a command is
for it does not know. Verbs: `add_to` an application, and the `Gateway`'s `drain` when the node stops.
"""

from backfleet.endpoints.agents.gateway import Gateway, add_to

__all__ = ["Gateway", "add_to"]
