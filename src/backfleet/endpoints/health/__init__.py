"""The endpoint of monitoring: /healthz, /readyz and /metrics.

Owns no table, authenticates nobody, and shows nothing about tenants. `/metrics` answers on the plain listener only,
which is loopback unless an administrator opened it: numbers about the installation are not for everyone who can reach
the agents' port.

- `add_to` adds the endpoint to an application.
"""

import asyncio
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

READY_WITHIN_SECONDS = 5.0

Check = Callable[[], None]
"""Returns if a part works, and raises if it does not. Called in a thread."""


def add_to(app: web.Application, checks: dict[str, Check]) -> None:
    """Add the three addresses. The server is ready if all `checks` (by name) pass."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_request: web.Request) -> web.Response:
        found = {name: await _passes(check) for name, check in checks.items()}
        ready = all(found.values())
        return web.json_response(
            {"status": "ready" if ready else "not ready", "checks": found}, status=200 if ready else 503
        )

    async def metrics(request: web.Request) -> web.Response:
        if request.secure:
            raise web.HTTPNotFound
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])


async def _passes(check: Check) -> bool:
    try:
        await asyncio.wait_for(asyncio.to_thread(check), READY_WITHIN_SECONDS)
    except Exception:  # noqa: BLE001 - the answer is "not ready" whatever failed; the part itself logs it
        return False
    return True
