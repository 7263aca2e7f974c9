"""Every address of the agent protocol."""

from typing import Any

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

PREFIX = r"/{prefix:(?:.+/)?}luban"  # any path before it: the agent appends to its server address as it is written


def add_to(
    router: web.UrlDispatcher, node: Node, authenticator: Authenticator, reports: Reports, kicks: Kicking
) -> None:
    """Add the handler of each address."""
    enrolment, present = Enrolment(node, authenticator), Presence(node, authenticator)
    tasks = Tasks(node, authenticator, reports)
    router.add_post(f"{PREFIX}/api/instance/register", enrolment.register)
    router.add_post(PREFIX + adoption.PATH, adoption.Adoption(node).adopt)
    router.add_get(f"{PREFIX}/api/heart-beat", present.heartbeat)
    router.add_get(f"{PREFIX}/api/backfleet/order", tasks.withdrawn)
    router.add_get(f"{PREFIX}/api/connection_detect", presence.connection_detect)
    router.add_get(f"{PREFIX}/api/classic/region-id", present.region)
    for path, handler in (
        ("/api/v1/task/list", tasks.list_tasks),
        ("/api/v1/task/running", tasks.running),
        ("/api/v1/task/verified", tasks.verified),
        *((f"/api/v1/task/{kind}", tasks.ended) for kind in commands.FINAL_REPORTS),
    ):
        router.add_post(PREFIX + path, signed(authenticator, path, handler))
    confirmed = "/api/backfleet/enrolled"
    router.add_post(PREFIX + confirmed, signed(authenticator, confirmed, enrolment.confirmed))
    # One that this server has deregistered before must be let go: else its agent can never enrol again.
    gone = "/api/instance/deregister"
    router.add_post(PREFIX + gone, signed(authenticator, gone, enrolment.deregister, may_be_gone=True))
    for path, store in self_reports.ENDPOINTS.items():
        answer = signed(authenticator, path, self_reports.handler(node, authenticator, store))
        router.add_post(PREFIX + path, self_reports.quiet_unless_signed(answer))
    runs = self_reports.handler(node, authenticator, client_runs.store_runs)
    router.add_post(PREFIX + client_runs.PATH, signed(authenticator, client_runs.PATH, runs))
    socket = signed(authenticator, "/notify_server", kicks.notify, kicks.entering)
    router.add_get(f"{PREFIX}/notify_server", socket)
    for path, constant in codec.BENIGN.items():
        router.add_post(PREFIX + path, _constant(path, constant))


def _constant(path: str, answer: Any) -> PlainHandler:
    async def handler(request: web.Request) -> web.StreamResponse:
        body = await read_body(request)  # to its end: an earlier answer would break the connection
        self_reports.note(path, body, request.headers.get("x-acs-instance-id", ""))
        return web.json_response(answer)

    return handler
