"""One simulated host: registration, signatures, heartbeats, task lists, reports."""

import asyncio
import base64
import itertools
import json
import random
import ssl
import time
import uuid
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from backfleet_host.contract import Order, Report, read_order, stage_line
from backfleet_sim.notify_socket import NotifySocket
from backfleet_sim.servers import Server
from backfleet_sim.simulation import Simulation

TRIES, RETRY_SECONDS = 4, 2.0  # of a task list; the pause also of a final report
REQUEST_SECONDS, LIST_SECONDS, REGISTER_SECONDS, DIAL_SECONDS = 5.0, 8.0, 60.0, 45.0
SIGNED_SECONDS = 600.0  # for which what was signed ahead is sent: less than a server's time window, 900 s
ASK_AGAIN_SECONDS = 3  # after a kick without new tasks
ENROLMENT = {"Connection": "close"}  # by a process of its own, which ends; the agent has other connections
UNANSWERED = 599  # stands for the status of a request without an answer
HEARTBEAT, TASKS = "/api/heart-beat", "/api/v1/task/"
_PLACE = "offset=0&timeZone=Etc%2FUTC"


class RegistrationFailed(Exception):
    """The server refused a registration; the text has its answer."""


class Agent:
    """One host of a simulation.

    Args:
        number: its place in the simulation: it decides the machine id, the key and the first server.
        version: what it reports as its version; any but `backfleet-...` stands for the official agent.
    """

    def __init__(self, simulation: Simulation, number: int, version: str = "backfleet-0.1.0") -> None:
        self.simulation, self.number, self.version = simulation, number, version
        self.key = simulation.keys[number % len(simulation.keys)]
        self.machine_id = f"{number:032x}"
        self.instance_id = ""
        self.connected = asyncio.Event()
        self._seen: set[str] = set()
        self._signed, self._signed_at = list[dict[str, str]](), 0.0
        self._fetching, self._kicked_at = False, 0.0
        first = number % len(simulation.servers)
        self._servers = itertools.cycle([*simulation.servers[first:], *simulation.servers[:first]])
        self._server = next(self._servers)

    def sign_ahead(self, requests: int) -> None:
        """Sign so many requests about tasks now. Those that are not sent within `SIGNED_SECONDS` are signed anew."""
        self._signed, self._signed_at = [self.headers() for _ in range(requests)], time.monotonic()

    def headers(self) -> dict[str, str]:
        """Return the signed headers of one request."""
        stamp, request_id = str(int(time.time() * 1000)), str(uuid.uuid4())
        signed = f"{self.instance_id}{self.machine_id}{stamp}{request_id}".encode()
        signature = self.key.sign(signed, padding.PKCS1v15(), hashes.MD5())  # noqa: S303 -- the protocol's
        return {
            "X-Acs-Instance-Id": self.instance_id,
            "X-Acs-Timestamp": stamp,
            "X-Acs-Request-Id": request_id,
            "X-Acs-Signature": base64.b64encode(signature).decode(),
            "User-Agent": f"linux_amd64/{self.version}",
        }

    async def ask(
        self, method: str, path: str, body: bytes = b"", seconds: float = REQUEST_SECONDS
    ) -> tuple[int, bytes]:
        """Return status and body of one request; `UNANSWERED` if there is none, and then the next server's turn."""
        server = self._server
        try:
            headers = self._signed_for(path) or (self.headers() if self.instance_id else ENROLMENT)
            heartbeats = self.simulation.heartbeats if path.startswith(HEARTBEAT) else None
            client = heartbeats or self.simulation.client
            return await client.request(server, method, f"/luban{path}", headers, body, seconds)
        except (TimeoutError, OSError):
            self._server = next(self._servers)
            return UNANSWERED, b""

    def _signed_for(self, path: str) -> dict[str, str] | None:
        """Return headers that were signed ahead for such a request, if there are any."""
        if not path.startswith(TASKS) or time.monotonic() > self._signed_at + SIGNED_SECONDS:
            return None
        return self._signed.pop() if self._signed else None

    async def register(self, activation_id: str, code: str) -> None:
        """Enrol with an activation, again where the server is busy; sets `instance_id`.

        Raises:
            RegistrationFailed: the server refused it, or did not answer.
        """
        pem = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        registration = {
            "activationCode": code, "machineId": self.machine_id, "regionId": "", "instanceName": "",
            "hostname": f"host-{self.number}", "intranetIp": "10.0.0.2", "osVersion": "Linux_#1_x86_64",
            "osType": "linux", "agentVersion": self.version, "agentMode": "restricted", "platform": "linux-amd64",
            "publicKey": base64.b64encode(pem).decode(), "activationId": activation_id, "tag": [],
        }  # fmt: skip
        body = json.dumps(registration).encode()
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(RETRY_SECONDS)
            status, content = await self.ask("POST", "/api/instance/register", body, REGISTER_SECONDS)
            if status < 500:
                break
        answer = json.loads(content or b"{}")
        if (status, answer.get("code")) != (200, 200):
            raise RegistrationFailed(f"host-{self.number}: HTTP {status}: {content[:500]!r}")
        self.instance_id = answer["instanceId"]

    async def run(self) -> None:
        """Stay connected for ever, send heartbeats, and fetch tasks once at the start."""
        self.simulation.start(self._send_heartbeats())
        first = True
        while True:
            ended = asyncio.get_running_loop().create_future()
            transport = await self._dial(next(self._servers), ended)
            if transport is not None:
                if first:
                    first = False
                    self.simulation.start(self._fetch(reason="startup"))
                try:
                    await ended
                finally:
                    self.connected.clear()
                    transport.abort()
            await asyncio.sleep(self.simulation.reconnect_seconds)

    async def _dial(self, server: Server, ended: "asyncio.Future[None]") -> asyncio.Transport | None:
        self.simulation.dials += 1

        def socket() -> NotifySocket:
            return NotifySocket(
                f"{server.host}:{server.port}",
                self.headers(),
                opened=self.connected.set,
                kicked=self._kicked,
                ended=ended,
            )

        name = server.host if server.tls else None
        source = (self.simulation.source, 0) if self.simulation.source else None
        connecting = asyncio.get_running_loop().create_connection(
            socket, server.host, server.port, ssl=server.tls, server_hostname=name, local_addr=source
        )
        try:
            transport, _ = await asyncio.wait_for(connecting, DIAL_SECONDS)
        except (OSError, TimeoutError, ssl.SSLError):
            return None
        return transport

    async def _send_heartbeats(self) -> None:
        index = 0
        mean = self.simulation.heartbeat_seconds
        await asyncio.sleep(random.uniform(0, mean))  # noqa: S311 -- no secret
        while True:
            path = f"{HEARTBEAT}?uptime=1&timestamp=1&pid=1&index={index}&seq_no={index}"
            status, _ = await self.ask("GET", path)
            index += status == 200
            await asyncio.sleep(mean * random.uniform(0.92, 1.08))  # noqa: S311 -- no secret

    def _kicked(self) -> None:
        self._kicked_at = self._kicked_at or time.perf_counter()
        if not self._fetching:
            self.simulation.start(self._fetch(reason="kickoff"))

    async def _fetch(self, reason: str) -> None:
        """Fetch tasks as the official agent does: once more after 3 s if a kick brings no task."""
        self._fetching = True
        try:
            for attempt in range(2):
                kicked_at, self._kicked_at = self._kicked_at, 0.0
                found = await self._task_list(reason)
                if found is None:
                    return
                if kicked_at:
                    self.simulation.fetches.append(time.perf_counter() - kicked_at)
                for entry in found["run"]:
                    self._begin(entry["task"])
                if found["run"] or found["stop"] or attempt or reason == "startup":
                    return
                await asyncio.sleep(ASK_AGAIN_SECONDS)
        finally:
            self._fetching = False
            if self._kicked_at:
                self._kicked()

    async def _task_list(self, reason: str) -> dict[str, Any] | None:
        for _ in range(TRIES):
            path = f"/api/v1/task/list?reason={reason}&currentTime=1&{_PLACE}"
            status, content = await self.ask("POST", path, seconds=LIST_SECONDS)
            if status <= 400:
                found: dict[str, Any] = json.loads(content)
                return found
            await asyncio.sleep(RETRY_SECONDS)
        return None

    def _begin(self, task: dict[str, Any]) -> None:
        if task["taskID"] not in self._seen:
            self._seen.add(task["taskID"])
            self.simulation.fetched_at[self.instance_id] = time.perf_counter()
            self.simulation.start(self._carry_out(task))

    def report_of(self, order: Order) -> Report:
        """Return how an order ended on this host."""
        return Report(
            order.order_id, order.kind, order.package, "succeeded", stage="commit", from_version="1.0",
            to_version=order.version, current_version=order.version, seconds=1.0,
        )  # fmt: skip

    async def _carry_out(self, task: dict[str, Any]) -> None:
        order = read_order(base64.b64decode(task["commandContent"]).decode())
        self.simulation.begun[order.order_id] += 1
        about = f"taskId={task['taskID']}&invokeVersion=0&start={int(time.time() * 1000)}"
        await self.ask("POST", f"/api/v1/task/running?{about}")
        await asyncio.sleep(self.simulation.work_seconds)
        stages = "\n".join(stage_line(stage) for stage in ("admit", "check", "fetch", "stage", "switch", "prove"))
        await self.ask("POST", f"/api/v1/task/running?{about}", f"{stages}\n".encode())
        report = self.report_of(order)
        end = f"/api/v1/task/finish?{about}&end={int(time.time() * 1000)}&exitCode=0&dropped=0"
        for attempt in range(self.simulation.tries):
            if attempt:
                await asyncio.sleep(RETRY_SECONDS)
            status, _ = await self.ask("POST", end, report.as_line().encode() + b"\n")
            if status <= 400:
                return
        self.simulation.lost += 1


