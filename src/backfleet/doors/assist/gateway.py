"""The gateway of one node: every endpoint of the agent protocol, and the loops behind its sockets."""

import asyncio
import contextlib
import functools
import json
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

from aiohttp import web
from prometheus_client import Counter

from backfleet import commands, fleet
from backfleet.clock import Clock
from backfleet.doors.assist import beats, proof, words
from backfleet.doors.assist.sockets import Sockets
from backfleet.fleet import Beat, RegistrationRefused
from backfleet.ids import Draw
from backfleet.instants import passed
from backfleet.settings import Settings
from backfleet.storage import Database
from backfleet.wakeups import Bells

BODY_SECONDS = 20.0
THREADS = 16  # requests of agents at work at once; more wait
LOOK_EVERY_SECONDS = 15.0  # at the table, for agents whose bell was lost
MOST_KICKED = 20_000  # by one such look
TOPIC = "instance/"
PREFIX = r"/{prefix:(?:.+/)?}luban"  # a path before it is allowed: the agent pastes its server address as it stands
REFUSED = 403  # the `code` of a refused registration; the HTTP status is 200, or the agent would hide the text

ANSWERED = Counter("backfleet_assist_requests_total", "Answered agent requests.", ["endpoint", "status"])

log = logging.getLogger(__name__)
Found = TypeVar("Found")
Handler = Callable[[web.Request, str], Awaitable[web.StreamResponse]]


def add_to(
    app: web.Application,
    database: Database,
    settings: Settings,
    bells: Bells,
    *,
    clock: Clock,
    draw: Draw,
) -> "Gateway":
    """Add every endpoint of the agent protocol, and start and stop the gateway's loops with the application."""
    gateway = Gateway(database, settings, bells, clock, draw)
    gateway.add_routes(app.router)
    app.cleanup_ctx.append(gateway.live)
    return gateway


