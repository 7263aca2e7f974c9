"""The cookies of the console, and the tokens of its forms.

A browser shows the secret of its session, or, before the login, that of a visit. The token of a form is a hash of it:
another site can have a browser send the cookie, and cannot read it.
"""

import hashlib
import hmac
from dataclasses import field
from typing import Final

from aiohttp import web

from backfleet.peers import peer_of
from backfleet.values import value_object

ROOT: Final = "/console"
SESSION, VISIT, ATTEMPT = "backfleet-session", "backfleet-visit", "backfleet-oidc"
VISIT_SECONDS: Final = 3600


@value_object
class Cookies:
    """What a request showed. `repr` leaves the secrets out."""

    secure: bool
    session: str = field(repr=False)
    visit: str = field(repr=False)
    attempt: str = field(default="", repr=False)  # to log in by a provider, sealed

    @property
    def form_token(self) -> str:
        """The token that forms of this browser carry; "" if it showed no cookie."""
        secret = self.session or self.visit
        return hashlib.sha256(f"form {secret}".encode(errors="replace")).hexdigest() if secret else ""

    def holds(self, token: str) -> bool:
        """Return whether a form's token is this browser's, in constant time."""
        known = self.form_token
        return bool(known) and hmac.compare_digest(known.encode(), token.encode(errors="replace"))


def read_cookies(request: web.Request) -> Cookies:
    """Return the cookies of a request."""
    secure = peer_of(request).secure
    shown = request.cookies
    return Cookies(secure, *(shown.get(name_of(name, secure), "") for name in (SESSION, VISIT, ATTEMPT)))


def set_cookie(response: web.StreamResponse, name: str, secret: str, *, secure: bool, seconds: int | None) -> None:
    """Have a browser show a secret from now on. Over TLS no other host and no plain page can set it."""
    response.set_cookie(
        name_of(name, secure),
        secret,
        max_age=seconds,
        path="/" if secure else ROOT,
        secure=secure,
        httponly=True,
        samesite="Lax",
    )


def drop_cookie(response: web.StreamResponse, name: str, *, secure: bool) -> None:
    """Have a browser forget a secret."""
    response.del_cookie(
        name_of(name, secure), path="/" if secure else ROOT, secure=secure, httponly=True, samesite="Lax"
    )


def name_of(name: str, secure: bool) -> str:
    """Return a cookie's name; browsers take `__Host-` from this host over TLS only."""
    return f"__Host-{name}" if secure else name
