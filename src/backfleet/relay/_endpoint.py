"""What a relay answers: the downloads of a server, below the same paths."""

import asyncio
import hashlib
import logging
import re
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from aiohttp import web
from prometheus_client import Counter, generate_latest

from backfleet.library_internals import DownloadResponse
from backfleet.relay._cache import Cache
from backfleet.relay._documents import NAME, SHA256, artifacts_of, is_current, named_version
from backfleet.relay._fetching import Fetching, NotKept, WrongBytes
from backfleet.relay._upstream import Away, Busy, NotThere, Upstream
from backfleet_host.download_paths import DOWNLOADS, HOST_PROGRAM, METADATA, TARGETS, is_delta

MOST_METADATA: Final = 8 << 20  # bytes of a document
MOST_PROGRAM: Final = 64 << 20  # bytes of the host program
FRESH_SECONDS: Final = 1.0  # for which an answer of the server is not asked for again
PROGRAM_FRESH_SECONDS: Final = 60.0
MOST_MISSES: Final = 10  # names in FRESH_SECONDS that the server turns out not to have, and no others are asked for
MOST_REMEMBERED: Final = 256  # names that the server turned out not to have
PIECE: Final = 256 * 1024  # bytes
TIMESTAMP: Final = "timestamp.json"
_RANGE: Final = re.compile(r"bytes=([0-9]{1,18})-")

ANSWERED: Final = Counter(
    "backfleet_relay_answers_total", "Answers by what was asked for and where it was.", ["kind", "source"]
)

log = logging.getLogger(__name__)


