"""One command in one session of a connection: its input, its output within bounds, its end."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import asyncssh

from backfleet.carriers.ssh.scripts import input_of, run_command
from backfleet.commands import SHELL, HandedInvocation, with_chunk
from backfleet.values import value_object

PIECE: Final = 16 * 1024  # bytes read at once
MOST_A_SECOND: Final = 4 << 20  # bytes read of one command: all visits of a process share its time
BEGIN_SECONDS: Final = 15.0  # for a host to begin a command
END_SECONDS: Final = 10.0  # for a command that was stopped to end
GRACE_SECONDS: Final = 5.0  # beyond a command's own time, for one that ends itself in time


@value_object
class Ended:
    """How a command ended. `output` is what was not noted yet. Without an exit code its end is not known."""

    exit_code: int | None = None
    output: bytes = b""
    dropped: int = 0
    was_stopped: bool = False
    is_late: bool = False
    refusal: str = ""


class Running:
    """One command on its way. It is stopped by the end of its input."""

    def __init__(self, command: HandedInvocation, connection: asyncssh.SSHClientConnection, *, sudo: bool) -> None:
        self.command, self._connection, self._sudo = command, connection, sudo
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Have it ended on the host."""
        self._stopping.set()

    async def run(self, note: Callable[[bytes], Awaitable[None]], *, every: float) -> Ended:
        """Run it, and pass its output on while it runs, also when there is none.

        Raises:
            asyncssh.Error, OSError: the connection was lost: nobody knows what became of it.
        """
        one = self.command
        if one.kind != SHELL or one.username:
            return Ended(refusal="by SSH there are shell commands only, as the user that the server logs in as")
        try:
            sent = input_of(one.content, one.working_directory)
        except ValueError as problem:
            return Ended(refusal=str(problem))
        until = time.monotonic() + one.timeout_seconds + GRACE_SECONDS
        command = run_command(sudo=self._sudo)
        async with begun(self._connection, command, stderr=asyncssh.STDOUT) as process:
            process.stdin.write(sent)
            return await self._follow(process, note, every, until)

    async def _follow(
        self,
        process: "asyncssh.SSHClientProcess[bytes]",
        note: Callable[[bytes], Awaitable[None]],
        every: float,
        until: float,
    ) -> Ended:
        kept, dropped, next_note = b"", 0, time.monotonic() + every
        is_late = was_stopped = False
        stopping = asyncio.create_task(self._stopping.wait())
        reading = asyncio.create_task(_piece_of(process))
        try:
            while True:
                pause = max(min(next_note, until) - time.monotonic(), 0.01)
                await asyncio.wait({reading, *(set() if was_stopped else {stopping})}, timeout=pause,
                                   return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
                if reading.done():
                    chunk = reading.result()
                    if not chunk:
                        break
                    kept, lost = with_chunk(kept, chunk)
                    dropped += lost
                    reading = asyncio.create_task(_piece_of(process))
                if time.monotonic() >= until:
                    if is_late or was_stopped:
                        break  # it does not end
                    is_late = True
                if (is_late or self._stopping.is_set()) and not was_stopped:
                    was_stopped, until = True, time.monotonic() + END_SECONDS
                    process.stdin.write_eof()
                if time.monotonic() >= next_note:
                    sent, kept, next_note = kept, b"", time.monotonic() + every
                    await note(sent)
        finally:
            stopping.cancel()
            reading.cancel()
        if was_stopped:
            return Ended(None, kept, dropped, not is_late, is_late)
        return Ended(await _exit_code_of(process), kept, dropped)


async def _piece_of(process: "asyncssh.SSHClientProcess[bytes]") -> bytes:
    """Return the next piece of a command's output, at a bounded rate: what a host floods waits there."""
    piece = await process.stdout.read(PIECE)
    await asyncio.sleep(len(piece) / MOST_A_SECOND)
    return piece


async def _exit_code_of(process: "asyncssh.SSHClientProcess[bytes]") -> int | None:
    """Return the exit code of a command whose output has ended; None if the host does not say it in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            await process.wait_closed()
    return process.exit_status


@asynccontextmanager
async def begun(
    connection: asyncssh.SSHClientConnection, command: str, **more: Any
) -> "AsyncIterator[asyncssh.SSHClientProcess[bytes]]":
    """Have a host begin a command, and leave it at the end without waiting for the other side, which may say nothing.

    Args:
        connection: to the host.
        command: what it runs.
        more: of create_process.

    Raises:
        asyncssh.Error, OSError: the host does not begin it; TimeoutError is one of them.
    """
    async with asyncio.timeout(BEGIN_SECONDS):
        process = await connection.create_process(command, encoding=None, **more)
    try:
        yield process
    finally:
        process.channel.abort()
