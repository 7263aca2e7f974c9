"""Logging in by an identity provider: there, and back."""

import logging

from aiohttp import web

from backfleet.endpoints.console.cookies import ATTEMPT, drop_cookie, set_cookie
from backfleet.endpoints.console.guarding import local_path
from backfleet.endpoints.console.pages.logging_in import TOO_MANY, logged_in, login_form, spend_attempt
from backfleet.endpoints.console.routes import get
from backfleet.endpoints.console.visits import Visit
from backfleet.logins import oidc
from backfleet.peers import peer_of
from backfleet.wire.errors import ApiError

UNKNOWN = "There is no such way to log in. Choose one of these."

log = logging.getLogger(__name__)


async def leave(visit: Visit) -> web.StreamResponse:
    """Send the browser to the provider. Nothing is stored here; the browser keeps the attempt, sealed.

    A link on another site leads to the login page only: nobody is logged in without having wanted it.
    """
    federation = visit.console.federation
    offer = federation.offers.find(visit.request.match_info["offer"])
    if offer is None:
        return login_form(visit, UNKNOWN, status=404)
    if visit.request.headers.get("Sec-Fetch-Site") == "cross-site":
        return login_form(visit)
    address, sealed = federation.begin(offer, visit.sent("next"))
    answer = web.Response(status=303, headers={"Location": address})
    seconds = int(oidc.ATTEMPT_LIFE.total_seconds())
    set_cookie(answer, ATTEMPT, sealed, secure=visit.cookies.secure, seconds=seconds)
    return answer


async def come_back(visit: Visit) -> web.StreamResponse:
    """Begin a session, with an id of its own, for whom the provider sent back."""
    waits = await spend_attempt(visit)
    if waits:
        return login_form(visit, TOO_MANY.format(seconds=waits), status=429)
    console, request = visit.console, visit.request
    offer = console.federation.offers.find(request.match_info["offer"])
    if offer is None:
        return login_form(visit, UNKNOWN, status=404)
    try:
        wanted, secret = await console.federation.finish(
            offer, visit.cookies.attempt, request.query, visit.new_call(), console.lifetime
        )
    except oidc.LoginRefused as refusal:
        reason = str(refusal)
    except ApiError as refusal:
        if refusal.status >= web.HTTPInternalServerError.status_code:
            raise
        reason = f"{offer.name} knows you, but you may not log in here: {refusal.message}"
    else:
        answer = await logged_in(visit, secret, local_path(wanted))
        drop_cookie(answer, ATTEMPT, secure=visit.cookies.secure)
        return answer
    log.warning(
        "a login by a provider failed",
        extra={"address": peer_of(request).address, "login": offer.id, "reason": reason},
    )
    return login_form(visit, reason, status=403)


ROUTES = [
    get("/login/oidc/{offer}", leave, public=True),
    get("/login/oidc/{offer}/done", come_back, public=True),
]
