"""What is checked before a page is made, and the headers that every answer has.

1. listener  the plain one, or the other one where the setting `console_https` is on
2. form      of POST: within the size limit, from this origin, with this browser's token
3. session   found by the cookie; pages for people who are logged in lead everybody else to the login
4. page      asks operations, which decide
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import quote, urlsplit

from aiohttp import web

from backfleet import logins
from backfleet.endpoints.console.cookies import (
    ROOT,
    SESSION,
    VISIT,
    VISIT_SECONDS,
    Cookies,
    drop_cookie,
    read_cookies,
    set_cookie,
)
from backfleet.endpoints.console.routes import Route
from backfleet.endpoints.console.visits import LIVE, Console, Visit
from backfleet.ids import draw
from backfleet.storage import Unavailable
from backfleet.wire.errors import ApiError, InternalError, ServiceUnavailable

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with that, browsers hide the origin of forms from the server that checks it.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
FORM_TYPE: Final = "application/x-www-form-urlencoded"
LONGEST_FORM: Final = 512 * 1024  # bytes
MOST_FIELDS: Final = 2000
TOO_SLOW: Final = (
    "the page was not made in its time, as the database is slow or the server has too much to do; open it again, "
    "and see what `backfleet doctor` says"
)
SECRET_LENGTH: Final = 40

log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that no page answers; the text says why to the person."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def guarded(console: Console, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return the handler of a route with every check before it and every header on its answer."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.secure and not console.services.settings.console_https:
            raise web.HTTPNotFound
        cookies = read_cookies(request)
        visit = Visit(console, request, _with_visit(cookies), None, {})
        try:
            answer = await _answer(visit, route)
        except Refused as refusal:
            answer = visit.page("refused.html", status=refusal.status, why=str(refusal))
        if not answer.prepared:
            answer.headers.update(HEADERS)
            answer.headers.setdefault("Cache-Control", "no-store")
            if visit.cookies.visit != cookies.visit and SESSION not in str(answer.cookies):
                set_cookie(answer, VISIT, visit.cookies.visit, secure=cookies.secure, seconds=VISIT_SECONDS)
        return answer

    return handle


async def _answer(visit: Visit, route: Route) -> web.StreamResponse:
    """Steps 2 to 4. Every failure becomes a page. Raises Refused."""
    console, request, cookies = visit.console, visit.request, visit.cookies
    form: Mapping[str, list[str]] = {}
    if request.method == "POST":
        _check_origin(request)
        form = {} if route.takes_file else await _checked_form(request, cookies)
    try:
        async with asyncio.timeout(_seconds_of(route, console)) as limit:
            session = await _session(console, cookies, uses=LIVE not in request.headers)
            visit = Visit(console, request, cookies, session, form)
            if session is None and not route.public:
                return _to_login(visit)
            return await route.handler(visit)
    except ApiError as problem:
        failure = problem
    except Unavailable as problem:
        log.warning("%s", problem)
        failure = ServiceUnavailable(str(problem))
    except (web.HTTPException, Refused):
        raise
    except TimeoutError:
        log.warning("a page was given up", extra={"path": request.path}, exc_info=not limit.expired())
        failure = ServiceUnavailable(TOO_SLOW)
    except Exception:
        log.exception("a page failed", extra={"path": request.path})
        failure = InternalError()
    return visit.page("error.html", status=failure.status, problem=failure)


def _seconds_of(route: Route, console: Console) -> float | None:
    """Return after how long a page is given up; None for what acts, whose calls have limits of their own."""
    is_limited = route.method == "GET" and not (route.public or route.takes_long)
    return console.services.settings.call_seconds if is_limited else None


async def _session(console: Console, cookies: Cookies, *, uses: bool) -> logins.Session | None:
    """Return the session of a request; None if there is none. Nobody's cookie asks the database nothing."""
    if not cookies.session:
        return None
    services = console.services

    def find() -> logins.Session | None:
        with services.database.transaction() as tx:
            return logins.find(tx, services.vault, cookies.session, console.lifetime, now=console.clock(), uses=uses)

    return await console.turns.take(lambda: console.performer.in_thread(find))


def _check_origin(request: web.Request) -> None:
    if not is_same_origin(request.headers.get("Origin"), request.host):
        raise Refused(403, "The form came from another site, or your browser hides from where. Nothing was done.")


async def _checked_form(request: web.Request, cookies: Cookies) -> Mapping[str, list[str]]:
    """Return the fields of a form of our own. Raises Refused."""
    if request.content_type != FORM_TYPE:
        raise Refused(415, "Forms are sent as application/x-www-form-urlencoded.")
    if (request.content_length or 0) > LONGEST_FORM:
        raise Refused(413, "The form is too large.")
    fields: dict[str, list[str]] = {}
    sent = await request.post()
    if len(sent) > MOST_FIELDS:
        raise Refused(413, "The form has too many fields.")
    for name, value in sent.items():
        fields.setdefault(name, []).append(str(value))
    if not cookies.holds(fields.get("form_token", [""])[0]):
        raise Refused(403, "The form is of another login, or too old. Nothing was done: open the page again.")
    return fields


def is_same_origin(origin: str | None, host: str) -> bool:
    """Return whether a browser says that a form is on a page of this host. It says so of every form that it sends."""
    if not origin:
        return False
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and bool(parts.netloc) and parts.netloc.lower() == host.lower()


def local_path(wanted: str) -> str:
    """Return a path below `/console` to go to after a login; the first page's for anything else.

    Browsers read `//host`, `/\\host` and what follows a tab or a line end as another site's address.
    """
    path = wanted.removeprefix(ROOT)
    odd = not wanted.startswith(f"{ROOT}/") or path.startswith("//") or "\\" in path or not wanted.isprintable()
    return "/fleet" if odd or not wanted.isascii() or len(wanted) > 4000 or path.startswith("/log") else path


def _to_login(visit: Visit) -> web.StreamResponse:
    request = visit.request
    if LIVE in request.headers or "text/event-stream" in request.headers.get("Accept", ""):
        return web.Response(status=401, text="the session is over")
    wanted = request.path_qs if request.method == "GET" else f"{ROOT}/fleet"
    query = f"?next={quote(wanted, safe='')}" if wanted not in (f"{ROOT}/", f"{ROOT}/fleet") else ""
    answer = web.Response(status=303, headers={"Location": f"{ROOT}/login{query}"})
    if visit.cookies.session:
        drop_cookie(answer, SESSION, secure=visit.cookies.secure)
    return answer


def _with_visit(cookies: Cookies) -> Cookies:
    """Return the cookies with one for forms before the login."""
    if len(cookies.visit) == SECRET_LENGTH or cookies.session:
        return cookies
    return replace(cookies, visit=draw(SECRET_LENGTH))
