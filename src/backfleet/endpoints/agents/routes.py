"""Every address of the agent protocol.

The router finds each by its whole text. Below a prefix it has one expression for all of them: with one for each it
would try twenty before it comes to the busiest.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from backfleet import commands
from backfleet.endpoints.agents import adoption, client_runs, codec, presence, self_reports
from backfleet.endpoints.agents.authentication import Authenticator
from backfleet.endpoints.agents.enrolment import Enrolment
from backfleet.endpoints.agents.kicking import Kicking
from backfleet.endpoints.agents.node import Node, read_body
from backfleet.endpoints.agents.presence import Presence
from backfleet.endpoints.agents.reports import Reports
from backfleet.endpoints.agents.signed import PlainHandler, signed
from backfleet.endpoints.agents.tasks import Tasks
from backfleet.short_answers import Answer
from backfleet.short_requests import AnyRequest, ShortRequests

ADDRESS: Final = r"/{prefix:(?:.+/)?}luban{address:/.+}"
"""Any path before `luban`: the agent appends to its server address as it is written."""


ShortHandler = Callable[[AnyRequest], Awaitable[Answer]]


class Addresses:
    """The handlers of the protocol's addresses, by method and by what follows `luban`."""

    def __init__(self, short: ShortRequests) -> None:
        self._short = short
        self._handlers: dict[tuple[str, str], PlainHandler] = {}

    def get(self, address: str, handler: PlainHandler) -> None:
        """Answer GET and HEAD at an address."""
        self._handlers["GET", address] = self._handlers["HEAD", address] = handler

    def post(self, address: str, handler: PlainHandler) -> None:
        """Answer POST at an address."""
        self._handlers["POST", address] = handler

    def short(self, method: str, address: str, handler: ShortHandler) -> None:
        """Answer a method at an address. Where the whole path is this one, the HTTP server is not asked."""
        self._short.add(method, f"/luban{address}", handler)
        if method == "GET":
            self.get(address, handler)
        else:
            self.post(address, handler)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Have the router find them."""
        for address in {known for _, known in self._handlers}:
            router.add_route("*", f"/luban{address}", self.answer)
        router.add_route("*", ADDRESS, self.answer)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request by its handler.

        Raises:
            HTTPNotFound: there is no such address.
            HTTPMethodNotAllowed: it takes other methods.
        """
        address = request.rel_url.raw_path.rpartition("luban")[2]
        handler = self._handlers.get((request.method, address))
        if handler is not None:
            reply = await handler(request)
            return reply.as_response() if isinstance(reply, Answer) else reply
        allowed = [method for method, known in self._handlers if known == address]
        raise web.HTTPMethodNotAllowed(request.method, allowed) if allowed else web.HTTPNotFound


def add_to(
    router: web.UrlDispatcher,
    short: ShortRequests,
    node: Node,
    authenticator: Authenticator,
    reports: Reports,
    kicks: Kicking,
) -> None:
    """Add the handler of each address: the busiest where short requests are answered, too."""
    enrolment, present = Enrolment(node, authenticator), Presence(node, authenticator)
    tasks = Tasks(node, authenticator, reports)
    addresses = Addresses(short)
    addresses.post("/api/instance/register", enrolment.register)
    addresses.post(adoption.PATH, adoption.Adoption(node).adopt)
    addresses.short("GET", "/api/heart-beat", present.heartbeat)
    addresses.get("/api/backfleet/order", tasks.withdrawn)
    addresses.get("/api/connection_detect", presence.connection_detect)
    addresses.get("/api/classic/region-id", present.region)
    for path, handler in (
        ("/api/v1/task/list", tasks.list_tasks),
        ("/api/v1/task/running", tasks.running),
        ("/api/v1/task/verified", tasks.verified),
        *((f"/api/v1/task/{kind}", tasks.ended) for kind in commands.FINAL_REPORTS),
    ):
        addresses.short("POST", path, signed(authenticator, path, handler))
    confirmed = "/api/backfleet/enrolled"
    addresses.post(confirmed, signed(authenticator, confirmed, enrolment.confirmed))
    # One that this server has deregistered before must be let go: else its agent can never enrol again.
    gone = "/api/instance/deregister"
    addresses.post(gone, signed(authenticator, gone, enrolment.deregister, may_be_gone=True))
    for path, store in self_reports.ENDPOINTS.items():
        answer = signed(authenticator, path, self_reports.handler(node, authenticator, store))
        addresses.post(path, self_reports.quiet_unless_signed(answer))
    runs = self_reports.handler(node, authenticator, client_runs.store_runs)
    addresses.post(client_runs.PATH, signed(authenticator, client_runs.PATH, runs))
    socket = signed(authenticator, "/notify_server", kicks.notify, kicks.entering)
    addresses.get("/notify_server", socket)
    for path, constant in codec.BENIGN.items():
        addresses.post(path, _constant(path, constant))
    addresses.add_to(router)


def _constant(path: str, answer: Any) -> PlainHandler:
    async def handler(request: web.Request) -> web.StreamResponse:
        body = await read_body(request)  # to its end: an earlier answer would break the connection
        self_reports.note(path, body, request.headers.get("x-acs-instance-id", ""))
        return web.json_response(answer)

    return handler
