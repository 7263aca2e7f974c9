"""The endpoint of hosts that download: signed metadata, artifacts, the host program and the authority. Read-only.

Owns no table. Downloads need neither a secret nor a trusted way: the host checks every byte against the metadata, and
the metadata against the root it was enrolled with.

- `add_to` adds the endpoint to an application.
"""

import asyncio
import hashlib
import logging
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

from aiohttp import web
from prometheus_client import Counter

from backfleet import releases
from backfleet.clock import Clock
from backfleet.endpoints.downloads._from_store import FromStore
from backfleet.failpoints import failpoint
from backfleet.library_internals import DownloadResponse
from backfleet.storage import Database, Unavailable
from backfleet_host.download_paths import AUTHORITY, DOWNLOADS, HOST_BINARY, HOST_PROGRAM, METADATA, TARGETS

FOR_EVER = "public, max-age=31536000, immutable"  # for names with a hash or version in them
ASK_AGAIN = "no-cache"  # a cache must ask whether its copy is still current
NOT_AT_ALL = "no-store"
OCTETS = "application/octet-stream"
PIECE = 256 * 1024  # bytes sent at a time over TLS; a reader that stalls holds two of them (0061)

KIND = web.RequestKey("backfleet_download", str)
SERVED = Counter("backfleet_downloads_total", "Answered downloads.", ["kind", "status"])

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Binaries = Callable[[], Mapping[str, Path]]
_MACHINE = "{machine:(-[a-z0-9_]{1,20})?}"


def add_to(
    app: web.Application,
    database: Database,
    repository: releases.Repository,
    *,
    host_program: Path | None,
    host_binaries: Binaries,
    ca_file: Path,
    clock: Clock,
) -> None:
    """Add everything under /downloads.

    Args:
        app: The application.
        database: Has the signed metadata.
        repository: Has the artifacts.
        host_program: The file of the host program; None if it was not built.
        host_binaries: Returns the host programs for hosts without Python, by machine. Called in a thread.
        ca_file: The certificate of the private authority.
        clock: The time.
    """
    endpoint = _Downloads(database, repository, host_program, host_binaries, ca_file, clock)
    for path, kind, answer in (
        (f"{METADATA}/{{name}}", "metadata", endpoint.metadata),
        (f"{TARGETS}/{{path:.+}}", "artifact", endpoint.target),
        ("/artifacts/{sha256}", "artifact", endpoint.artifact),
        (HOST_PROGRAM, "host program", endpoint.program),
        (f"{HOST_PROGRAM}.sha256", "host program", endpoint.program_hash),
        (f"{HOST_BINARY}{_MACHINE}", "host program", endpoint.binary),
        (f"{HOST_BINARY}{_MACHINE}.sha256", "host program", endpoint.binary_hash),
        (AUTHORITY, "authority", endpoint.authority),
    ):
        app.router.add_get(f"{DOWNLOADS}{path}", partial(_answered, kind, answer))
    app.on_response_prepare.append(_count)
    app.on_cleanup.append(endpoint.close)


async def _answered(kind: str, answer: Handler, request: web.Request) -> web.StreamResponse:
    request[KIND] = kind
    return await answer(request)


async def _count(request: web.Request, response: web.StreamResponse) -> None:
    """Count an answer when it begins: only then it is known whether all of a file is sent, a part, or nothing."""
    if KIND in request:
        SERVED.labels(request[KIND], response.status).inc()


