"""The gateway of one node: every endpoint of the agent protocol, and the loops behind its sockets."""

import asyncio
import contextlib
import functools
import json
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from aiohttp import web
from prometheus_client import Counter

from backfleet import commands, fleet
from backfleet.clock import Clock
from backfleet.endpoints.agents import authentication, codec, heartbeats, self_reports
from backfleet.endpoints.agents.group_commit import Together
from backfleet.endpoints.agents.sockets import Sockets
from backfleet.endpoints.agents.spool import Full, Report, Spool
from backfleet.failpoints import failpoint
from backfleet.fleet import Heartbeat, RegistrationRefused
from backfleet.ids import Draw
from backfleet.pubsub import PubSub
from backfleet.settings import Settings
from backfleet.storage import AWAY, Database, Transaction

BODY_SECONDS = 20.0
THREADS = 16  # requests of agents at work at once; more wait
LOOK_EVERY_SECONDS = 15.0  # at the table, for agents whose bell was lost
MOST_KICKED = 20_000  # by one such look
FORGET_EVERY_SECONDS = 60.0  # request ids whose time is over
DELIVER_EVERY_SECONDS = 1.0  # reports that wait on our disk for the database
ENTERING = 64  # sockets being opened at once; more wait in the order in which they came
ENROLLING = 8  # registrations looked at once
REMEMBERED_SECONDS = 600.0  # an identity is asked for again after this, whatever else is heard of it
TOPIC, GONE = "instance/", "gone/"
PREFIX = r"/{prefix:(?:.+/)?}luban"  # a path before it is allowed: the agent pastes its server address as it stands
REFUSED = 403  # the `code` of a refused registration; the HTTP status is 200, or the agent would hide the text

ANSWERED = Counter("backfleet_assist_requests_total", "Answered agent requests.", ["endpoint", "status"])

log = logging.getLogger(__name__)
Found = TypeVar("Found")
Handler = Callable[[web.Request, authentication.Claim], Awaitable[web.StreamResponse]]


def add_to(
    app: web.Application,
    database: Database,
    settings: Settings,
    pubsub: PubSub,
    *,
    clock: Clock,
    draw: Draw,
) -> "Gateway":
    """Add every endpoint of the agent protocol, and start and stop the gateway's loops with the application."""
    gateway = Gateway(database, settings, pubsub, clock, draw)
    gateway.add_routes(app.router)
    app.cleanup_ctx.append(gateway.live)
    return gateway


