"""The endpoint of API callers: the RPC protocol on `/`, and its description at `/openapi.json`. Owns no table.

It authenticates callers and hands their requests to operations (`pipeline` lists the steps).

- `add_to` adds the endpoint to an application.
- `server_limits` returns the arguments for the server that runs it.
"""

from backfleet.endpoints.openapi.server import add_to, server_limits

__all__ = ["add_to", "server_limits"]
