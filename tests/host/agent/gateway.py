"""A small Cloud Assistant gateway after the protocol page: TLS, registration, signatures, socket, lists.

It runs in a thread of the test and records every request. It can misbehave as real ones do: refuse, hang, lose answers,
go away and come back on the same port.
"""

import asyncio
import base64
import json
import socket
import ssl
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from backfleet.certificates import prepare_certificates
from listening import TURNS_SECONDS, end_of

WINDOW_MS = 15 * 60 * 1000
TERMINAL = {"finish", "timeout", "stopped", "error", "invalid"}
ROOT_METADATA = json.dumps({"signed": {"_type": "root", "version": 1}, "signatures": []}).encode()
CODE = "open-sesame"


@dataclass
class ReceivedReport:
    """One report, as it arrived."""

    name: str
    query: dict[str, str]
    body: bytes
    at: float

    @property
    def task(self) -> str:
        return self.query["taskId"]


@dataclass
class Behaviour:
    """What goes wrong, and how many times more."""

    lose_register_answers: int = 0
    refuse: Counter[str] = field(default_factory=Counter)  # path's last part -> answers of 503 to give
    lose_answers: Counter[str] = field(default_factory=Counter)  # stored, but the connection ends without an answer
    answer_after_a_list: Counter[str] = field(default_factory=Counter)  # only when the next list is fetched
    silent_pongs: bool = False
    root_metadata: bytes = ROOT_METADATA
    newer_roots: list[bytes] = field(default_factory=list)


