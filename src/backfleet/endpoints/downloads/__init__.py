"""The door of hosts that fetch: signed metadata, artifacts, the host program, the authority. Read-only, for everybody.

Owns nothing. What is fetched here needs no secret to read and no trust in the way it came: the host checks every byte
against the metadata, and the metadata against the root it was enrolled with.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest
from prometheus_client import Counter

from backfleet import releases
from backfleet.failpoints import failpoint
from backfleet.storage import Database

FOR_EVER = "public, max-age=31536000, immutable"  # a name with a hash or a version in it never means other bytes
ASK_AGAIN = "no-cache"  # may be kept, but not given without asking whether it is still so
NOT_AT_ALL = "no-store"
PIECE = 1 << 20  # bytes sent at a time over TLS: few, large pieces cost the server least

KIND = web.RequestKey("backfleet_download", str)
SERVED = Counter("backfleet_downloads_total", "Answered downloads.", ["kind", "status"])

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_to(
    app: web.Application,
    database: Database,
    repository: releases.Repository,
    *,
    host_program: Path | None,
    ca_file: Path,
) -> None:
    """Add everything under /downloads."""
    door = _Door(database, repository, host_program, ca_file)
    for path, kind, answer in (
        ("/downloads/metadata/{name}", "metadata", door.metadata),
        ("/downloads/targets/{path:.+}", "artifact", door.target),
        ("/downloads/artifacts/{sha256}", "artifact", door.artifact),
        ("/downloads/backfleet-host.pyz", "host program", door.program),
        ("/downloads/backfleet-host.pyz.sha256", "host program", door.program_hash),
        ("/downloads/ca.pem", "authority", door.authority),
    ):
        app.router.add_get(path, partial(_answered, kind, answer))
    app.on_response_prepare.append(_count)


async def _answered(kind: str, answer: Handler, request: web.Request) -> web.StreamResponse:
    request[KIND] = kind
    return await answer(request)


async def _count(request: web.Request, response: web.StreamResponse) -> None:
    """Whether a file is answered whole, in part or not at all is known only when its answer begins."""
    if KIND in request:
        SERVED.labels(request[KIND], response.status).inc()


class _Door:
    """Answers downloads; holds nothing of them."""

    def __init__(
        self, database: Database, repository: releases.Repository, host_program: Path | None, ca_file: Path
    ) -> None:
        self._database, self._repository = database, repository
        self._host_program, self._ca_file = host_program, ca_file

    async def metadata(self, request: web.Request) -> web.StreamResponse:
        """One signed metadata file."""
        name = request.match_info["name"]
        content = await asyncio.to_thread(self._read_metadata, name)
        if content is None:
            raise web.HTTPNotFound
        keep = NOT_AT_ALL if name == "timestamp.json" else FOR_EVER
        return web.Response(body=content, content_type="application/json", headers={"Cache-Control": keep})

    async def target(self, request: web.Request) -> web.StreamResponse:
        """An artifact under the name that signed metadata gives it: `<package>/<version>/<sha256>.<platform>`."""
        sha256 = request.match_info["path"].rsplit("/", 1)[-1].partition(".")[0]
        return self._artifact(request, sha256)

    async def artifact(self, request: web.Request) -> web.StreamResponse:
        """An artifact by its hash alone."""
        return self._artifact(request, request.match_info["sha256"])

    async def program(self, request: web.Request) -> web.StreamResponse:
        """backfleet-host, as one file."""
        if self._host_program is None:
            raise web.HTTPNotFound(text="the host program was not built with this server: run `make host-program`\n")
        return _file(request, self._host_program, {"Cache-Control": ASK_AGAIN})

    async def program_hash(self, _request: web.Request) -> web.StreamResponse:
        """Its SHA-256, hex, and a newline."""
        if self._host_program is None:
            raise web.HTTPNotFound
        content = await asyncio.to_thread(self._host_program.read_bytes)
        return web.Response(text=hashlib.sha256(content).hexdigest() + "\n", headers={"Cache-Control": NOT_AT_ALL})

    async def authority(self, request: web.Request) -> web.StreamResponse:
        """The private authority's certificate, to be checked against a fingerprint that came another way."""
        return _file(request, self._ca_file, {"Cache-Control": ASK_AGAIN, "Content-Type": "application/x-pem-file"})

    def _artifact(self, request: web.Request, sha256: str) -> web.StreamResponse:
        path = self._repository.artifact(sha256)
        if path is None:
            raise web.HTTPNotFound
        failpoint("release served")
        return _file(request, path, {"Cache-Control": FOR_EVER, "Content-Type": "application/octet-stream"})

    def _read_metadata(self, name: str) -> bytes | None:
        if not re.fullmatch(r"[0-9a-z.]{1,40}", name):
            return None
        with self._database.reading() as tx:
            return releases.metadata(tx, name)


def _file(request: web.Request, path: Path, headers: dict[str, str]) -> web.FileResponse:
    """A file; aiohttp answers HEAD, ranges, If-Range with a date; the kernel sends it where there is no TLS."""
    return (_EncryptedFile if request.secure else web.FileResponse)(path, chunk_size=PIECE, headers=headers)


class _EncryptedFile(web.FileResponse):
    """A file that goes out over TLS in large pieces.

    The event loop has a sendfile for TLS too, which reads and encrypts 16 KB at a time: seven times the CPU, measured
    with a file of 29 MB. Should the library rename its method, that is what is left, and nothing breaks.
    """

    async def _sendfile(self, request: BaseRequest, fobj: IO[Any], offset: int, count: int) -> AbstractStreamWriter:
        writer = await web.StreamResponse.prepare(self, request)
        assert writer is not None  # noqa: S101 - the library's own promise at this point
        return await self._sendfile_fallback(writer, fobj, offset, count)
