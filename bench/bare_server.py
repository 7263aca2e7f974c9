"""The least that a server does in a wave of upgrades, for `wave_floor.py`: it stores nothing and verifies nothing.

It takes the requests that simulated agents make, and the calls of the API that start a wave and ask about it. Which
hosts have not ended yet is all that it keeps, in memory. Prints its address once it listens, as `backfleet serve` does.
"""

import argparse
import asyncio
import json

from aiohttp import WSMsgType, web

from backfleet.commands import HandedInvocation, Handout
from backfleet.endpoints.agents import codec
from backfleet.endpoints.agents.sockets import KICK, PING_SECONDS
from backfleet.ids import new_id
from backfleet_host.contract import Order
from backfleet_sim.seeding import NEW, PACKAGE

KEEP_ALIVE_SECONDS, BUDGET_SECONDS = 120, 840  # of an idle connection, as `backfleet serve`; of an order


class Bare:
    """Answers agents, and whoever upgrades them."""

    def __init__(self) -> None:
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._orders: dict[str, HandedInvocation] = {}  # by instance; not handed out yet
        self._open: dict[str, set[str]] = {}  # by task: instances without a final report

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add every address that a wave needs."""
        router.add_post("/", self._call)
        router.add_get("/luban/notify_server", self._hold)
        router.add_post("/luban/api/instance/register", self._register)
        router.add_get("/luban/api/heart-beat", self._heartbeat)
        router.add_post("/luban/api/v1/task/list", self._list)
        router.add_post("/luban/api/v1/task/running", self._report)
        router.add_post("/luban/api/v1/task/finish", self._report)

    async def _call(self, request: web.Request) -> web.Response:
        given, action = {**request.query, **await request.post()}, request.headers["x-acs-action"]
        if action == "CreateActivation":
            return web.json_response({"ActivationId": "bare", "ActivationCode": "bare"})
        if action == "DescribeTask":
            state = "running" if self._open[str(given["TaskId"])] else "completed"
            return web.json_response({"Success": True, "Description": state, "Result": "[]"})
        ids, task_id = json.loads(str(given["InstanceIds"])), new_id("t")
        self._open[task_id] = set(ids)
        self._orders |= {each: order_of(action.removesuffix("BackupClients").lower()) for each in ids}
        self._kicking = [asyncio.ensure_future(self._sockets[each].send_str(KICK)) for each in ids]
        statuses = [{"InstanceId": each, "ValidInstance": True, "ErrorCode": ""} for each in ids]
        return web.json_response({"Success": True, "TaskId": task_id, "InstanceStatuses": statuses})

    async def _hold(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False, heartbeat=PING_SECONDS, compress=False)
        await socket.prepare(request)
        self._sockets[instance_of(request)] = socket
        async for message in socket:
            if message.type is WSMsgType.PING:
                await socket.pong(message.data)
        return socket

    async def _register(self, request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"code": 200, "instanceId": new_id("mi")})

    async def _heartbeat(self, _request: web.Request) -> web.Response:
        return web.json_response({"nextInterval": codec.HEARTBEAT_MS})

    async def _list(self, request: web.Request) -> web.Response:
        await request.read()
        instance_id = instance_of(request)
        order = self._orders.pop(instance_id, None)
        return web.json_response(codec.task_list(instance_id, Handout([order] if order else [], [])))

    async def _report(self, request: web.Request) -> web.Response:
        await request.read()
        if request.path.endswith("/finish"):
            for ids in self._open.values():
                ids.discard(instance_of(request))
        return web.json_response({})


def instance_of(request: web.Request) -> str:
    """Return whose request it is; its signature is not looked at."""
    return request.headers["x-acs-instance-id"]


def order_of(kind: str) -> HandedInvocation:
    """Return an order as a host gets it, with an id of its own."""
    order = Order(new_id("u", length=25), kind, PACKAGE, NEW, "linux-amd64", BUDGET_SECONDS)
    return HandedInvocation(new_id("t", length=25), order.as_command(), BUDGET_SECONDS)


async def serve() -> None:
    """Answer until the process is ended."""
    app = web.Application()
    Bare().add_to(app.router)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=KEEP_ALIVE_SECONDS)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"event": "ready", "http": f"http://127.0.0.1:{runner.addresses[0][1]}"}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.split("\n", 1)[0]).parse_args()
    asyncio.run(serve())