class Gateway:
    """Runs within `with`; its attributes hold what it received."""

    def __init__(self, folder: Path, *, ahead: timedelta = timedelta(), certified: timedelta = timedelta()) -> None:
        """Show a time that is `ahead` of the machine's, with a certificate of `certified` from now."""
        self._ahead = ahead
        certificates = prepare_certificates(folder, ["127.0.0.1", "localhost"], now=datetime.now(UTC) + certified)
        self.ca = certificates.authority
        self._tls: ssl.SSLContext = certificates.context()
        self.behaviour = Behaviour()
        self.activations = {"act-1": [CODE, 100]}
        self.registered: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, RSAPublicKey] = {}
        self.tasks: dict[str, dict[str, Any]] = {}
        self.stops: list[dict[str, Any]] = []
        self.extra: dict[str, Any] = {}
        self.reports: list[ReceivedReport] = []
        self.heartbeats: list[dict[str, str]] = []
        self.lists: list[dict[str, str]] = []
        self.runs: list[dict[str, Any]] = []
        self.echoes: list[str] = []
        self.pings = 0
        self.pongs = 0
        self.opened = 0
        self.refused: list[str] = []
        self._transports: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()
        self._sockets: set[web.WebSocketResponse] = set()
        self._request_ids: set[str] = set()
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None
        self.port = 0

    def __enter__(self) -> "Gateway":
        self._thread.start()
        self.come_back()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_away()
        self._do(self._cut_the_rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def come_back(self) -> None:
        """Listen, on the same port as before."""
        self._do(self._start())

    def go_away(self) -> None:
        """Close all connections, as a killed server would."""
        self._do(self._stop())

    async def _cut_the_rest(self) -> None:
        """Close connections during their handshake: they belong to no server yet, and only the loop knows them."""
        for transport in list(getattr(self._loop, "_transports", {}).values()):
            transport.abort()
        await asyncio.sleep(TURNS_SECONDS)

    def drop_sockets(self) -> None:
        """End the connection of every notify socket without a close frame."""

        async def drop() -> None:
            for one in list(self._sockets):
                assert one._req is not None
                assert one._req.transport is not None
                one._req.transport.abort()

        self._do(drop())

    def kick(self, text: str = "kick_vm") -> None:
        """Send this text over every notify socket."""

        async def send() -> None:
            for one in list(self._sockets):
                await one.send_str(text)

        self._do(send())

    def hand_out(self, task_id: str, content: str, *, kick: bool = True, **fields: Any) -> None:
        """List this task until its first report arrives."""
        output = {"interval": 1000, "logQuota": 12000, "skipEmpty": True, "sendStart": True} | fields.pop("output", {})
        task = {
            "type": "RunShellScript",
            "taskID": task_id,
            "commandId": "c-1",
            "timeOut": "60",
            "commandContent": base64.b64encode(content.encode()).decode(),
        } | fields.pop("task", {})
        self.tasks[task_id] = {"task": task, "output": output, "repeat": "Once"} | fields
        if kick:
            self.kick(f"kick_vm task run {task_id}")

    def stop_task(self, task_id: str) -> None:
        """List this task as one to stop, once."""
        self.stops.append({"task": {"taskID": task_id}, "output": {}, "repeat": "Once"})
        self.kick(f"kick_vm task stop {task_id}")

    def reports_about(self, task_id: str, *names: str) -> list[ReceivedReport]:
        """Return the reports about this task, of all kinds or of these."""
        return [one for one in self.reports if one.task == task_id and (not names or one.name in names)]

    def wait_for(self, what: Callable[[], Any], seconds: float = 15.0) -> Any:
        """Wait until `what` is true, and return its value."""
        until = time.monotonic() + seconds
        with self._changed:
            while not (found := what()):
                left = until - time.monotonic()
                assert left > 0, f"it did not happen; last reports: {self.reports[-5:]}, refused: {self.refused[-3:]}"
                self._changed.wait(min(left, 0.05))
        return found

    def end_of(self, task_id: str, seconds: float = 15.0) -> ReceivedReport:
        """Wait for the first final report about this task, and return it."""
        found: list[ReceivedReport] = self.wait_for(lambda: self.reports_about(task_id, *TERMINAL), seconds)
        return found[0]

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _note(self) -> None:
        with self._changed:
            self._changed.notify_all()

    async def _start(self) -> None:
        app = web.Application(client_max_size=8 << 20, middlewares=[self._remember])
        app.router.add_post("/luban/api/instance/register", self._register)
        app.router.add_get("/luban/api/heart-beat", self._heartbeat)
        app.router.add_post("/luban/api/v1/task/list", self._list)
        app.router.add_post("/luban/api/v1/task/{name}", self._report)
        app.router.add_get("/luban/notify_server", self._notify)
        app.router.add_post("/luban/api/backfleet/runs", self._runs)
        app.router.add_get("/downloads/metadata/{version}.root.json", self._root)
        app.on_response_prepare.append(self._show_time)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2, handler_cancellation=True)
        await self._runner.setup()
        listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self.port = listener.getsockname()[1]
        await web.SockSite(self._runner, listener, ssl_context=self._tls).start()

    async def _show_time(self, _request: web.Request, answer: web.StreamResponse) -> None:
        answer.headers["Date"] = format_datetime(datetime.now(UTC) + self._ahead, usegmt=True)

    async def _stop(self) -> None:
        for transport in list(self._transports):
            transport.abort()
        if self._runner is not None:
            await end_of(self._runner)
        self._runner = None

    @web.middleware
    async def _remember(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.transport is not None:
            self._transports.add(request.transport)  # an orderly end would wait for clients that do not read
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _root(self, request: web.Request) -> web.Response:
        roots = [self.behaviour.root_metadata, *self.behaviour.newer_roots]
        number = int(request.match_info["version"])
        if number > len(roots):
            raise web.HTTPNotFound
        return web.Response(body=roots[number - 1])

    async def _register(self, request: web.Request) -> web.Response:
        body = await request.json()
        kept = self.activations.get(body["activationId"])
        if kept is None or kept[0] != body["activationCode"]:
            return web.json_response({"code": 403, "errMsg": "the activation code is wrong"}, status=403)
        pem = base64.b64decode(body["publicKey"])
        same = [i for i, known in self.registered.items() if known["publicKey"] == body["publicKey"]]
        if not same:
            if kept[1] == 0:
                return web.json_response({"code": 403, "errMsg": "the activation is used up"}, status=403)
            kept[1] -= 1
        instance_id = same[0] if same else f"mi-test{len(self.registered) + 1:04d}"
        self.registered[instance_id] = body
        key = load_pem_public_key(pem)
        assert isinstance(key, RSAPublicKey)
        self.keys[instance_id] = key
        if self.behaviour.lose_register_answers:
            self.behaviour.lose_register_answers -= 1
            await _cut(request)
        return web.json_response({"code": 200, "instanceId": instance_id})

    def _check(self, request: web.Request) -> None:
        """Section 2: the signature, the time, and each request id once."""
        claimed = {
            name: request.headers.get(f"x-acs-{name}", "") for name in ("instance-id", "timestamp", "request-id")
        }
        instance_id = claimed["instance-id"]
        if instance_id not in self.keys:
            self._refuse("unknown instance")
        signed = instance_id + self.registered[instance_id]["machineId"] + claimed["timestamp"] + claimed["request-id"]
        signature = base64.b64decode(request.headers["x-acs-signature"])
        try:
            self.keys[instance_id].verify(signature, signed.encode(), padding.PKCS1v15(), hashes.MD5())  # noqa: S303
        except InvalidSignature:
            self._refuse("signature")
        if (
            abs(int(claimed["timestamp"]) - time.time() * 1000) > WINDOW_MS
            or claimed["request-id"] in self._request_ids
        ):
            self._refuse("replay")
        self._request_ids.add(claimed["request-id"])

    def _refuse(self, why: str) -> None:
        self.refused.append(why)
        raise web.HTTPUnauthorized(text=why)

    def _misbehave(self, name: str) -> None:
        if self.behaviour.refuse[name]:
            self.behaviour.refuse[name] -= 1
            raise web.HTTPServiceUnavailable

    async def _heartbeat(self, request: web.Request) -> web.Response:
        self._misbehave("heart-beat")
        self._check(request)
        self.heartbeats.append(dict(request.query))
        self._note()
        return web.json_response({"nextInterval": 60000})

    async def _list(self, request: web.Request) -> web.Response:
        self._misbehave("list")
        self._check(request)
        self.lists.append(dict(request.query))
        started = {report.task for report in self.reports}
        run = [entry for task_id, entry in self.tasks.items() if task_id not in started]
        stops, self.stops = self.stops, []
        self._note()
        return web.json_response({"code": 200, "instanceId": "mi-x", "run": run, "stop": stops} | self.extra)

    async def _report(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self._misbehave(name)
        self._check(request)
        self.reports.append(ReceivedReport(name, dict(request.query), await request.read(), time.monotonic()))
        self._note()
        if self.behaviour.lose_answers[name]:
            self.behaviour.lose_answers[name] -= 1
            await _cut(request)
        if self.behaviour.answer_after_a_list[name]:
            self.behaviour.answer_after_a_list[name] -= 1
            await self._until_the_next_list_is_read()
        return web.json_response({})

    async def _until_the_next_list_is_read(self) -> None:
        """Return when the agent has fetched one more list and had time to act on it, or after 10 seconds."""
        before = len(self.lists)
        for _ in range(400):
            await asyncio.sleep(0.025)
            if len(self.lists) > before:
                await asyncio.sleep(0.25)
                return

    async def _runs(self, request: web.Request) -> web.Response:
        self._misbehave("runs")
        self._check(request)
        self.runs += (await request.json())["runs"]
        self._note()
        if self.behaviour.lose_answers["runs"]:
            self.behaviour.lose_answers["runs"] -= 1
            await _cut(request)
        return web.json_response({})

    async def _notify(self, request: web.Request) -> web.WebSocketResponse:
        self._misbehave("notify_server")
        self._check(request)
        opened = web.WebSocketResponse(autoping=False)
        await opened.prepare(request)
        self._sockets.add(opened)
        self.opened += 1
        self._note()
        try:
            async for message in opened:
                if message.type is WSMsgType.PING:
                    assert message.data == b"keepalive"
                    self.pings += 1
                    if not self.behaviour.silent_pongs:
                        self.pongs += 1
                        await opened.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    self.echoes.append(message.data)
                self._note()
        finally:
            self._sockets.discard(opened)
        return opened


async def _cut(request: web.Request) -> None:
    """End the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    await asyncio.sleep(5)  # cancelled as soon as the server has noticed
