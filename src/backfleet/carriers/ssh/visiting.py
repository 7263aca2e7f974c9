"""One visit: log in, ask what is there, and run what waits for the host, as an agent of its own would.

A command is marked as running before anything of it is sent, so that one whose outcome is lost is never run a second
time by this module: whoever sent it decides, and a host answers a repeated order from its journal.
"""

import asyncio
import functools
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

import asyncssh

from backfleet import commands, fleet
from backfleet.carriers.facts import read_facts
from backfleet.carriers.ssh import _store
from backfleet.carriers.ssh.connecting import connected
from backfleet.carriers.ssh.model import KEY_MISSING, SUDO_REFUSED, UNFIT, UNREACHABLE, SshHost, SshProblem
from backfleet.carriers.ssh.running import Ended, Running, begun
from backfleet.carriers.ssh.scripts import facts_command
from backfleet.commands import FinalReport, HandedInvocation
from backfleet.fleet import Heartbeat
from backfleet.outbound import Destinations
from backfleet.storage import Database
from backfleet.values import value_object
from backfleet_host.texts import printable

FACTS_SECONDS: Final = 20.0
CLAIM_SECONDS: Final = 1.0  # until it is asked again what is to be stopped, and what else waits
LONGEST_FACTS: Final = 4096  # bytes

_IN_DOUBT: Final = FinalReport("error", error_code=commands.ALREADY_STARTED)


@value_object
class Visitor:
    """What every visit needs.

    `open_key` opens a sealed private key. `handed` and `lease` are how long a command may go without a sign of it
    before and after it began.
    """

    database: Database
    clock: Callable[[], datetime]
    allowed: Destinations
    open_key: Callable[[str], str]
    handed: timedelta
    lease: timedelta

    async def visit(self, instance_id: str) -> bool:
        """Visit a host. Return whether it was found in order."""
        found = await asyncio.to_thread(self._way_to, instance_id)
        if found is None:
            return True  # deregistered meanwhile
        host, sealed = found
        try:
            async with connected(host, self._opened(host, sealed), self.allowed) as connection:
                await self._question(host, connection)
                await self._work(host, connection)
        except SshProblem as problem:
            await asyncio.to_thread(self._note_problem, host, problem)
            return False
        except (OSError, asyncssh.Error) as problem:
            why = SshProblem(UNREACHABLE, f"{host.target.place}: the connection was lost: {problem}")
            await asyncio.to_thread(self._note_problem, host, why)
            return False
        return True

    def _way_to(self, instance_id: str) -> tuple[SshHost, str | None] | None:
        with self.database.reading() as tx:
            host = _store.hosts(tx, [instance_id]).get(instance_id)
            if host is None or fleet.instance(tx, host.account_id, instance_id) is None:
                return None
            key = _store.find_key(tx, host.account_id, host.key_name)
            return host, key.sealed if key else None

    def _opened(self, host: SshHost, sealed: str | None) -> str:
        try:
            if sealed is not None:
                return self.open_key(sealed)
        except ValueError as problem:
            raise SshProblem(KEY_MISSING, f"the key {host.key_name} cannot be opened: {problem}") from None
        raise SshProblem(KEY_MISSING, f"there is no key {host.key_name} any more")

    def _note_problem(self, host: SshHost, problem: SshProblem) -> None:
        """Store what is wrong. What waits is refused with it, unless waiting may help."""
        with self.database.transaction() as tx:
            _store.note_problem(tx, host.instance_id, problem.code, problem.message)
            if problem.may_pass:
                return
            handout = commands.claim(tx, host.instance_id, now=self.clock(), lease=self.handed)
            for one in handout.run:
                refusal = FinalReport("error", error_code=problem.code, error_text=problem.message[:512])
                commands.record_final_report(tx, host.instance_id, one.task_id, refusal, now=self.clock())

    async def _question(self, host: SshHost, connection: asyncssh.SSHClientConnection) -> None:
        """Ask the host what it is, and record that it is there."""
        before = self.clock()
        try:
            async with asyncio.timeout(FACTS_SECONDS):
                output, errors, code = await _ask(connection, facts_command(sudo=host.sudo))
        except TimeoutError:
            raise SshProblem(
                UNFIT, f"{host.target.place} did not say within {FACTS_SECONDS:.0f} s what it is"
            ) from None
        facts = _facts_of(host, output, errors, code)
        now = self.clock()
        middle = before + (now - before) / 2
        skew_ms = int(facts.pop("seconds")) * 1000 + 500 - round(middle.timestamp() * 1000)
        version = str(connection.get_extra_info("server_version", ""))
        await asyncio.to_thread(self._note_visit, host, facts, f"ssh {printable(version)}", skew_ms, now)

    def _note_visit(self, host: SshHost, facts: dict[str, str], version: str, skew_ms: int, now: datetime) -> None:
        present = Heartbeat(host.instance_id, now, clock_skew_ms=skew_ms, reachable_at=now)
        with self.database.transaction() as tx:
            fleet.note_facts(
                tx,
                host.instance_id,
                hostname=facts["hostname"],
                machine_id=facts["machine_id"],
                os_type=facts["os_type"],
                os_version=facts["os_version"],
                platform=facts["platform"],
                address=host.target.address,
                agent_version=version,
            )
            fleet.note_heartbeats(tx, [present])
            _store.note_visit(tx, host.instance_id, now)

    async def _work(self, host: SshHost, connection: asyncssh.SSHClientConnection) -> None:
        """Run what waits, and what comes meanwhile, until nothing is left. What is to be stopped is stopped."""
        tasks: dict[str, tuple[Running, asyncio.Task[None]]] = {}
        noted = time.monotonic()
        try:
            while True:
                handout = await asyncio.to_thread(self._claim, host.instance_id)
                for one in handout.run:
                    running = Running(one, connection, sudo=host.sudo)
                    tasks[one.task_id] = running, asyncio.create_task(self._see_through(host, running))
                for task_id in set(handout.stop) & set(tasks):
                    tasks[task_id][0].stop()
                await asyncio.to_thread(self._end_lost, host.instance_id, set(handout.stop) - set(tasks))
                if not tasks:
                    return
                await asyncio.wait([task for _, task in tasks.values()], timeout=CLAIM_SECONDS)
                tasks = {task_id: pair for task_id, pair in tasks.items() if not pair[1].done()}
                if time.monotonic() - noted > self.lease.total_seconds() / 3:
                    noted = time.monotonic()
                    await asyncio.to_thread(self._note_presence, host.instance_id)
        finally:
            for _, task in tasks.values():
                task.cancel()

    def _claim(self, instance_id: str) -> commands.Handout:
        with self.database.transaction() as tx:
            return commands.claim(tx, instance_id, now=self.clock(), lease=self.handed)

    def _end_lost(self, instance_id: str, to_stop: set[str]) -> None:
        """End what is to be stopped and was with a process that is no more: its session ended with that process."""
        if not to_stop:
            return
        with self.database.transaction() as tx:
            for task_id in commands.lost_among(tx, sorted(to_stop)):
                commands.record_final_report(tx, instance_id, task_id, FinalReport("stopped"), now=self.clock())

    def _note_presence(self, instance_id: str) -> None:
        now = self.clock()
        with self.database.transaction() as tx:
            fleet.note_heartbeats(tx, [Heartbeat(instance_id, now, reachable_at=now)])

    async def _see_through(self, host: SshHost, running: Running) -> None:
        """Run one command, and report on it until it ends."""
        one = running.command
        if not await asyncio.to_thread(self._mark_begun, host.instance_id, one):
            return
        noted = functools.partial(self._note_output, host.instance_id, one.task_id)
        report = _IN_DOUBT
        with suppress(OSError, asyncssh.Error):
            ended = await running.run(noted, every=min(5.0, self.lease.total_seconds() / 3))
            report = _report_of(ended)
        await asyncio.to_thread(self._report, host.instance_id, one.task_id, report)

    def _mark_begun(self, instance_id: str, one: HandedInvocation) -> bool:
        """Record that a command is about to begin; False if it is not to."""
        now = self.clock()
        with self.database.transaction() as tx:
            return commands.record_output(
                tx, instance_id, one.task_id, b"", started_ms=round(now.timestamp() * 1000), now=now, lease=self.lease
            )

    async def _note_output(self, instance_id: str, task_id: str, chunk: bytes) -> None:
        def note() -> None:
            with self.database.transaction() as tx:
                commands.record_output(
                    tx, instance_id, task_id, chunk, started_ms=None, now=self.clock(), lease=self.lease
                )

        await asyncio.to_thread(note)

    def _report(self, instance_id: str, task_id: str, report: FinalReport) -> None:
        with self.database.transaction() as tx:
            commands.record_final_report(tx, instance_id, task_id, report, now=self.clock())


