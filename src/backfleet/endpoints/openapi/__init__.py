"""The door of callers: the RPC protocol on `/`, described at `/openapi.json`.

Owns nothing. Finds out who is asking, and hands to operations. Verbs: `add_to` an application, `server_limits` for the
server that runs it.
"""

from backfleet.endpoints.openapi.server import add_to, server_limits

__all__ = ["add_to", "server_limits"]
