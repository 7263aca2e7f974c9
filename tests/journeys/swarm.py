"""Many agents in one process, with the real protocol: registration, signatures, sockets, lists, reports.

They behave as the official agent does where it matters to a server: they ask only when they are kicked (and once at
their start), run a task id once, try a final report four times and then lose it. An upgrade order is carried out in no
time and reported as our host program would; nothing is installed.
"""

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import os
import random
import ssl
import struct
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from backfleet import fleet, releases
from backfleet.clock import utc_now
from backfleet.fleet import Change, ClientStatus
from backfleet.ids import draw
from backfleet.operations.catalogue import Services
from backfleet_host.contract import Report, read_order, stage_line

TRIES, TRY_AGAIN_SECONDS = 4, 2.0  # of a final report
TRUE_RECONNECT_SECONDS = 6.0  # of the official agent after a socket that ended


@dataclass(frozen=True)
class Server:
    """Where one replica is reached."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    @property
    def address(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"


@dataclass
class Swarm:
    """What the agents share, and what they saw."""

    servers: Sequence[Server]
    keys: Sequence[rsa.RSAPrivateKey]
    session: aiohttp.ClientSession
    reconnect_seconds: float = TRUE_RECONNECT_SECONDS
    work_seconds: float = 1.0
    beat_seconds: float = 60.0
    begun: Counter[str] = field(default_factory=Counter)  # orders, by id
    fetches: list[float] = field(default_factory=list)  # seconds from a kick to the list it brought
    fetched_at: dict[str, float] = field(default_factory=dict)  # instance -> when it was last given a task
    lost: int = 0  # final reports that were given up
    dials: int = 0
    tasks: set["asyncio.Task[Any]"] = field(default_factory=set)

    def start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def end(self) -> None:
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def make_keys(count: int) -> list[rsa.RSAPrivateKey]:
    return [rsa.generate_private_key(65537, 2048) for _ in range(count)]


class Agent:
    """One host."""

    def __init__(self, swarm: Swarm, number: int, version: str = "backfleet-0.1.0") -> None:
        self.swarm, self.number, self.version = swarm, number, version
        self.key = swarm.keys[number % len(swarm.keys)]
        self.machine_id = f"{number:032x}"
        self.instance_id = ""
        self.connected = asyncio.Event()
        self._seen: set[str] = set()
        self._fetching, self._kicked = False, 0.0
        mine = number % len(swarm.servers)
        self._servers = itertools.cycle([*swarm.servers[mine:], *swarm.servers[:mine]])
        self._server = next(self._servers)

    # --- HTTP ---------------------------------------------------------------------------------------------------

    def headers(self) -> dict[str, str]:
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

    async def ask(self, method: str, path: str, body: bytes = b"", seconds: float = 5.0) -> tuple[int, bytes]:
        """One attempt; a server that does not answer is left for the next one."""
        server = self._server
        try:
            async with self.swarm.session.request(
                method, f"{server.address}/luban{path}", data=body, headers=self.headers() if self.instance_id else {},
                ssl=server.tls or False, timeout=aiohttp.ClientTimeout(seconds),
            ) as answer:  # fmt: skip
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            self._server = next(self._servers)
            return 599, b""

    async def register(self, activation_id: str, code: str) -> None:
        pem = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        said = {
            "activationCode": code, "machineId": self.machine_id, "regionId": "", "instanceName": "",
            "hostname": f"host-{self.number}", "intranetIp": "10.0.0.2", "osVersion": "Linux_#1_x86_64",
            "osType": "linux", "agentVersion": self.version, "agentMode": "restricted", "platform": "linux-amd64",
            "publicKey": base64.b64encode(pem).decode(), "activationId": activation_id, "tag": [],
        }  # fmt: skip
        status, content = await self.ask("POST", "/api/instance/register", json.dumps(said).encode(), 60)
        answer = json.loads(content or b"{}")
        assert (status, answer.get("code")) == (200, 200), (status, content)
        self.instance_id = answer["instanceId"]

    # --- Life ---------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Connect, for ever; beat; ask once at the start."""
        self.swarm.start(self._beat())
        first = True
        while True:
            server = next(self._servers)
            self.swarm.dials += 1
            ended = asyncio.get_running_loop().create_future()
            try:
                transport, _ = await asyncio.wait_for(
                    asyncio.get_running_loop().create_connection(
                        lambda: Socket(self, server, ended),  # noqa: B023
                        server.host, server.port, ssl=server.tls, server_hostname=server.host if server.tls else None,
                    ), 45,
                )  # fmt: skip
            except (OSError, TimeoutError, ssl.SSLError):
                await asyncio.sleep(self.swarm.reconnect_seconds)
                continue
            if first:
                first = False
                self.swarm.start(self._fetch(reason="startup"))
            try:
                await ended
            finally:
                self.connected.clear()
                transport.abort()
            await asyncio.sleep(self.swarm.reconnect_seconds)

    async def _beat(self) -> None:
        index = 0
        await asyncio.sleep(random.uniform(0, self.swarm.beat_seconds))
        while True:
            status, _ = await self.ask(
                "GET", f"/api/heart-beat?uptime=1&timestamp=1&pid=1&index={index}&seq_no={index}"
            )
            index += status == 200
            await asyncio.sleep(self.swarm.beat_seconds * random.uniform(0.92, 1.08))

    def kicked(self) -> None:
        self._kicked = self._kicked or time.perf_counter()
        if not self._fetching:
            self.swarm.start(self._fetch(reason="kickoff"))

    async def _fetch(self, reason: str) -> None:
        """As the agent: four tries, and once more after 3 s if a kick brought nothing."""
        self._fetching = True
        try:
            for attempt in range(2):
                began, self._kicked = self._kicked, 0.0
                for _ in range(TRIES):
                    path = f"/api/v1/task/list?reason={reason}&currentTime=1&offset=0&timeZone=Etc%2FUTC"
                    status, content = await self.ask("POST", path, seconds=8)
                    if status <= 400:
                        break
                    await asyncio.sleep(TRY_AGAIN_SECONDS)
                else:
                    return
                found = json.loads(content)
                if began:
                    self.swarm.fetches.append(time.perf_counter() - began)
                for entry in found["run"]:
                    self._begin(entry["task"])
                if found["run"] or found["stop"] or attempt or reason == "startup":
                    return
                await asyncio.sleep(3)
        finally:
            self._fetching = False
            if self._kicked:
                self.kicked()

    def _begin(self, task: dict[str, Any]) -> None:
        if task["taskID"] not in self._seen:
            self._seen.add(task["taskID"])
            self.swarm.fetched_at[self.instance_id] = time.perf_counter()
            self.swarm.start(self._carry_out(task))

    async def _carry_out(self, task: dict[str, Any]) -> None:
        order = read_order(base64.b64decode(task["commandContent"]).decode())
        self.swarm.begun[order.order_id] += 1
        begun = int(time.time() * 1000)
        about = f"taskId={task['taskID']}&invokeVersion=0&start={begun}"
        await self.ask("POST", f"/api/v1/task/running?{about}")
        await asyncio.sleep(self.swarm.work_seconds)
        stages = "\n".join(stage_line(stage) for stage in ("admit", "check", "fetch", "stage", "switch", "prove"))
        await self.ask("POST", f"/api/v1/task/running?{about}", f"{stages}\n".encode())
        report = Report(
            order.order_id, order.kind, order.package, "succeeded", stage="commit", from_version="1.0",
            to_version=order.version, current_version=order.version, seconds=1.0,
        )  # fmt: skip
        end = f"/api/v1/task/finish?{about}&end={int(time.time() * 1000)}&exitCode=0&dropped=0"
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(TRY_AGAIN_SECONDS)
            status, _ = await self.ask("POST", end, report.as_line().encode() + b"\n")
            if status <= 400:
                return
        self.swarm.lost += 1