class Relay:
    """Answers from the cache or the server. Used from one event loop.

    Args:
        upstream: The server.
        cache: What was fetched before.
        clock: The time, which decides whether metadata has expired.
        now: Seconds, monotonic.
    """

    def __init__(
        self,
        upstream: Upstream,
        cache: Cache,
        *,
        clock: Callable[[], datetime],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upstream, self._cache, self._clock, self._now = upstream, cache, clock, now
        self._fetching: dict[str, Fetching] = {}
        self._asked_at: dict[str, float] = {}  # when the server last answered for a name
        self._missing: dict[str, float] = {}  # when the server said that it has no such name
        self._artifacts: dict[str, int] = {}  # bytes by SHA-256, as the newest targets say
        self._intact: set[str] = set()  # artifacts that were read and found right by this process
        self._checking = asyncio.Lock()
        self._misses: deque[float] = deque(maxlen=MOST_MISSES)
        self._learning, self._learned_at = asyncio.Lock(), float("-inf")

    async def close(self) -> None:
        """End every download; its part is gone on with by the next process."""
        for one in self._fetching.values():
            one.task.cancel()
        await asyncio.gather(*(one.task for one in self._fetching.values()), return_exceptions=True)
        await self._upstream.close()
        self._cache.close()

    async def check_server(self) -> None:
        """Ask the server once, and log what is wrong: a mistake in its address is seen before the first host comes."""
        keep = partial(self._cache.keep_document, TIMESTAMP)
        try:
            await self._upstream.document(f"{DOWNLOADS}{METADATA}/{TIMESTAMP}", MOST_METADATA, keep)
        except NotThere:
            log.warning(
                "%s has no releases for hosts; is it a Backfleet server, and its https address?", self._upstream.address
            )
        except Away as problem:
            log.warning("%s; it is asked again when a host asks; see --upstream and --ca", problem)

    async def metadata(self, request: web.Request) -> web.StreamResponse:
        """Send one signed document. While the server is away: what is here, the timestamp until it expires."""
        name = request.match_info["name"]
        if not NAME.fullmatch(name):
            raise web.HTTPNotFound
        content = await self._document(name)
        keep = "no-store" if name == TIMESTAMP else "public, max-age=31536000, immutable"
        return web.Response(body=content, content_type="application/json", headers={"Cache-Control": keep})

    async def _document(self, name: str) -> bytes:
        kept = self._cache.document(name)
        if kept is not None and (name != TIMESTAMP or self._is_fresh(name, FRESH_SECONDS)):
            ANSWERED.labels("metadata", "cache").inc()
            return kept
        if self._now() - self._missing.get(name, float("-inf")) < FRESH_SECONDS:
            raise web.HTTPNotFound
        if len(self._misses) == MOST_MISSES and self._now() - self._misses[0] < FRESH_SECONDS:
            raise web.HTTPServiceUnavailable(text="too many names that the server does not have; ask again\n")
        try:
            keep = partial(self._cache.keep_document, name)
            content = await self._upstream.document(f"{DOWNLOADS}{METADATA}/{name}", MOST_METADATA, keep)
        except NotThere:
            self._remember_missing(name)
            raise web.HTTPNotFound from None
        except Busy as problem:  # nothing is known then: a newer root must not be denied
            raise web.HTTPServiceUnavailable(text=f"{problem}\n") from None
        except Away as problem:
            return self._while_away(name, kept, problem)
        self._asked_at[name] = self._now()
        ANSWERED.labels("metadata", "server").inc()
        return content

    def _while_away(self, name: str, kept: bytes | None, problem: Away) -> bytes:
        """Return what is still of use; a newer root there may be, but nobody here has seen it."""
        timestamp = self._cache.document(TIMESTAMP)
        if timestamp is None or not is_current(timestamp, self._clock()):
            raise _away(problem)
        if name == TIMESTAMP and kept is not None:
            log.warning("%s; the metadata of before is served until it expires", problem)
            ANSWERED.labels("metadata", "cache, server away").inc()
            return kept
        if name.endswith(".root.json"):
            raise web.HTTPNotFound
        raise _away(problem)

    def _is_fresh(self, name: str, seconds: float) -> bool:
        return self._now() - self._asked_at.get(name, float("-inf")) < seconds

    def _remember_missing(self, name: str) -> None:
        if self._now() - self._missing.get(name, float("-inf")) < FRESH_SECONDS:
            return  # others waited for the same answer
        while len(self._missing) >= MOST_REMEMBERED:
            del self._missing[next(iter(self._missing))]
        self._missing.pop(name, None)
        self._misses.append(self._now())
        self._missing[name] = self._now()

    async def target(self, request: web.Request) -> web.StreamResponse:
        """Send an artifact by its name in the signed metadata: `<package>/<version>/<sha256>.<platform>`."""
        path = request.match_info["path"]
        return await self._artifact(request, path, path.rsplit("/", 1)[-1].partition(".")[0])

    async def _artifact(self, request: web.Request, path: str, sha256: str) -> web.StreamResponse:
        if not SHA256.fullmatch(sha256):
            raise web.HTTPNotFound
        kind = "delta" if is_delta(path) else "artifact"
        here = self._cache.artifact(sha256) if await self._is_intact(sha256) else None
        if here is not None:
            ANSWERED.labels(kind, "cache").inc()
            return DownloadResponse(here, chunk_size=PIECE, headers={"Content-Type": "application/octet-stream"})
        length = await self._length_of(sha256)
        if length is None:
            raise web.HTTPNotFound(text="no release that the newest signed metadata names has this artifact\n")
        fetching = self._fetching.get(sha256)
        ANSWERED.labels(kind, "server" if fetching is None else "download under way").inc()
        if fetching is None:
            fetching = self._fetch(request.rel_url.raw_path, sha256, length)
        return await self._pass_on(request, fetching)

    async def _is_intact(self, sha256: str) -> bool:
        """Return whether an artifact is here; read it all once, for a disk may have changed it since it was kept."""
        if self._cache.artifact(sha256) is None:
            self._intact.discard(sha256)
            return False
        async with self._checking:
            if sha256 not in self._intact and await asyncio.to_thread(self._cache.is_intact, sha256):
                self._intact.add(sha256)
        return sha256 in self._intact

    async def _length_of(self, sha256: str) -> int | None:
        """Return the bytes of an artifact that the newest targets name; None if they do not name it.

        A release may be newer than what is known here, so the server is asked again; once a second at most.
        """
        arrived = self._now()
        async with self._learning:
            if sha256 not in self._artifacts and self._learned_at < arrived:
                await asyncio.sleep(max(0.0, self._learned_at + FRESH_SECONDS - self._now()))
                self._learned_at = self._now()
                await self._learn_artifacts()
        return self._artifacts.get(sha256)

    async def _learn_artifacts(self) -> None:
        self._asked_at.pop(TIMESTAMP, None)
        try:
            snapshot = named_version(await self._document(TIMESTAMP), "snapshot.json")
            targets = named_version(await self._document(f"{snapshot}.snapshot.json"), "targets.json")
            self._artifacts = artifacts_of(await self._document(f"{targets}.targets.json"))
        except web.HTTPException as problem:
            log.warning("what releases there are could not be asked: %s", problem.text)
            self._artifacts = artifacts_of(self._cache.newest("targets") or b"")

    def _fetch(self, path: str, sha256: str, length: int) -> Fetching:
        wanted = sum(one.length for one in self._fetching.values()) + length
        if not self._cache.make_space(length, {sha256, *self._fetching}) or wanted > self._cache.most_bytes:
            text = (
                f"the artifact has {length} bytes, more than the relay or its disk takes; raise --size or free some\n"
            )
            log.warning("%s: %s", path, text.strip())
            raise web.HTTPInsufficientStorage(text=text)
        fetching = self._fetching[sha256] = Fetching(self._upstream, self._cache, path, sha256, length, self._now)
        fetching.task.add_done_callback(lambda _: self._fetching.pop(sha256, None))
        return fetching

    async def _pass_on(self, request: web.Request, fetching: Fetching) -> web.StreamResponse:
        asked = _RANGE.fullmatch(request.headers.get("Range", ""))
        begin = int(asked[1]) if asked else 0
        if begin >= fetching.length:
            raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{fetching.length}"})
        answer = web.StreamResponse(status=206 if asked else 200, headers={"Accept-Ranges": "bytes"})
        answer.content_type, answer.content_length = "application/octet-stream", fetching.length - begin
        if asked:
            answer.headers["Content-Range"] = f"bytes {begin}-{fetching.length - 1}/{fetching.length}"
        await answer.prepare(request)
        if request.method == "HEAD":
            return answer
        try:
            async for piece in fetching.read(begin):
                await answer.write(piece)
        except (Away, NotThere, WrongBytes, NotKept) as problem:
            log.warning("%s: %s", request.path, problem)
            if request.transport is not None:
                request.transport.abort()  # the only way to say within an answer that the rest will not come
        return answer

    async def program(self, request: web.Request) -> web.StreamResponse:
        """Send the host program."""
        content = await self._program()
        return web.Response(
            body=content, content_type="application/octet-stream", headers={"Cache-Control": "no-cache"}
        )

    async def program_hash(self, request: web.Request) -> web.StreamResponse:
        """Send the SHA-256 of the host program that is sent here."""
        digest = await asyncio.to_thread(lambda content: hashlib.sha256(content).hexdigest(), await self._program())
        return web.Response(text=f"{digest}\n", headers={"Cache-Control": "no-store"})

    async def _program(self) -> bytes:
        name = HOST_PROGRAM.strip("/")
        kept = await asyncio.to_thread(self._cache.document, name)
        if kept is not None and self._is_fresh(name, PROGRAM_FRESH_SECONDS):
            ANSWERED.labels("program", "cache").inc()
            return kept
        try:
            keep = partial(self._cache.keep_document, name)
            found = await self._upstream.document(f"{DOWNLOADS}{HOST_PROGRAM}", MOST_PROGRAM, keep)
        except NotThere:
            raise web.HTTPNotFound from None
        except Away as problem:
            if kept is None:
                raise _away(problem) from None
            ANSWERED.labels("program", "cache, server away").inc()
            return kept
        self._asked_at[name] = self._now()
        ANSWERED.labels("program", "server").inc()
        return found


def add_to(app: web.Application, relay: Relay) -> None:
    """Add a relay's addresses to an application."""
    for path, answer in (
        (f"{METADATA}/{{name}}", relay.metadata),
        (f"{TARGETS}/{{path:.+}}", relay.target),
        (HOST_PROGRAM, relay.program),
        (f"{HOST_PROGRAM}.sha256", relay.program_hash),
    ):
        app.router.add_get(f"{DOWNLOADS}{path}", answer)
    app.router.add_get("/healthz", _alive)
    app.router.add_get("/metrics", _metrics)


async def _alive(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _metrics(request: web.Request) -> web.Response:
    if request.remote not in ("127.0.0.1", "::1"):  # numbers of a site are not for everybody there
        raise web.HTTPNotFound
    return web.Response(body=generate_latest(), headers={"Content-Type": "text/plain; version=0.0.4"})


def _away(problem: Away) -> web.HTTPException:
    return web.HTTPGatewayTimeout(text=f"the relay's server is away: {problem}\n")
