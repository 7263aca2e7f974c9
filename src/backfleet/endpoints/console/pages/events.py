"""The stream that tells an open page that something changed, for as long as its person may see the page."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from aiohttp import web

from backfleet import logins
from backfleet.endpoints.console.guarding import HEADERS
from backfleet.endpoints.console.live import ALIVE_SECONDS, AT_MOST_EVERY_SECONDS, MOST_UNREAD, Full, Owner, Stream
from backfleet.endpoints.console.routes import get
from backfleet.endpoints.console.visits import VERSIONS, Visit
from backfleet.operations.catalogue import Operation, find
from backfleet.operations.perform import would_refuse
from backfleet.storage import Unavailable

RETRY_MILLISECONDS: Final = 3000  # after which a browser connects again, for example to a server that was restarted
SESSION_OVER: Final = "session"
NOT_ALLOWED: Final = "permission"
ONE_TOO_MANY: Final = "crowded"
LIVE_PAGES: Final[Mapping[str, tuple[tuple[str, str], tuple[str, str, str]]]] = {
    "fleet": (("backfleet", "DescribeFleet"), ("", "", "")),
    "hosts": (("", ""), ("backfleet", "DescribeInstance", "InstanceId")),
    "tasks": (("backfleet", "ListTasks"), ("hbr", "DescribeTask", "TaskId")),
    "rollouts": (("backfleet", "ListRollouts"), ("backfleet", "DescribeRollout", "RolloutId")),
}
"""By the first part of a page's address: what its list asks, and what the page of one thing asks, with the id's name.

Without this operation the page shows nothing.
"""


async def stream_changes(visit: Visit) -> web.StreamResponse:
    """Write an event for each family of things that changed, until page, session, permission or server end."""
    if visit.session is None:
        raise web.HTTPUnauthorized
    caller, page = visit.session.caller, visit.sent("page")
    why = await _why_over(visit, page)
    if why:
        return web.Response(status=403 if why == NOT_ALLOWED else 401, text=why)
    owner = Owner(caller.account_id, caller.arn, visit.cookies.form_token)
    try:
        with visit.console.changes.stream(owner) as stream:
            return await _write(visit, stream, page)
    except Full:
        return web.Response(status=503, text="too many pages are open", headers={"Retry-After": "60"})


async def _write(visit: Visit, stream: Stream, page: str) -> web.StreamResponse:
    answer = web.StreamResponse(
        headers={**HEADERS, "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await answer.prepare(visit.request)
    with contextlib.suppress(ConnectionError):
        await answer.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode())
        loop = asyncio.get_running_loop()
        checked = loop.time()
        while not visit.console.changes.is_over:
            why = ONE_TOO_MANY if stream.is_one_too_many else ""
            if not why and (stream.is_doubtful or loop.time() - checked >= ALIVE_SECONDS):
                stream.is_doubtful, checked = False, loop.time()
                why = await _why_over(visit, page)
            if why:
                await answer.write(f"event: over\ndata: {why}\n\n".encode())
                break
            changed = await stream.wait()
            if _is_not_reading(visit.request):
                break
            text = "".join(f"event: changed\ndata: {family}\n\n" for family in sorted(changed))
            await answer.write((text or ": alive\n\n").encode())
            await asyncio.sleep(AT_MOST_EVERY_SECONDS)
    return answer


def _is_not_reading(request: web.Request) -> bool:
    """Close the connection of a page that has left too much unread; return whether it was closed."""
    transport = request.transport
    if transport is None or transport.get_write_buffer_size() <= MOST_UNREAD:
        return transport is None
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
    return True


async def _why_over(visit: Visit, page: str) -> str:
    """Return why a stream ends: SESSION_OVER or NOT_ALLOWED; "" if it goes on, or if the database is away."""
    console, asked = visit.console, asked_by(page)

    def check() -> str:
        services = console.services
        with services.database.reading() as tx:
            found = logins.find(
                tx, services.vault, visit.cookies.session, console.lifetime, now=console.clock(), uses=False
            )
        if found is None:
            return SESSION_OVER
        if asked is None:
            return ""
        operation, flat = asked
        return NOT_ALLOWED if would_refuse(operation, replace(visit, session=found).new_call(), flat) else ""

    try:
        return await console.turns.take(lambda: console.performer.in_thread(check))
    except Unavailable:
        return ""


def asked_by(page: str) -> tuple[Operation, dict[str, str]] | None:
    """Return the operation that a live page shows, with the page's id in it; None for any other page. Pure.

    Args:
        page: The page's address below `/console`.
    """
    name, _, thing = page.removeprefix("/").partition("/")
    if name not in LIVE_PAGES:
        return None
    (product, listing), (product_of_one, one, id_name) = LIVE_PAGES[name]
    if thing:
        return (find(VERSIONS[product_of_one], one), {id_name: thing}) if one else None
    return (find(VERSIONS[product], listing), {}) if listing else None


ROUTES = [get("/events", stream_changes, takes_long=True)]
