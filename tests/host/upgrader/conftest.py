"""A real repository behind the real downloads endpoint, and a host's root in a temporary folder."""

import asyncio
import fcntl
import hashlib
import io
import os
import random
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from backfleet import releases
from backfleet.clock import utc_now
from backfleet.endpoints import downloads
from backfleet.storage import Database
from backfleet_host.contract import Order, Report
from backfleet_host.platforms import platform_here
from backfleet_host.upgrader import Installation, carry_out_on, gate
from backfleet_host.upgrader.gate import Gate
from host.upgrader.small_host import take_record_lock
from listening import end_of
from made_keys import open_keys

PACKAGE = "courier"

LONG_ENOUGH = 5  # seconds of an order that is to come to its wait, also on a busy machine, and to give up then
CLIENT = """#!/bin/sh
case "$1" in
  version) echo "{package} {version}"; exit {health} ;;
  hold) echo "holding {version}"; while [ -e "$2" ]; do sleep 0.02; done; echo "done {version}" ;;
  exit) exit "$2" ;;
  pid) echo $$ ;;
  *) echo "{version} $*" ;;
esac
"""


class Shop:
    """Publishes releases of a small backup client, and serves them for real."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder, self.database = folder, database
        _, self.repository = open_keys(folder / "server")
        self.address = ""
        self.scheme: str | None = None  # of the versions; None goes by the format
        with database.transaction() as tx:
            releases.refresh(tx, self.repository, now=datetime.now(UTC))
            root = releases.metadata(tx, "1.root.json")
        assert root is not None
        self.trust_root = root

    def add(
        self,
        version: str,
        *,
        health: int = 0,
        switch: str = "anytime",
        upgrades_from: str = "",
        platform: str = "",
        seconds: int = 5,
        commands: tuple[str, ...] = (PACKAGE,),
        client: str = CLIENT,
        padding: int = 0,
        files: int = 0,
        mode: int = 0o755,
        folder: str = "bin",
        **more: Any,
    ) -> Path:
        """Offer a version; return its artifact on the server. `health` is the exit code of its health command."""
        file = self.folder / f"{version}.tar.gz"
        text = client.format(package=PACKAGE, version=version, health=health).encode()
        with tarfile.open(file, "w:gz") as archive:
            for command in commands:
                info = tarfile.TarInfo(f"{folder}/{command}")
                info.mode, info.size = mode, len(text)
                archive.addfile(info, io.BytesIO(text))
            for number in range(files):
                archive.addfile(tarfile.TarInfo(f"share/{number}"))
            if padding:
                info = tarfile.TarInfo("share/padding")
                info.size = padding
                archive.addfile(info, io.BytesIO(random.Random(version).randbytes(padding)))
        given = {
            "bin": [f"{folder}/{command}" for command in commands],
            "switch": switch,
            "upgrades_from": upgrades_from,
            "health": {"command": [PACKAGE, "version"], "expect": "courier {version}", "seconds": seconds},
            **more,
        }
        return self.offer(file, PACKAGE, version, "tar", given, platform)

    def offer(
        self, file: Path, package: str, version: str, form: str, given: dict[str, Any] | None, platform: str = ""
    ) -> Path:
        """Offer any artifact. Without a manifest the recipe of the package is used."""
        file = Path(shutil.copy(file, self.folder / f"offered-{file.name}"))  # the repository takes it
        content = file.read_bytes()
        prepared = releases.prepare(
            file,
            hashlib.sha256(content).hexdigest(),
            len(content),
            package=package,
            version=version,
            platform=platform or platform_here(),
            form=form,
            file_name=file.name,
            given=given,
            scheme=self.scheme,
        )
        releases.keep_artifact(self.repository, file, prepared.sha256)
        with self.database.transaction() as tx:
            releases.add(tx, self.repository, prepared, channel="stable", now=datetime.now(UTC))
        return self.repository.path_of(prepared.sha256)

    def withdraw(self, version: str) -> None:
        """Offer a version no more."""
        with self.database.transaction() as tx:
            now = datetime.now(UTC)
            assert releases.withdraw(tx, self.repository, PACKAGE, version, platform_here(), now=now)


@pytest.fixture
def shop(tmp_path: Path, sqlite_database: Database) -> Iterator[Shop]:
    """Return a running shop."""
    made = Shop(tmp_path, sqlite_database)
    ready, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=_serve, args=(made, ready, stop))
    thread.start()
    assert ready.wait(10)
    yield made
    stop.set()
    thread.join()


def _serve(shop: Shop, ready: threading.Event, stop: threading.Event) -> None:
    async def run() -> None:
        app = web.Application()
        no_file = shop.folder / "none"
        downloads.add_to(
            app, shop.database, shop.repository, host_program=None, host_binaries=dict, ca_file=no_file, clock=utc_now
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        listener = web.TCPSite(runner, "127.0.0.1", 0)
        await listener.start()
        shop.address = f"http://127.0.0.1:{runner.addresses[0][1]}/downloads"
        ready.set()
        while not stop.is_set():  # noqa: ASYNC110 - set from another thread
            await asyncio.sleep(0.02)
        await end_of(runner)

    asyncio.run(run())


class Host:
    """One managed host with a root of its own."""

    def __init__(self, root: Path, shop: Shop) -> None:
        self.root = root
        self.installation = Installation(root, root / "bin", shop.address, None, shop.trust_root)
        self.progress: list[str] = []

    def carry(
        self, kind: str, version: str = "", *, order_id: str = "", timeout_seconds: int = 30, **more: Any
    ) -> Report:
        """Carry an order out; return its report."""
        order = replace(self.order(kind, version, order_id, timeout_seconds), **more)
        return carry_out_on(self.installation, order, self.progress.append)

    def order(self, kind: str, version: str = "", order_id: str = "", timeout_seconds: int = 30) -> Order:
        """Return an order for this host."""
        number = order_id or f"u-{kind}-{version}-{len(self.progress)}"
        number = "".join(c if c.isalnum() else "-" for c in number)
        return Order(
            number, kind, PACKAGE, version, platform_here() if version or kind == "roll-back" else "", timeout_seconds
        )

    @property
    def folder(self) -> Path:
        """The folder of the package."""
        return self.root / PACKAGE

    @property
    def shim(self) -> Path:
        """The shim that users run."""
        return self.root / "bin" / PACKAGE

    def write_policy(self, text: str, name: str = PACKAGE) -> None:
        """Write a file of the host policy."""
        self.installation.etc.mkdir(parents=True, exist_ok=True)
        (self.installation.etc / f"{name}.toml").write_text(text)

    @contextmanager
    def closed_gate(self) -> Iterator[Gate]:
        """Keep the gate closed, as an upgrade does."""
        closed = gate.close(self.folder / "gate", seconds=5, some_take_flock=False)
        try:
            yield closed
        finally:
            closed.open()

    @contextmanager
    def passing_the_gate(self) -> Iterator[dict[str, Any]]:
        """Yield what a process must be started with so that shims let it past, as commands of a verification."""
        file = os.open(self.folder / "gate", os.O_WRONLY)
        try:
            yield {"pass_fds": (file,), "env": {**os.environ, "BACKFLEET_GATE_DESCRIPTOR": str(file)}}
        finally:
            os.close(file)

    def is_gate_closed(self) -> bool:
        """Return whether a shim would wait now."""
        with open(self.folder / "gate", "rb") as file:
            return not take_record_lock(file.fileno(), fcntl.F_RDLCK)

    def version(self) -> str:
        """Return the version that `current` points to."""
        return self.installation.package(PACKAGE).version()

    def leftovers(self) -> list[str]:
        """Return what a finished order must not leave behind."""
        return [str(path) for path in self.root.rglob("*.partial*")] + self._journal()

    def downloads(self) -> list[str]:
        """Return the names of the downloads that are on disk."""
        return [path.name for path in (self.folder / "downloads").iterdir()]

    def _journal(self) -> list[str]:
        return ["journal"] if (self.folder / "journal").exists() else []


@pytest.fixture
def host(tmp_path: Path, shop: Shop) -> Host:
    """Return a host that was enrolled with the shop's root."""
    return Host(tmp_path / "host", shop)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """Return a folder that other users can enter. Those of pytest are private, and every run of it makes them so."""
    with tempfile.TemporaryDirectory(prefix="backfleet-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def installed(shop: Shop, host: Host) -> Host:
    """Return a host that has 1.0 and is offered 2.0."""
    shop.add("1.0")
    shop.add("2.0")
    assert host.carry("install", "1.0").outcome == "succeeded"
    return host