async def enrol(agents: Sequence[Agent], codes: Sequence[tuple[str, str]], *, per_code: int, at_once: int = 8) -> None:
    """Register all agents, some at a time.

    Args:
        codes: id and code of activations.
        per_code: how many agents each of them is for.
        at_once: how many registrations run side by side.

    Raises:
        RegistrationFailed: the server refused one.
    """
    turns = asyncio.Semaphore(at_once)

    async def one(agent: Agent) -> None:
        async with turns:
            await agent.register(*codes[agent.number // per_code])

    # One of each activation after the other: those of one wait for each other at the server, which counts them.
    by_turns = sorted(agents, key=lambda agent: agent.number % per_code)
    await asyncio.gather(*(one(agent) for agent in by_turns))


async def sign_ahead(agents: Sequence[Agent], requests: int) -> None:
    """Have each agent sign so many requests about tasks; what else they do goes on meanwhile.

    Signing takes twice as long as all that a server does for a request. Hosts do it on processors of their own.
    """
    for agent in agents:
        agent.sign_ahead(requests)
        await asyncio.sleep(0)


async def all_connected(agents: Sequence[Agent], seconds: float) -> None:
    """Wait until every agent has an open socket.

    Raises:
        TimeoutError: not all have one in time.
    """
    await asyncio.wait_for(asyncio.gather(*(agent.connected.wait() for agent in agents)), seconds)