class Socket(asyncio.Protocol):
    """One notify socket, frames by hand: ten thousand of them must be cheap here too."""

    def __init__(self, agent: Agent, server: Server, ended: "asyncio.Future[None]") -> None:
        self._agent, self._server, self._ended = agent, server, ended
        self._buffer, self._open = b"", False
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        head = "".join(f"{name}: {value}\r\n" for name, value in self._agent.headers().items())
        transport.write(
            f"GET /luban/notify_server HTTP/1.1\r\nHost: {self._server.host}:{self._server.port}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n{head}\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                self._transport.abort()
                return
            self._buffer, self._open = rest, True
            self._agent.connected.set()
            self._send(9, b"keepalive")
            self._keep_alive()
        while len(self._buffer) >= 2:
            length, start = self._buffer[1] & 127, 2
            if length == 126:
                length, start = struct.unpack(">H", self._buffer[2:4])[0], 4
            if len(self._buffer) < start + length:
                return
            code, content = self._buffer[0] & 15, self._buffer[start : start + length]
            self._buffer = self._buffer[start + length :]
            self._frame(code, content)

    def _frame(self, code: int, content: bytes) -> None:
        if code == 9:
            self._send(10, content)
        elif code == 8:
            self._send(8, content[:2])
            self._transport.close()
        elif code == 1 and content == b"kick_vm":
            self._send(1, b"accept:kick_vm")
            self._agent.kicked()

    def _keep_alive(self) -> None:
        def ping() -> None:
            if not self._transport.is_closing():
                self._send(9, b"keepalive")
                self._keep_alive()

        asyncio.get_running_loop().call_later(60, ping)

    def _send(self, code: int, content: bytes) -> None:
        with contextlib.suppress(Exception):
            self._transport.write(bytes([0x80 | code, 0x80 | len(content)]) + b"\0\0\0\0" + content)

    def connection_lost(self, _problem: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


# --- The services they belong to -----------------------------------------------------------------------------------

PACKAGE, OLD, NEW = "courier", "1.0", "2.0"


def offer_release(services: Services) -> None:
    """A newer version of a small client."""
    artifact = services.settings.data / "courier"
    artifact.write_bytes(b"#!/bin/sh\n")
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest()
    prepared = releases.prepare(
        artifact, digest, 10, package=PACKAGE, version=NEW, platform="linux-amd64", form="binary",
        file_name="courier", given=None,
    )  # fmt: skip
    releases.keep_artifact(services.repository, artifact, prepared.sha256)
    with services.database.transaction() as tx:
        releases.add(tx, services.repository, prepared, channel="stable", now=utc_now())


def activations(services: Services, account: str, hosts: int) -> list[tuple[str, str]]:
    """Enough codes for so many hosts: id and code, each for a thousand."""
    made = []
    with services.database.transaction() as tx:
        for _ in range(0, hosts, 1000):
            activation, code = fleet.create_activation(
                tx, account_id=account, region=services.settings.region, count=1000, hours=4, name="", description="",
                address_range="", now=utc_now(), draw=draw,
            )  # fmt: skip
            made.append((activation.id, code))
    return made


def give_clients(services: Services, account: str, instance_ids: Sequence[str]) -> None:
    """Each host has the old version."""
    for start in range(0, len(instance_ids), 200):
        with services.database.transaction() as tx:
            for instance_id in instance_ids[start : start + 200]:
                instance = fleet.instance(tx, account, instance_id)
                assert instance is not None
                client = fleet.ensure_client(
                    tx, instance, PACKAGE, "stable", status=ClientStatus.ACTIVATED, now=utc_now(), draw=draw
                )
                fleet.set_clients(tx, [Change(client.id, version=OLD)], now=utc_now())


async def enrol(agents: Sequence[Agent], codes: Sequence[tuple[str, str]], at_once: int = 8) -> None:
    """By the front door, some at a time."""
    turns = asyncio.Semaphore(at_once)

    async def one(agent: Agent) -> None:
        async with turns:
            await agent.register(*codes[agent.number // 1000])

    await asyncio.gather(*(one(agent) for agent in agents))


async def all_connected(agents: Sequence[Agent], seconds: float) -> None:
    await asyncio.wait_for(asyncio.gather(*(agent.connected.wait() for agent in agents)), seconds)
