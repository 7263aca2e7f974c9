"""The downloads endpoint on a free port; releases can be added while it runs."""

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
from aiohttp import web

from backfleet import releases
from backfleet.clock import utc_now
from backfleet.endpoints import downloads
from backfleet.host_program import find_binaries
from backfleet.storage import Database
from listening import end_of
from releases.artifacts import program, tar

PROGRAM = b"#!/usr/bin/env python3\nPK" + bytes(range(256)) * 20
AUTHORITY = b"-----BEGIN CERTIFICATE-----\nc2VydmVk\n-----END CERTIFICATE-----\n"


@dataclass
class DownloadServer:
    """The endpoint, with its releases and its address."""

    folder: Path
    database: Database
    repository: releases.Repository
    address: str = ""

    def get(self, path: str, method: str = "GET", **headers: str) -> urllib3.BaseHTTPResponse:
        """Ask for a path under /downloads, written exactly so."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return urllib3.request(method, self.address + path, headers=named, retries=False, redirect=False)

    def raw(self, target: str) -> int:
        """Return the status of a request whose target no regular client would send."""
        import socket

        host, port = self.address.removeprefix("http://").partition("/")[0].split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
            return int(connection.makefile("rb").readline().split()[1])

    def add(self, version: str, content: bytes = b"", **changes: Any) -> releases.Release:
        """Offer a release."""
        content = content or tar(program("rclone", version))
        upload = self.folder / "upload"
        upload.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        names = {"package": "rclone", "version": version, "platform": "linux-amd64", "form": "tar", **changes}
        prepared = releases.prepare(upload, sha256, len(content), **names, file_name="rclone.tar", given=None)
        releases.keep_artifact(self.repository, upload, sha256)
        with self.database.transaction() as tx:
            return releases.add(tx, self.repository, prepared, channel="stable", now=datetime.now(UTC))[0]

    def sign(self, after: timedelta = timedelta()) -> bool:
        """Sign what is due, as if it were later (or earlier)."""
        with self.database.transaction() as tx:
            return releases.refresh(tx, self.repository, now=datetime.now(UTC) + after)

    def metadata(self, name: str) -> bytes:
        with self.database.reading() as tx:
            content = releases.metadata(tx, name)
        assert content is not None
        return content


@pytest.fixture(scope="session")
def _keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture
def unsigned_server(tmp_path: Path, _keys: Path, sqlite_database: Database) -> DownloadServer:
    """An endpoint that does not serve yet, without releases and metadata."""
    (tmp_path / "backfleet-host.pyz").write_bytes(PROGRAM)
    (tmp_path / "ca.pem").write_bytes(AUTHORITY)
    return DownloadServer(tmp_path, sqlite_database, releases.Repository.open(_keys))


@pytest.fixture
def server(unsigned_server: DownloadServer) -> Iterator[DownloadServer]:
    """A running endpoint with its first metadata."""
    unsigned_server.sign()
    with serving(unsigned_server, unsigned_server.folder / "backfleet-host.pyz"):
        yield unsigned_server


@pytest.fixture
def bare_server(unsigned_server: DownloadServer) -> Iterator[DownloadServer]:
    """A running endpoint without metadata, host program and authority."""
    (unsigned_server.folder / "ca.pem").unlink()
    with serving(unsigned_server, None):
        yield unsigned_server


class serving:  # noqa: N801 - used as a verb
    """Serves in a thread, since clients block theirs."""

    def __init__(self, server: DownloadServer, host_program: Path | None) -> None:
        self._shop, self._program = server, host_program
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        app = web.Application()
        server = self._shop
        downloads.add_to(
            app,
            server.database,
            server.repository,
            host_program=self._program,
            host_binaries=lambda: find_binaries(server.folder),
            ca_file=server.folder / "ca.pem",
            clock=utc_now,
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.address = f"http://127.0.0.1:{runner.addresses[0][1]}/downloads"
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._stopping.wait()
        await end_of(runner)
