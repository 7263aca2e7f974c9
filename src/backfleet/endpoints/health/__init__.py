"""The endpoint of monitoring: /healthz, /readyz and /metrics.

Owns no table and authenticates nobody. `/metrics` answers on the plain listener only,
which is loopback unless an administrator opened it: numbers about the installation are not for everyone who can reach
the agents' port.

- `add_to` adds the endpoint to an application; `NotReady` is how a check says why its part does not work.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

READY_WITHIN_SECONDS = 5.0
ANSWERED_AGAIN_SECONDS = 1.0  # however many balancers ask, a part is checked this often at most

Check = Callable[[], None]
"""Returns if a part works, and raises if it does not: NotReady with the reason. Called in a thread, one at a time."""

log = logging.getLogger(__name__)


class NotReady(Exception):
    """A part does not work; the text may be shown to everybody."""


def add_to(app: web.Application, checks: dict[str, Check], figures: Callable[[], bytes] | None = None) -> None:
    """Add the three addresses. The server is ready if all `checks` (by name) pass.

    Args:
        app: Where.
        checks: What must work, by name.
        figures: Makes the text of /metrics of several processes. It may block. None = those of this process.
    """
    parts = {name: _Part(name, check) for name, check in checks.items()}

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_request: web.Request) -> web.Response:
        reasons = {name: await part.reason() for name, part in parts.items()}
        failed = {name: reason for name, reason in reasons.items() if reason}
        found = {"status": "not ready" if failed else "ready", "checks": {name: not reasons[name] for name in reasons}}
        return web.json_response(found | ({"reasons": failed} if failed else {}), status=503 if failed else 200)

    async def metrics(request: web.Request) -> web.Response:
        if request.secure:
            raise web.HTTPNotFound
        body = generate_latest() if figures is None else await asyncio.to_thread(figures)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])


class _Part:
    """What was found about one part. Used from the event loop only."""

    def __init__(self, name: str, check: Check) -> None:
        self._name, self._check = name, check
        self._running: asyncio.Future[str] | None = None
        self._reason, self._checked_at = "", float("-inf")

    async def reason(self) -> str:
        """Return why the part does not work, "" if it does. All who ask meanwhile share one check."""
        if time.monotonic() - self._checked_at < ANSWERED_AGAIN_SECONDS:
            return self._reason
        if self._running is None:
            self._running = asyncio.ensure_future(asyncio.to_thread(_reason_of, self._name, self._check))
            self._running.add_done_callback(self._done)
        done, _ = await asyncio.wait([self._running], timeout=READY_WITHIN_SECONDS)
        return self._reason if done else f"no answer within {READY_WITHIN_SECONDS:g} seconds"

    def _done(self, running: "asyncio.Future[str]") -> None:
        self._running = None
        if not running.cancelled():
            self._reason, self._checked_at = running.result(), time.monotonic()


def _reason_of(name: str, check: Check) -> str:
    try:
        check()
    except NotReady as problem:
        return str(problem)
    except Exception:  # its text may be a secret of the installation
        log.exception("a part of the server does not work", extra={"part": name})
        return "it failed; the log of the server says how"
    return ""