class Gateway:
    """Agents of this node."""

    def __init__(self, database: Database, settings: Settings, pubsub: PubSub, clock: Clock, draw: Draw) -> None:
        self._database, self._settings, self._pubsub = database, settings, pubsub
        self._clock, self._draw = clock, draw
        self._handed = timedelta(seconds=settings.handed_seconds)
        self._lease = timedelta(seconds=settings.lease_seconds)
        self._window_ms = settings.time_window_seconds * 1000
        self._sockets, self._beats, self._once = Sockets(), heartbeats.Beats(), authentication.Once()
        self._known, self._spool = authentication.Known(), Spool(settings.data / "reports")
        self._entering, self._enrolling = asyncio.Semaphore(ENTERING), asyncio.Semaphore(ENROLLING)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="assist")
        self._together = Together(database, self._threads)
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
            *((f"/api/v1/task/{kind}", self._ended) for kind in commands.FINAL_REPORTS),
        ):
            router.add_post(PREFIX + path, self._signed(path, handler))
        for path, tell in self_reports.ENDPOINTS.items():
            router.add_post(PREFIX + path, _quiet_unless_signed(self._signed(path, self._tells(tell))))
        router.add_get(f"{PREFIX}/notify_server", self._signed("/notify_server", self._notify, self._entering))
        for path, answer in codec.BENIGN.items():
            router.add_post(PREFIX + path, _benign(path, answer))

    async def live(self, _app: web.Application) -> Any:
        """While the application runs: hear pubsub, write beats, look at the table."""
        loop = asyncio.get_running_loop()

        def heard(topic: str) -> None:
            loop.call_soon_threadsafe(self._rung, topic)

        deaf = [self._pubsub.subscribe(family, heard) for family in (TOPIC, GONE)]
        await self._in_thread(self._spool.open)
        rounds = (
            (heartbeats.WRITE_EVERY_SECONDS, "beats could not be written", self._write_beats),
            (LOOK_EVERY_SECONDS, "the look at the table failed", self._look_at_the_table),
            (DELIVER_EVERY_SECONDS, "kept reports could not be told", self._deliver),
            (FORGET_EVERY_SECONDS, "used request ids could not be forgotten", self._forget_uses),
        )
        loops = [asyncio.create_task(_every(*each)) for each in rounds]
        yield
        for leave in deaf:
            leave()
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
            taken = self._beats.take()
            await self._in_thread(lambda: heartbeats.write(self._database, taken))

    # --- Who is it ----------------------------------------------------------------------------------------------

    def _signed(
        self, endpoint: str, handler: Handler, turns: asyncio.Semaphore | None = None
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """A handler for requests that show which instance they are from; the others get a 401 and learn nothing.

        With `turns`, only so many are looked at once: a fleet that comes back together must not keep reports waiting.
        """

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                async with turns or contextlib.nullcontext():
                    claim = await self._prove(request)
                response = await self._answer(endpoint, handler, request, claim)
            except authentication.NotProved as problem:
                log.info("an agent was refused", extra={"endpoint": endpoint, "reason": str(problem)})
                response = web.json_response({"code": 401, "message": "unauthorized"}, status=401)
            except AWAY as problem:
                log.warning("the database is away", extra={"endpoint": endpoint, "reason": type(problem).__name__})
                response = web.json_response({"code": 503}, status=503)
            ANSWERED.labels(endpoint, response.status).inc()
            return response

        return answer

    async def _answer(
        self, endpoint: str, handler: Handler, request: web.Request, claim: authentication.Claim
    ) -> web.StreamResponse:
        try:
            return await handler(request, claim)
        except (web.HTTPException, ConnectionError, asyncio.CancelledError, authentication.NotProved, *AWAY):
            raise
        except Exception:
            # Not stored: the agent must try again. 503 is retried, 400 would count as success.
            log.exception("an agent's request failed", extra={"endpoint": endpoint, "instance": claim.instance_id})
            return web.json_response({"code": 503}, status=503)

    async def _prove(self, request: web.Request) -> authentication.Claim:
        claim = authentication.read_claim(request.headers)
        if claim is None:
            raise authentication.NotProved("it is not signed")
        now = self._clock()
        ordinary = authentication.is_ordinary(claim, now=now, window_ms=self._window_ms)
        since = now.timestamp() - REMEMBERED_SECONDS
        known = self._known.recall(claim.instance_id, since) if ordinary else None
        known = known or await self._identity(claim.instance_id)
        authentication.check(claim, known, now=now, window_ms=self._window_ms)
        self._once.take(claim, now=now, window_ms=self._window_ms)
        if not ordinary:
            await self._in_thread(lambda: self._take_use(claim))
        signed = min(claim.milliseconds, round(now.timestamp() * 1000) + self._window_ms)
        self._beats.add(Heartbeat(claim.instance_id, now, _agent_version(request), None, claim.skew_ms(now), signed))
        return claim

    async def _identity(self, instance_id: str) -> fleet.AgentIdentity | None:
        """What a claim is checked with. While the database is away: as it was when last asked for."""

        def look() -> fleet.AgentIdentity | None:
            with self._database.reading() as tx:
                return fleet.agent_identity(tx, instance_id)

        try:
            found = await self._in_thread(look)
        except AWAY:
            remembered = self._known.recall(instance_id)
            if remembered is None:
                raise
            return remembered
        if found is None or found.deregistered:
            self._gone(instance_id)
        else:
            self._known.remember(found, self._clock().timestamp())
        return found

    def _gone(self, instance_id: str) -> None:
        """It is enrolled no more."""
        self._known.forget(instance_id)
        self._sockets.end(instance_id)

    def _spend(self, tx: Transaction, claim: authentication.Claim, now: datetime) -> None:
        """Take the request id in the transaction it is for, over all nodes. Raises NotProved if it was taken."""
        if not authentication.is_ordinary(claim, now=now, window_ms=self._window_ms):
            return  # taken when it was proved
        until = authentication.until(claim, now=now, window_ms=self._window_ms)
        if not fleet.remember_request(tx, claim.mark, until=until):
            raise authentication.NotProved("its request id was used before")

    def _take_use(self, claim: authentication.Claim) -> None:
        now = self._clock()
        with self._database.transaction() as tx:
            until = authentication.until(claim, now=now, window_ms=self._window_ms)
            if not fleet.remember_request(tx, claim.mark, until=until):
                raise authentication.NotProved("its request id was used before")

    def _use_later(self, claim: authentication.Claim) -> None:
        """The request changed nothing: that its id was used is written with the next batch."""
        self._beats.use(claim.mark, authentication.until(claim, now=self._clock(), window_ms=self._window_ms))

    # --- Coming and going ---------------------------------------------------------------------------------------

    async def _register(self, request: web.Request) -> web.StreamResponse:
        try:
            said = json.loads(await _body(request))
            asked = fleet.read_registration(said if isinstance(said, dict) else {})
            async with self._enrolling:
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

    async def _deregister(self, _request: web.Request, claim: authentication.Claim) -> web.StreamResponse:
        def forget(tx: Transaction) -> None:
            now = self._clock()
            self._spend(tx, claim, now)
            fleet.deregister(tx, claim.instance_id, now=now)

        await self._together.write("", forget)
        self._gone(claim.instance_id)
        return web.json_response({"code": 200})

    async def _heart_beat(self, request: web.Request) -> web.StreamResponse:
        answer = web.json_response({"nextInterval": codec.HEARTBEAT_MS})
        try:
            if "x-acs-instance-id" not in request.headers:
                return answer  # an agent that is not registered beats too; it has nothing to tell
            claim = await self._prove(request)
        except authentication.NotProved as problem:
            log.info("a heart-beat was refused", extra={"reason": str(problem)})
            ANSWERED.labels("/api/heart-beat", 401).inc()
            return web.json_response({"code": 401, "message": "unauthorized"}, status=401)
        except AWAY:  # 5xx: it tries again in 3 s
            ANSWERED.labels("/api/heart-beat", 503).inc()
            return web.json_response({"code": 503}, status=503)
        self._use_later(claim)
        mode = request.query.get("mode")
        stopping = codec.is_stopping(request.query)
        if mode in ("restricted", "shell") or stopping:
            mode = mode if mode in ("restricted", "shell") else None
            self._beats.add(Heartbeat(claim.instance_id, self._clock(), agent_mode=mode, stopping=stopping))
        ANSWERED.labels("/api/heart-beat", 200).inc()
        return answer

    async def _region(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(text=self._settings.region)

    # --- The channel --------------------------------------------------------------------------------------------

    async def _notify(self, request: web.Request, claim: authentication.Claim) -> web.StreamResponse:
        """One agent's socket. A refused dial may keep an agent away for half an hour: full is the last resort."""
        instance_id = claim.instance_id
        if self._draining or len(self._sockets) >= self._settings.most_sockets:
            return web.json_response({"code": 503}, status=503, headers={"Retry-After": str(codec.RETRY_SECONDS)})
        self._use_later(claim)

        async def opened() -> None:
            await self._kick_if_work_waits(instance_id)

        def alive() -> None:
            self._beats.add(Heartbeat(instance_id, self._clock()))

        return await self._sockets.serve(request, instance_id, alive, opened)

    async def _kick_if_work_waits(self, instance_id: str) -> None:
        try:
            async with self._entering:
                waits = await self._in_thread(lambda: self._is_work_waiting(instance_id))
            if waits:
                self._sockets.kick(instance_id)
        except Exception:  # the socket stays: an agent that must dial again may be away for long
            log.exception("a new socket's work could not be looked up", extra={"instance": instance_id})

    def _is_work_waiting(self, instance_id: str) -> bool:
        with self._database.reading() as tx:
            return commands.oldest_work_for(tx, instance_id) is not None

    def _rung(self, topic: str) -> None:
        if topic.startswith(GONE):
            self._gone(topic.removeprefix(GONE))
            return
        self._sockets.kick(topic.removeprefix(TOPIC))
        failpoint("nudged")

    async def _look_at_the_table(self) -> None:
        """A bell may be lost: the table tells."""
        for instance_id in await self._in_thread(self._instances_with_work):
            self._sockets.kick(instance_id)

    def _instances_with_work(self) -> list[str]:
        with self._database.reading() as tx:
            return commands.instances_with_work(tx, limit=MOST_KICKED)

    async def _write_beats(self) -> None:
        taken = self._beats.take()
        try:
            for instance_id in await self._in_thread(functools.partial(heartbeats.write, self._database, taken)):
                self._gone(instance_id)
        except Exception:
            self._beats.put_back(taken)
            raise

    async def _deliver(self) -> None:
        """What waited on our disk, now that the database may be there."""
        if not self._spool.is_empty:
            await self._in_thread(lambda: self._spool.deliver(self._tell_alone))

    def _tell_alone(self, report: Report) -> None:
        with self._database.transaction() as tx:
            self._tell(tx, report)

    async def _forget_uses(self) -> None:
        def forget() -> bool:
            with self._database.transaction() as tx:
                return fleet.forget_requests(tx, now=self._clock())

        while await self._in_thread(forget):
            pass

    # --- Tasks --------------------------------------------------------------------------------------------------

    async def _task_list(self, request: web.Request, claim: authentication.Claim) -> web.StreamResponse:
        instance_id = claim.instance_id
        self._sockets.asked(instance_id)
        if codec.has_booted(request.query):
            await self._in_thread(lambda: self._note_boot(instance_id))

        def hand_out(tx: Transaction) -> commands.Handout:
            now = self._clock()
            self._spend(tx, claim, now)
            return commands.claim(tx, instance_id, now=now, lease=self._handed)

        handout = commands.Handout([], [])  # most lists are empty: no need to write for those
        if await self._in_thread(lambda: self._is_work_waiting(instance_id)):
            handout = await self._together.write(instance_id, hand_out)
        if handout.run:
            failpoint("command claimed")
        elif not handout.stop:
            self._use_later(claim)
        return web.json_response(codec.task_list(instance_id, handout))

    def _note_boot(self, instance_id: str) -> None:
        with self._database.transaction() as tx:
            fleet.note_boot(tx, instance_id, now=self._clock())

    async def _running(self, request: web.Request, claim: authentication.Claim) -> web.StreamResponse:
        await self._report(request, claim, "running")
        return web.json_response({})

    async def _ended(self, request: web.Request, claim: authentication.Claim) -> web.StreamResponse:
        if await self._report(request, claim, request.path.rsplit("/", 1)[-1]):
            failpoint("outcome stored")
        return web.json_response({})

    async def _report(self, request: web.Request, claim: authentication.Claim, kind: str) -> bool:
        """Store a report, or keep it on our disk while the database is away. True if it changed something."""
        body = await _body(request)
        received_at = self._clock().timestamp()
        report = Report(claim.instance_id, kind, dict(request.query), body, received_at, claim.mark)
        if not self._spool.holds(report.task_id):
            try:
                return await self._together.write(report.task_id, lambda tx: self._tell(tx, report, claim))
            except AWAY as problem:
                log.warning("a report is kept on disk", extra={"reason": type(problem).__name__, "kind": kind})
        try:
            await self._in_thread(lambda: self._spool.keep(report))
        except Full:
            raise web.HTTPServiceUnavailable from None
        return False

    def _tell(self, tx: Transaction, report: Report, claim: authentication.Claim | None = None) -> bool:
        """Store a report in the database. One from our disk has spent its request id there."""
        now = datetime.fromtimestamp(report.received_at, UTC)
        task_id = codec.task_id(report.query)
        if claim is not None:
            self._spend(tx, claim, now)
        if report.kind == "running":
            started_ms = codec.number(report.query, "start", 62)
            return commands.record_output(
                tx, report.instance_id, task_id, report.body, started_ms=started_ms, now=now, lease=self._lease
            )
        ending = codec.ending(report.kind, report.query, report.body)
        return commands.record_final_report(tx, report.instance_id, task_id, ending, now=now)

    async def _nothing_to_note(self, _request: web.Request, claim: authentication.Claim) -> web.StreamResponse:
        self._use_later(claim)
        return web.json_response({})

    def _tells(self, tell: self_reports.Tell) -> Handler:
        """A handler for what a host tells of itself."""

        async def answer(request: web.Request, claim: authentication.Claim) -> web.StreamResponse:
            body = await _body(request)

            def keep() -> dict[str, Any]:
                now = self._clock()
                with self._database.transaction() as tx:  # of its own: large, and never urgent
                    self._spend(tx, claim, now)
                    return tell(tx, claim.instance_id, body, now)

            return web.json_response(await self._in_thread(keep))

        return answer

    async def _in_thread(self, work: Callable[[], Found]) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


async def _body(request: web.Request) -> bytes:
    """The body within the application's limit. A body that stops coming ends the request: the agent tries again."""
    try:
        return await asyncio.wait_for(request.read(), BODY_SECONDS)
    except (TimeoutError, ConnectionError):  # the agent has given this request up
        raise web.HTTPRequestTimeout from None


async def _connection_detect(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="ok")


async def _every(seconds: float, trouble: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do this for ever; that it failed is logged, and it is tried again the next time."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except AWAY as problem:
            log.warning("%s: the database is away", trouble, extra={"reason": type(problem).__name__})
        except Exception:
            log.exception(trouble)


def _quiet_unless_signed(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """An agent that is not registered asks too: it is told to leave it be, and asks again in a day."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if "x-acs-instance-id" in request.headers:
            return await handler(request)
        await _body(request)
        return web.json_response(self_reports.NOT_SUPPORTED)

    return answer


def _benign(path: str, answer: Any) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        body = await _body(request)  # always to its end: an answer before that would break the connection
        self_reports.note(path, body, request.headers.get("x-acs-instance-id", ""))
        return web.json_response(answer)

    return handler


def _agent_version(request: web.Request) -> str | None:
    """From `linux_amd64/<version>`: the short heart-beat tells it nowhere else."""
    platform, _, version = request.headers.get("User-Agent", "").partition("/")
    is_version = "_" in platform and version.isascii() and version.isprintable()
    return version[:64] or None if is_version else None
