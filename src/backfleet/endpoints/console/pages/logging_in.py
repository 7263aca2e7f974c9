"""Logging in with a key or with a code, and logging out. A key and its secret are checked once and kept nowhere."""

import ipaddress
import logging
from datetime import datetime
from functools import lru_cache
from typing import Final

from aiohttp import web

from backfleet import logins
from backfleet.endpoints.console.cookies import SESSION, VISIT, drop_cookie, set_cookie
from backfleet.endpoints.console.guarding import local_path
from backfleet.endpoints.console.routes import get, post
from backfleet.endpoints.console.visits import Console, Visit, go_to
from backfleet.operations.throttling import RateLimit, Throttle, Throttled
from backfleet.peers import peer_of

ATTEMPTS: Final = RateLimit(per_second=1, burst=10)  # of one address, right or wrong
WRONG: Final = "No active access key has this id and this secret."
USED: Final = "The link was used already, or it is older than ten minutes. Make another one, or log in with a key."

TOO_MANY: Final = "Too many attempts from your address. Try again in {seconds} s."

log = logging.getLogger(__name__)


async def show_login(visit: Visit) -> web.StreamResponse:
    """Show the form, or lead on who is logged in already."""
    if visit.session is not None:
        return go_to(local_path(visit.sent("next")))
    return login_form(visit)


async def log_in(visit: Visit) -> web.StreamResponse:
    """Begin a session, with an id of its own, if key and secret belong together."""
    waits = await spend_attempt(visit)
    if waits:
        return login_form(visit, TOO_MANY.format(seconds=waits), status=429)
    console, key_id, secret = visit.console, visit.sent("key_id"), visit.sent("secret")
    made = await console.performer.in_thread(lambda: _begin_with_key(console, key_id, secret, visit.now))
    if made is None:
        log.warning("a login to the console failed", extra={"address": peer_of(visit.request).address})
        return login_form(visit, WRONG, status=403)
    return await logged_in(visit, made)


async def log_in_once(visit: Visit) -> web.StreamResponse:
    """Begin a session with a code. A page that was opened by a link sends it from there: no address has it."""
    waits = await spend_attempt(visit)
    if waits:
        return login_form(visit, TOO_MANY.format(seconds=waits), status=429)
    console, code = visit.console, visit.sent("code")
    made = await console.performer.in_thread(lambda: _begin_with_code(console, code, visit.now))
    return login_form(visit, USED, status=403) if made is None else await logged_in(visit, made)


async def log_out(visit: Visit) -> web.StreamResponse:
    """End this session everywhere."""
    console = visit.console

    def end() -> None:
        with console.services.database.transaction() as tx:
            logins.end(tx, visit.cookies.session)

    await console.performer.in_thread(end)
    console.changes.check_again(visit.cookies.form_token)
    answer = go_to("/login")
    drop_cookie(answer, SESSION, secure=visit.cookies.secure)
    return answer


def _begin_with_key(console: Console, key_id: str, secret: str, now: datetime) -> str | None:
    services = console.services
    with services.database.transaction() as tx:
        caller = logins.check_secret(tx, services.vault, key_id, secret)
        if caller is None:
            return None
        return logins.begin(tx, logins.Credential(caller.access_key_id), console.lifetime, now=now, draw=services.draw)


def _begin_with_code(console: Console, code: str, now: datetime) -> str | None:
    services = console.services
    with services.database.transaction() as tx:
        key_id = logins.use_code(tx, code, now=now)
        if key_id is None:
            return None
        made = logins.begin(tx, logins.Credential(key_id), console.lifetime, now=now, draw=services.draw)
        # The key may have been switched off since the code was made.
        return made if logins.find(tx, services.vault, made, console.lifetime, now=now, uses=False) else None


async def logged_in(visit: Visit, secret: str, path: str = "") -> web.StreamResponse:
    """Lead on, with the new session instead of what the browser showed before: nobody can choose its id."""
    console, secure = visit.console, visit.cookies.secure

    def end_former() -> None:
        with console.services.database.transaction() as tx:
            logins.end(tx, visit.cookies.session)

    if visit.cookies.session:
        await console.performer.in_thread(end_former)
        console.changes.check_again(visit.cookies.form_token)
    answer = go_to(path or local_path(visit.sent("next")))
    set_cookie(answer, SESSION, secret, secure=secure, seconds=None)
    drop_cookie(answer, VISIT, secure=secure)
    log.info("a person logged in to the console", extra={"address": peer_of(visit.request).address})
    return answer


def login_form(visit: Visit, problem: str = "", *, status: int = 200) -> web.Response:
    """Return the login page, with what went wrong."""
    wanted = visit.sent("next")
    return visit.page(
        "login.html",
        status=status,
        problem=problem,
        wanted=wanted if local_path(wanted) in wanted else "",
        offers=visit.console.federation.offers,
    )


async def spend_attempt(visit: Visit) -> int:
    """Count an attempt of the visitor's address. Return in how many seconds the next one is taken, 0 for this one."""
    throttle = _throttle(visit.console)
    address = network_of(peer_of(visit.request).address)
    try:
        throttle.spend(address, "console login", visit.now, caller=address, shared=False)
    except Throttled as refusal:
        return max(1, round(refusal.wait.total_seconds()))
    return 0


def network_of(address: str) -> str:
    """Return whose attempts are counted together: an address, or the network that one home or server has in IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


@lru_cache(maxsize=8)
def _throttle(console: Console) -> Throttle:
    return Throttle(console.services.database, ATTEMPTS, processes=console.services.settings.processes)


ROUTES = [
    get("/login", show_login, public=True),
    post("/login", log_in, public=True),
    post("/login/once", log_in_once, public=True),
    post("/logout", log_out),
]
