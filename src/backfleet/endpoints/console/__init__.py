"""The endpoint of people with a browser: pages under `/console/`. Owns no table.

It finds out who is asking by their session (`logins`), and asks everything of operations as that person, so it has no
power of its own: each button is an operation of the catalogue, judged by the same policies, in the same audit trail.
Pages are HTML and SVG from the server and work without a script; what changes is announced by server-sent events, and
the page fetches itself again.

- `add_to` adds the endpoint to an application.
- A page is a module of `pages` with a list ROUTES; each handler gets a `Visit`.
"""

from backfleet.endpoints.console.server import add_to

__all__ = ["add_to"]