def _report_of(ended: Ended) -> FinalReport:
    more: dict[str, Any] = {"output": ended.output, "dropped": ended.dropped}
    if ended.refusal:
        return FinalReport("invalid", error_code="NotSupported", error_text=ended.refusal, **more)
    if ended.was_stopped or ended.is_late:
        return FinalReport("stopped" if ended.was_stopped else "timeout", **more)
    if ended.exit_code is None:
        return _IN_DOUBT
    return FinalReport("finish", exit_code=ended.exit_code, **more)


async def _ask(connection: asyncssh.SSHClientConnection, command: str) -> tuple[str, str, int | None]:
    async with begun(connection, command, stdin=asyncssh.DEVNULL) as process:
        output, errors = await asyncio.gather(_all_of(process.stdout), _all_of(process.stderr))
        await process.wait_closed()
    return output.decode(errors="replace"), errors.decode(errors="replace"), process.exit_status


async def _all_of(stream: "asyncssh.SSHReader[bytes]") -> bytes:
    """Return what a stream holds, at most LONGEST_FACTS and a piece; the rest is not read."""
    found = b""
    while len(found) < LONGEST_FACTS and (piece := await stream.read(LONGEST_FACTS)):
        found += piece
    return found


def _facts_of(host: SshHost, output: str, errors: str, code: int | None) -> dict[str, str]:
    place, user = host.target.place, host.target.user
    if host.sudo and code != 0:
        answer = printable(errors.strip()[:200])
        raise SshProblem(
            SUDO_REFUSED, f"{place} does not let {user} become root by `sudo -n` without a password: {answer}"
        )
    try:
        facts = read_facts(output)
    except ValueError as problem:
        raise SshProblem(UNFIT, f"{place} cannot be used: {problem}") from None
    if facts.pop("uid") != "0":
        raise SshProblem(SUDO_REFUSED, f"{user} on {place} is not root: import it with sudo, or with root as its user")
    return facts
