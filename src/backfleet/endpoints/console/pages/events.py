"""The stream that tells an open page that something changed."""

import asyncio
import contextlib

from aiohttp import web

from backfleet import logins
from backfleet.endpoints.console.guarding import HEADERS
from backfleet.endpoints.console.live import ALIVE_SECONDS, AT_MOST_EVERY_SECONDS, Full, Stream
from backfleet.endpoints.console.routes import get
from backfleet.endpoints.console.visits import Visit

RETRY_MILLISECONDS = 3000  # after which a browser connects again, for example to a server that was restarted


async def stream_changes(visit: Visit) -> web.StreamResponse:
    """Write an event for each family of things that changed, until the page, the session or the server ends."""
    session = visit.session
    if session is None:
        raise web.HTTPUnauthorized
    try:
        with visit.console.changes.stream(session.caller.arn) as stream:
            return await _write(visit, stream)
    except Full:
        return web.Response(status=503, text="too many pages are open", headers={"Retry-After": "60"})


async def _write(visit: Visit, stream: Stream) -> web.StreamResponse:
    answer = web.StreamResponse(
        headers={**HEADERS, "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await answer.prepare(visit.request)
    with contextlib.suppress(ConnectionError):
        await answer.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode())
        checked, loop = 0.0, asyncio.get_running_loop()
        while not (stream.is_over or visit.console.changes.is_over):
            if loop.time() - checked >= ALIVE_SECONDS:
                if not await _is_going_on(visit):
                    await answer.write(b"event: over\ndata: the session is over\n\n")
                    break
                checked = loop.time()
            changed = await stream.wait()
            text = "".join(f"event: changed\ndata: {family}\n\n" for family in sorted(changed))
            await answer.write((text or ": alive\n\n").encode())
            await asyncio.sleep(AT_MOST_EVERY_SECONDS)
    return answer


async def _is_going_on(visit: Visit) -> bool:
    console = visit.console

    def find() -> bool:
        services = console.services
        with services.database.reading() as tx:
            found = logins.find(
                tx, services.vault, visit.cookies.session, console.lifetime, now=console.clock(), uses=False
            )
        return found is not None

    return await console.performer.in_thread(find)


ROUTES = [get("/events", stream_changes)]