class Gateway:
    """Agents of this node."""

    def __init__(self, database: Database, settings: Settings, bells: Bells, clock: Clock, draw: Draw) -> None:
        self._database, self._settings, self._bells = database, settings, bells
        self._clock, self._draw = clock, draw
        self._handed = timedelta(seconds=settings.handed_seconds)
        self._lease = timedelta(seconds=settings.lease_seconds)
        self._window_ms = settings.time_window_seconds * 1000
        self._sockets, self._beats, self._once = Sockets(), beats.Beats(), proof.Once()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="assist")
        self._draining = False

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Every address of the protocol's table."""
        router.add_post(f"{PREFIX}/api/instance/register", self._register)
        router.add_get(f"{PREFIX}/api/heart-beat", self._heart_beat)
        router.add_get(f"{PREFIX}/api/connection_detect", _connection_detect)
        router.add_get(f"{PREFIX}/api/classic/region-id", self._region)
        for path, handler in (
            ("/api/instance/deregister", self._deregister),
            ("/api/v1/task/list", self._task_list),
            ("/api/v1/task/running", self._running),
            ("/api/v1/task/verified", self._nothing_to_note),
            *((f"/api/v1/task/{kind}", self._ended) for kind in commands.ENDINGS),
        ):
            router.add_post(PREFIX + path, self._signed(path, handler))
        router.add_get(f"{PREFIX}/notify_server", self._signed("/notify_server", self._notify))
        for path, answer in words.BENIGN.items():
            router.add_post(PREFIX + path, _benign(answer))

    async def live(self, _app: web.Application) -> Any:
        """While the application runs: hear bells, write beats, look at the table."""
        loop = asyncio.get_running_loop()

        def heard(topic: str) -> None:
            loop.call_soon_threadsafe(self._rung, topic)

        deaf = self._bells.subscribe(TOPIC, heard)
        loops = [asyncio.create_task(work) for work in (self._write_beats(), self._look_at_the_table())]
        yield
        deaf()
        for work in loops:
            work.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await self.drain()
        self._threads.shutdown(wait=True)

    async def drain(self) -> None:
        """Close every socket, take no new one, and write what was heard. Reports are still answered."""
        self._draining = True
        await self._sockets.close()
        with contextlib.suppress(Exception):  # the next process hears them again within a minute
            await self._in_thread(lambda: beats.write(self._database, self._beats.take()))

    # --- Who is it ----------------------------------------------------------------------------------------------

    def _signed(self, endpoint: str, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """A handler for requests that show which instance they are from; the others get a 401 and learn nothing."""

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                instance_id = await self._prove(request)
            except proof.NotProved as problem:
                log.info("an agent was refused", extra={"endpoint": endpoint, "reason": str(problem)})
                ANSWERED.labels(endpoint, 401).inc()
                return web.json_response({"code": 401, "message": "unauthorized"}, status=401)
            response = await self._answer(endpoint, handler, request, instance_id)
            ANSWERED.labels(endpoint, response.status).inc()
            return response

        return answer

    async def _answer(
        self, endpoint: str, handler: Handler, request: web.Request, instance_id: str
    ) -> web.StreamResponse:
        try:
            return await handler(request, instance_id)
        except (web.HTTPException, ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            # Not stored: the agent must try again. 503 is retried, 400 would count as success.
            log.exception("an agent's request failed", extra={"endpoint": endpoint, "instance": instance_id})
            return web.json_response({"code": 503}, status=503)

    async def _prove(self, request: web.Request) -> str:
        claim = proof.read_claim(request.headers)
        if claim is None:
            raise proof.NotProved("it is not signed")
        now = self._clock()
        known = await self._in_thread(lambda: self._identity(claim.instance_id))
        if known is not None and known.deregistered:
            self._sockets.end(claim.instance_id)
        proof.check(claim, known, now=now, window_ms=self._window_ms)
        self._once.take(claim, now=now, window_ms=self._window_ms)
        self._beats.add(Beat(claim.instance_id, now, _agent_version(request), None, claim.skew_ms(now)))
        return claim.instance_id

    def _identity(self, instance_id: str) -> fleet.AgentIdentity | None:
        with self._database.reading() as tx:
            return fleet.identity_of(tx, instance_id)

    # --- Coming and going ---------------------------------------------------------------------------------------

    async def _register(self, request: web.Request) -> web.StreamResponse:
        try:
            said = json.loads(await _body(request))
            asked = fleet.read_registration(said if isinstance(said, dict) else {})
            made = await self._in_thread(lambda: self._enrol(asked, request.remote or ""))
        except (ValueError, RecursionError, RegistrationRefused) as refusal:
            text = str(refusal) if isinstance(refusal, RegistrationRefused) else "the body is not JSON"
            log.info("a registration was refused", extra={"reason": text, "address": request.remote})
            ANSWERED.labels("/api/instance/register", "refused").inc()
            return web.json_response({"code": REFUSED, "message": text})
        ANSWERED.labels("/api/instance/register", 200).inc()
        log.info("an instance enrolled", extra={"instance": made.id, "hostname": made.hostname})
        return web.json_response({"code": 200, "instanceId": made.id})

    def _enrol(self, asked: fleet.Registration, source_ip: str) -> fleet.Instance:
        with self._database.transaction() as tx:
            return fleet.register(tx, asked, source_ip=source_ip, now=self._clock(), draw=self._draw)

    async def _deregister(self, _request: web.Request, instance_id: str) -> web.StreamResponse:
        def forget() -> None:
            with self._database.transaction() as tx:
                fleet.deregister(tx, instance_id, now=self._clock())

        await self._in_thread(forget)
        self._sockets.end(instance_id)
        return web.json_response({"code": 200})

    async def _heart_beat(self, request: web.Request) -> web.StreamResponse:
        answer = web.json_response({"nextInterval": words.HEARTBEAT_MS})
        try:
            if "x-acs-instance-id" not in request.headers:
                return answer  # an agent that is not registered beats too; it has nothing to tell
            instance_id = await self._prove(request)
        except proof.NotProved as problem:
            log.info("a heart-beat was refused", extra={"reason": str(problem)})
            ANSWERED.labels("/api/heart-beat", 401).inc()
            return web.json_response({"code": 401, "message": "unauthorized"}, status=401)
        mode = request.query.get("mode")
        if mode in ("restricted", "shell"):
            self._beats.add(Beat(instance_id, self._clock(), agent_mode=mode))
        ANSWERED.labels("/api/heart-beat", 200).inc()
        return answer

    async def _region(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(text=self._settings.region)

    # --- The channel --------------------------------------------------------------------------------------------

    async def _notify(self, request: web.Request, instance_id: str) -> web.StreamResponse:
        if self._draining:
            return web.json_response({"code": 503}, status=503)

        async def opened() -> None:
            await self._kick_if_work_waits(instance_id)

        def alive() -> None:
            self._beats.add(Beat(instance_id, self._clock()))

        return await self._sockets.serve(request, instance_id, alive, opened)

    async def _kick_if_work_waits(self, instance_id: str) -> None:
        try:
            if await self._in_thread(lambda: self._is_work_waiting(instance_id)):
                self._sockets.kick(instance_id)
        except Exception:  # the socket stays: an agent that must dial again may be away for long
            log.exception("a new socket's work could not be looked up", extra={"instance": instance_id})

    def _is_work_waiting(self, instance_id: str) -> bool:
        with self._database.reading() as tx:
            return commands.waiting_for(tx, instance_id) is not None

    def _rung(self, topic: str) -> None:
        self._sockets.kick(topic.removeprefix(TOPIC))
        passed("nudged")

    async def _look_at_the_table(self) -> None:
        """A bell may be lost: the table tells."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            try:
                for instance_id in await self._in_thread(self._instances_with_work):
                    self._sockets.kick(instance_id)
            except Exception:
                log.exception("the look at the table failed")

    def _instances_with_work(self) -> list[str]:
        with self._database.reading() as tx:
            return commands.instances_with_work(tx, limit=MOST_KICKED)

    async def _write_beats(self) -> None:
        while True:
            await asyncio.sleep(beats.WRITE_EVERY_SECONDS)
            taken = self._beats.take()
            try:
                await self._in_thread(functools.partial(beats.write, self._database, taken))
            except Exception:
                log.exception("beats could not be written")
                self._beats.put_back(taken)

    # --- Tasks --------------------------------------------------------------------------------------------------

    async def _task_list(self, request: web.Request, instance_id: str) -> web.StreamResponse:
        self._sockets.asked(instance_id)
        if words.has_booted(request.query):
            await self._in_thread(lambda: self._note_boot(instance_id))

        def claim() -> commands.Handout:
            with self._database.reading() as tx:
                if commands.waiting_for(tx, instance_id) is None:
                    return commands.Handout([], [])  # most lists are empty: no need to write for those
            with self._database.transaction() as tx:
                return commands.claim(tx, instance_id, now=self._clock(), lease=self._handed)

        handout = await self._in_thread(claim)
        if handout.run:
            passed("command claimed")
        return web.json_response(words.task_list(instance_id, handout))

    def _note_boot(self, instance_id: str) -> None:
        with self._database.transaction() as tx:
            fleet.booted(tx, instance_id, now=self._clock())

    async def _running(self, request: web.Request, instance_id: str) -> web.StreamResponse:
        chunk, task_id = await _body(request), words.task_id(request.query)

        def note() -> None:
            with self._database.transaction() as tx:
                commands.output(
                    tx,
                    instance_id,
                    task_id,
                    chunk,
                    started_ms=words.number(request.query, "start", 62),
                    now=self._clock(),
                    lease=self._lease,
                )

        await self._in_thread(note)
        return web.json_response({})

    async def _ended(self, request: web.Request, instance_id: str) -> web.StreamResponse:
        ending = words.ending(request.path.rsplit("/", 1)[-1], request.query, await _body(request))
        task_id = words.task_id(request.query)

        def note() -> bool:
            with self._database.transaction() as tx:
                return commands.ended(tx, instance_id, task_id, ending, now=self._clock())

        if await self._in_thread(note):
            passed("outcome stored")
        return web.json_response({})

    async def _nothing_to_note(self, _request: web.Request, _instance_id: str) -> web.StreamResponse:
        return web.json_response({})

    async def _in_thread(self, work: Callable[[], Found]) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


async def _body(request: web.Request) -> bytes:
    """The body within the application's limit. A body that stops coming ends the request: the agent tries again."""
    try:
        return await asyncio.wait_for(request.read(), BODY_SECONDS)
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


async def _connection_detect(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="ok")


def _benign(answer: Any) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        await _body(request)  # read and dropped: an answer before the end of the body would break the connection
        return web.json_response(answer)

    return handler


def _agent_version(request: web.Request) -> str | None:
    """From `linux_amd64/<version>`: the short heart-beat tells it nowhere else."""
    platform, _, version = request.headers.get("User-Agent", "").partition("/")
    is_version = "_" in platform and version.isascii() and version.isprintable()
    return version[:64] or None if is_version else None
