"""The agents' endpoint on a free port of the loopback, and hosts: real keys, real HTTP, real sockets."""

import asyncio
import base64
import http.client
import json
import queue
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlencode

import websocket
from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from backfleet import commands, fleet
from backfleet.commands import NewInvocation, Outcome, State
from backfleet.endpoints import agents
from backfleet.ids import draw as really_draw
from backfleet.pubsub import InProcessPubSub
from backfleet.settings import Settings
from backfleet.storage import Database
from listening import end_of

ACCOUNT, REGION, TOPIC = "1000000000000001", "cn-hangzhou", "upgrades"
MACHINE = "0123456789abcdef0123456789abcdef"
OSTYPE, VERSION = "linux", "2.2.3.578"
SOON = 5.0  # seconds, for what should take none


@cache
def key(number: int) -> rsa.RSAPrivateKey:
    """Return one of a few keys: each costs time to make."""
    return rsa.generate_private_key(65537, 2048)


def public_pem(of: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(of.public_key().public_bytes(serialization.Encoding.PEM, form))


@dataclass
class Answer:
    """An answer of the endpoint."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Clock:
    """The endpoint's clock; it stands still until the test moves it."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **time: float) -> None:
        self.now += timedelta(**time)


@dataclass
class AgentServer:
    """The running endpoint, with its database and clock."""

    database: Database  # publishes to the endpoint
    clock: Clock
    port: int
    gateway: agents.Gateway
    loop: asyncio.AbstractEventLoop

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    def activate(self, **changes: Any) -> tuple[fleet.Activation, str]:
        asked = {"account_id": ACCOUNT, "region": REGION, "count": 10, "hours": 4, "name": "", "description": ""}
        with self.database.transaction() as tx:
            return fleet.create_activation(
                tx, **{**asked, "address_range": "", **changes}, now=self.clock(), draw=really_draw
            )

    def enrol(self, number: int = 0) -> "Host":
        """Enrol a host in the regular way."""
        activation, code = self.activate()
        host = Host(self, key(number))
        answer = host.register(activation.id, code)
        host.instance_id = answer.json["instanceId"]
        return host

    def send(self, host: "Host", *references: str, content: str = "true", silently: bool = False) -> None:
        asked = [NewInvocation(ACCOUNT, host.instance_id, content, 60, reference) for reference in references]
        database = self.database.publishing(lambda _topic: None) if silently else self.database
        with database.transaction() as tx:
            commands.send(tx, asked, topic=TOPIC, now=self.clock(), draw=really_draw)

    def stop(self, *references: str) -> None:
        with self.database.transaction() as tx:
            commands.stop(tx, TOPIC, references, now=self.clock())

    def outcomes(self) -> list[Outcome]:
        """Return everything that the sender would learn now."""
        with self.database.transaction() as tx:
            return commands.outcomes(tx, TOPIC, limit=100)

    def outcome(self) -> Outcome:
        (found,) = self.outcomes()
        return found

    def states(self) -> list[State]:
        return [outcome.state for outcome in self.outcomes()]

    def instance(self, host: "Host") -> fleet.Instance | None:
        with self.database.reading() as tx:
            return fleet.instance(tx, ACCOUNT, host.instance_id)

    def count(self) -> int:
        with self.database.reading() as tx:
            return fleet.count_instances(tx, ACCOUNT)

    def drain(self) -> None:
        asyncio.run_coroutine_threadsafe(self.gateway.drain(), self.loop).result(10)


@dataclass
class Host:
    """One host with its agent's key."""

    server: AgentServer
    key: rsa.RSAPrivateKey
    instance_id: str = ""
    machine_id: str = MACHINE
    prefix: str = ""
    channels: list["Channel"] = field(default_factory=list)

    def card(self, activation_id: str, code: str) -> dict[str, Any]:
        """Return what the official agent sends when it enrols."""
        return {
            "activationCode": code,
            "machineId": self.machine_id,
            "regionId": REGION,
            "instanceName": "",
            "hostname": "host1",
            "intranetIp": "10.0.0.2",
            "osVersion": "Linux_#1 SMP PREEMPT_DYNAMIC @0_x86_64",
            "osType": OSTYPE,
            "agentVersion": VERSION,
            "publicKey": base64.b64encode(public_pem(self.key)).decode(),
            "activationId": activation_id,
            "tag": [],
        }

    def register(self, activation_id: str, code: str, **changes: Any) -> Answer:
        body = self.card(activation_id, code) | changes
        headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": f"linux_amd64/{VERSION}"}
        return self.server.ask("POST", f"{self.prefix}/luban/api/instance/register", json.dumps(body).encode(), headers)

    def signed(
        self,
        *,
        instance_id: str | None = None,
        skew_ms: int = 0,
        request_id: str | None = None,
        text: Callable[[str, str, str, str], str] = lambda *parts: "".join(parts),
        digest: hashes.HashAlgorithm | None = None,
    ) -> dict[str, str]:
        """Return fresh identity headers."""
        instance_id = self.instance_id if instance_id is None else instance_id
        timestamp = str(round(self.server.clock().timestamp() * 1000) + skew_ms)
        request_id = request_id or str(uuid.uuid4())
        signed = text(instance_id, self.machine_id, timestamp, request_id).encode()
        signature = self.key.sign(signed, padding.PKCS1v15(), digest or hashes.MD5())  # noqa: S303 -- the protocol's
        return {
            "X-Acs-Instance-Id": instance_id,
            "X-Acs-Timestamp": timestamp,
            "X-Acs-Request-Id": request_id,
            "X-Acs-Signature": base64.b64encode(signature).decode(),
            "User-Agent": f"linux_amd64/{VERSION}",
        }

    def post(self, path: str, body: bytes = b"", /, **query: Any) -> Answer:
        headers = self.signed() | {"Content-Type": "text/plain; charset=utf-8"}
        asked = f"?{urlencode(query)}" if query else ""
        return self.server.ask("POST", f"{self.prefix}/luban/api{path}{asked}", body, headers)

    def report(self, line: str, body: bytes = b"") -> Answer:
        """Send a report as it stands in a capture: `finish?taskId=...`."""
        return self.post(f"/v1/task/{line}", body)

    def heartbeat(self, **query: Any) -> Answer:
        return self.server.ask("GET", f"{self.prefix}/luban/api/heart-beat?{urlencode(query)}", headers=self.signed())

    def tasks(self) -> Any:
        answer = self.post("/v1/task/list", reason="kickoff", currentTime=1, offset=0, timeZone="Etc/UTC")
        assert answer.status == 200
        return answer.json

    def handed(self, reference: str = "r-1") -> str:
        """Return the id of a new task that this host has fetched."""
        self.server.send(self, reference, silently=True)
        return str(self.tasks()["run"][-1]["task"]["taskID"])

    def connect(self, headers: dict[str, str] | None = None) -> "Channel":
        """Open its notify socket."""
        channel = Channel(self, self.signed() if headers is None else headers)
        self.channels.append(channel)
        return channel


class Channel:
    """An agent's end of a notify socket. It answers nothing by itself except pings, and those while it is read."""

    def __init__(self, host: Host, headers: dict[str, str]) -> None:
        self._socket = websocket.create_connection(
            f"ws://127.0.0.1:{host.server.port}{host.prefix}/luban/notify_server",
            header=[f"{name}: {value}" for name, value in headers.items()],
            timeout=SOON,
        )
        self.headers = self._socket.getheaders()

    def frame(self, wait: float = SOON) -> tuple[str, bytes]:
        """Return the next frame, of whatever kind; ("nothing", b"") if none arrives in time."""
        self._socket.settimeout(wait)
        try:
            code, frame = self._socket.recv_data_frame(control_frame=True)
        except websocket.WebSocketTimeoutException:
            return "nothing", b""
        except (websocket.WebSocketConnectionClosedException, ConnectionError):
            return "gone", b""
        kinds = {1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
        return kinds[code], bytes(frame.data)

    def kicked(self, wait: float = SOON) -> bool:
        """Return whether a kick arrives, and nothing else."""
        found = self.frame(wait)
        assert found in (("text", b"kick_vm"), ("nothing", b"")), found
        return found[0] == "text"

    def ended_with(self) -> int | None:
        """Return the code with which the endpoint closed it; None if it ended without a close frame."""
        while True:
            kind, content = self.frame()
            assert kind != "nothing", "it is still open"
            if kind == "close":
                return int.from_bytes(content[:2], "big")
            if kind == "gone":
                return None

    def say(self, text: str) -> None:
        self._socket.send(text)

    def ping(self, payload: str) -> None:
        self._socket.ping(payload)

    def hang_up(self) -> None:
        self._socket.close(timeout=1)

    def drop(self) -> None:
        """Shut the connection down without a close frame."""
        self._socket.shutdown()


def eventually(true: Callable[[], Any], seconds: float = SOON) -> Any:
    """Return what becomes true soon; fail if it does not."""
    until = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < until, "it did not become true"
        time.sleep(0.01)
    return found


def start_server(
    database: Database,
    settings: Settings,
    now: datetime,
    adopters: agents.Adopters | None = None,
    pubsub: InProcessPubSub | None = None,
) -> tuple[AgentServer, Callable[[], None]]:
    """Serve in a thread. Return the endpoint, and a function that stops it; endpoints of one `pubsub` are replicas."""
    pubsub, clock = pubsub or InProcessPubSub(), Clock(now)
    publishing = database.publishing(pubsub.publish)
    ready: queue.Queue[tuple[int, agents.Gateway, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def serve() -> None:
        app = web.Application(client_max_size=settings.body_limit)
        gateway = agents.add_to(app, publishing, settings, pubsub, clock=clock, draw=really_draw, adopters=adopters)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        http_server = runner.server
        assert http_server is not None
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: gateway.short_requests.reader(http_server), "127.0.0.1", 0)
        stopping = asyncio.Event()
        ready.put((listening.sockets[0].getsockname()[1], gateway, loop, stopping))
        await stopping.wait()
        listening.close()
        await end_of(runner)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    port, gateway, loop, stopping = ready.get(timeout=10)

    def shut() -> None:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(15)
        assert not thread.is_alive()

    return AgentServer(publishing, clock, port, gateway, loop), shut
