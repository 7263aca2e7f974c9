"""One request of a person: who it is, what they sent, and how pages ask operations as them."""

import json
import time
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from backfleet import identity, logins
from backfleet.clock import Clock
from backfleet.endpoints.console.cookies import ROOT, Cookies
from backfleet.endpoints.console.federation import Federation
from backfleet.endpoints.console.live import Changes
from backfleet.endpoints.console.refetching import Recorded, key_of
from backfleet.endpoints.console.rendering import Renderer
from backfleet.endpoints.console.turns import Turns
from backfleet.operations.catalogue import PRODUCTS, Answer, Call, Operation, Services, find
from backfleet.operations.perform import Authenticated, Performer
from backfleet.peers import peer_of
from backfleet.storage import CallLimit
from backfleet.values import value_object
from backfleet.wire.errors import ApiError, InvalidParameter, NeedsTls

LIVE = "X-Backfleet-Live"  # what a page fetches by itself has this header: it does not keep a session alive
VERSIONS = {product.code: product.version for product in PRODUCTS.values()}


@value_object
class Console:
    """What the pages of this process share."""

    services: Services
    performer: Performer
    clock: Clock
    renderer: Renderer
    changes: Changes
    federation: Federation
    recorded: Recorded
    turns: Turns

    @property
    def lifetime(self) -> logins.Lifetime:
        """How long sessions last."""
        settings = self.services.settings
        return logins.Lifetime(
            timedelta(seconds=settings.console_idle_seconds), timedelta(seconds=settings.console_seconds)
        )


@value_object
class Visit:
    """A request, the cookies it showed, and the session they belong to."""

    console: Console
    request: web.Request
    cookies: Cookies
    session: logins.Session | None
    form: Mapping[str, list[str]]  # what a form sent; empty for GET

    # --- What was sent ------------------------------------------------------------------------------------------

    @property
    def caller(self) -> identity.Caller:
        """Who is logged in; nobody on a public page."""
        return identity.ANONYMOUS if self.session is None else self.session.caller

    @property
    def now(self) -> datetime:
        """The time."""
        return self.console.clock()

    def sent(self, name: str) -> str:
        """Return a field of the form, or else of the address; "" for none."""
        values = self.form.get(name)
        return values[0] if values else self.request.query.get(name, "")

    def all_sent(self, name: str) -> list[str]:
        """Return every value of a field of the form, or else of the address."""
        return self.form.get(name) or list(self.request.query.getall(name, []))

    def reason(self) -> str:
        """Return why a person takes something away, for the audit trail.

        Raises:
            InvalidParameter: they did not say it.
        """
        text = self.sent("reason").strip()
        if not text:
            raise InvalidParameter("Say why it is removed: the audit trail keeps the reason.")
        return text

    def number(self, name: str, default: int = 1, most: int = 1_000_000) -> int:
        """Return a whole number of the address; the default for anything else."""
        text = self.sent(name)
        return min(int(text), most) if text.isascii() and text.isdigit() and len(text) < 10 and int(text) else default

    def address(self, **changed: object) -> str:
        """Return this page's address with other values of some parameters; None and "" leave one out."""
        query = {name: self.request.query.getall(name) for name in self.request.query}
        query |= {name: [str(value)] if value not in (None, "") else [] for name, value in changed.items()}
        text = urlencode(query, doseq=True)
        return f"{self.request.path}?{text}" if text else self.request.path

    # --- Asking -------------------------------------------------------------------------------------------------

    async def ask(self, product: str, action: str, **parameters: object) -> Answer:
        """Call an operation as the person who is logged in, and return its answer.

        Args:
            product: The product's code, such as `hbr`.
            action: The operation's name.
            parameters: By their names on the wire. None is left out; lists and objects travel as JSON text.

        Raises:
            ApiError: it was refused, as over the API.
        """
        answer, _ = await self.perform(find(VERSIONS[product], action), flat_of(parameters))
        return answer

    async def perform(self, operation: Operation, flat: Mapping[str, str]) -> tuple[Answer, str]:
        """Call an operation as the person who is logged in; return its answer and the call's RequestId.

        Raises:
            ApiError: it was refused, as over the API; `extra` has the RequestId.
        """
        call, recorded = self.new_call(), self.console.recorded
        key = key_of(self.cookies.form_token, f"{operation.product.code}:{operation.name}", flat)
        is_on_trail = LIVE in self.request.headers and recorded.has(key, call.now)
        try:
            if operation.needs_tls and call.services.settings.require_tls and not call.secure:
                raise NeedsTls
            key_id = "" if self.session is None else self.session.credential.access_key_id
            found = await self.console.turns.take(
                lambda: self.console.performer.perform(
                    operation, flat, lambda: Authenticated(call, key_id, is_on_trail=is_on_trail)
                )
            )
        except ApiError as problem:
            problem.extra.setdefault("RequestId", call.request_id)
            raise
        if not is_on_trail:
            recorded.note(key, call.now)
        return found, call.request_id

    async def ask_or_none(self, product: str, action: str, **parameters: object) -> Answer | None:
        """Call an operation for a part of a page; None if the person may not, so that the rest is shown all the same.

        Raises:
            ApiError: any other refusal.
        """
        try:
            return await self.ask(product, action, **parameters)
        except ApiError as problem:
            if problem.status != web.HTTPForbidden.status_code:
                raise
            return None

    def new_call(self) -> Call:
        """Return a call of the person who is logged in, with an id and a limit of its own."""
        peer, services = peer_of(self.request), self.console.services
        limit = CallLimit(time.monotonic() + services.settings.call_seconds, self._is_gone)
        return Call(
            request_id=str(uuid.uuid4()).upper(),
            caller=self.caller,
            region=services.settings.region,
            now=self.now,
            source_ip=peer.address,
            secure=peer.secure,
            services=services.within(limit),
            user_agent=f"backfleet-console {self.request.headers.get('User-Agent', '')}".rstrip(),
        )

    def _is_gone(self) -> bool:
        transport = self.request.transport
        return transport is None or transport.is_closing()

    # --- Answering ----------------------------------------------------------------------------------------------

    def page(self, template: str, *, status: int = 200, **values: object) -> web.Response:
        """Return a page made from a template."""
        text = self.console.renderer.render(template, visit=self, form_token=self.cookies.form_token, **values)
        return web.Response(text=text, content_type="text/html", status=status)

    def seconds_left(self) -> tuple[int, int]:
        """Return in how many seconds the session ends if nothing is asked for, and in any case."""
        if self.session is None:
            return 0, 0
        session, now = self.session, self.now
        idle = session.idles_until(self.console.lifetime) - now
        return int(idle.total_seconds()), int((session.ends_at - now).total_seconds())


def go_to(path: str) -> web.Response:
    """Return an answer that has the browser open a page of the console, given by its path below `/console`."""
    return web.Response(status=303, headers={"Location": f"{ROOT}{path}"})


def flat_of(parameters: Mapping[str, object]) -> dict[str, str]:
    """Return parameters as they travel: None is left out, lists and objects are JSON text."""
    flat = {}
    for name, value in parameters.items():
        if value is None:
            continue
        flat[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return flat


def rows_of(answer: Answer | None, name: str) -> list[dict[str, Any]]:
    """Return a list of an answer; an empty one if there is no answer."""
    return list((answer or {}).get(name) or [])