class _Downloads:
    """Answers downloads."""

    def __init__(
        self,
        database: Database,
        repository: releases.Repository,
        host_program: Path | None,
        host_binaries: Binaries,
        ca_file: Path,
        clock: Clock,
    ) -> None:
        self._database, self._repository = database, repository
        self._host_program, self._ca_file, self._clock = host_program, ca_file, clock
        self._host_binaries = host_binaries
        stored = repository.stored
        self._from_store = None if stored is None else FromStore(stored, self._is_of_release, repository.is_hash)

    async def metadata(self, request: web.Request) -> web.StreamResponse:
        """Send one signed metadata file."""
        name = request.match_info["name"]
        content = await asyncio.to_thread(self._read_metadata, name)
        if content is None:
            raise web.HTTPNotFound
        keep = NOT_AT_ALL if name == "timestamp.json" else FOR_EVER
        return web.Response(body=content, content_type="application/json", headers={"Cache-Control": keep})

    async def target(self, request: web.Request) -> web.StreamResponse:
        """Send an artifact by its name in the signed metadata: `<package>/<version>/<sha256>.<platform>`."""
        sha256 = request.match_info["path"].rsplit("/", 1)[-1].partition(".")[0]
        return await self._artifact(request, sha256)

    async def artifact(self, request: web.Request) -> web.StreamResponse:
        """Send an artifact by its hash alone."""
        return await self._artifact(request, request.match_info["sha256"])

    async def program(self, request: web.Request) -> web.StreamResponse:
        """Send the host program, one file."""
        if self._host_program is None:
            raise web.HTTPNotFound(text="the host program was not built with this server; run `make host-program`\n")
        return _file(self._host_program, {"Cache-Control": ASK_AGAIN})

    async def program_hash(self, _request: web.Request) -> web.StreamResponse:
        """Send the SHA-256 of the host program, hex, and a newline."""
        if self._host_program is None:
            raise web.HTTPNotFound
        content = await asyncio.to_thread(self._host_program.read_bytes)
        return web.Response(text=hashlib.sha256(content).hexdigest() + "\n", headers={"Cache-Control": NOT_AT_ALL})

    async def binary(self, request: web.Request) -> web.StreamResponse:
        """Send the host program for hosts without Python, one file for each kind of machine."""
        return _file(await self._binary(request), {"Cache-Control": ASK_AGAIN, "Content-Type": OCTETS})

    async def binary_hash(self, request: web.Request) -> web.StreamResponse:
        """Send its SHA-256, hex, and a newline."""
        digest = await asyncio.to_thread(_sha256_of, await self._binary(request))
        return web.Response(text=digest + "\n", headers={"Cache-Control": NOT_AT_ALL})

    async def _binary(self, request: web.Request) -> Path:
        found = await asyncio.to_thread(self._host_binaries)
        machine = request.match_info["machine"].removeprefix("-") or os.uname().machine
        if machine not in found:
            has = f"it has those for: {', '.join(sorted(found))}" if found else "it has none"
            advice = "build it there with `make host-binary`, and put it into the server's data folder"
            raise web.HTTPNotFound(
                text=f"this server has no host program for {machine} without Python; {has}; {advice}\n"
            )
        return found[machine]

    async def authority(self, request: web.Request) -> web.StreamResponse:
        """Send the certificate of the private authority. A host checks it against a fingerprint from elsewhere."""
        return _file(self._ca_file, {"Cache-Control": ASK_AGAIN, "Content-Type": "application/x-pem-file"})

    async def _artifact(self, request: web.Request, sha256: str) -> web.StreamResponse:
        path = self._repository.artifact(sha256)
        if self._from_store is not None:
            path = await self._from_store.path(sha256, path)
        if path is None or not await asyncio.to_thread(self._may_be_sent, sha256):
            raise web.HTTPNotFound
        failpoint("release served")
        return _file(path, {"Cache-Control": FOR_EVER, "Content-Type": OCTETS})

    async def close(self, _app: web.Application) -> None:
        """End what is still fetched from the object store."""
        if self._from_store is not None:
            await self._from_store.close()

    def _is_of_release(self, sha256: str) -> bool:
        """Return whether an artifact is a release's, and note nothing; True while the database is away."""
        try:
            with self._database.reading() as tx:
                return releases.may_be_sent(tx, sha256)
        except Unavailable:
            return True

    def _may_be_sent(self, sha256: str) -> bool:
        """Note that an artifact is fetched; return whether it is a release's.

        A version whose artifact nobody has fetched can be given to other bytes. While the database is away nothing can
        be noted, and nothing be given: the artifact is sent all the same.
        """
        try:
            with self._database.reading() as tx:
                if releases.is_noted_as_fetched(tx, sha256):
                    return releases.may_be_sent(tx, sha256)
            with self._database.transaction() as tx:
                return releases.note_fetched(tx, sha256, now=self._clock())
        except Unavailable:
            log.warning("an artifact is sent without a note of it: the database does not answer")
            return True

    def _read_metadata(self, name: str) -> bytes | None:
        if not re.fullmatch(r"[0-9a-z.]{1,40}", name):
            return None
        with self._database.reading() as tx:
            return releases.metadata(tx, name)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _file(path: Path, headers: dict[str, str]) -> web.FileResponse:
    """Return a file. aiohttp handles HEAD, ranges and If-Range."""
    return DownloadResponse(path, chunk_size=PIECE, headers=headers)
