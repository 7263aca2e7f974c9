"""The running agent: its threads, its start and its end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
from pathlib import Path
from typing import Callable, Dict, Iterator

from backfleet_host.agent import machine
from backfleet_host.agent.execution.executor import Executor
from backfleet_host.agent.execution.outbox import Outbox
from backfleet_host.agent.execution.permission import RESTRICTED, SHELL
from backfleet_host.agent.execution.recovery import start_recovery
from backfleet_host.agent.execution.supervisor import Dependencies
from backfleet_host.agent.execution.task_journal import TaskJournal
from backfleet_host.agent.protocol import heartbeat
from backfleet_host.agent.protocol.address import BadAddress, read_address
from backfleet_host.agent.protocol.channel import Channel
from backfleet_host.agent.protocol.heartbeat import HeartbeatLoop
from backfleet_host.agent.protocol.kicks import Kick
from backfleet_host.agent.protocol.request_signature import read_request_signer
from backfleet_host.agent.protocol.server import Server, proxy_of, tls_towards
from backfleet_host.agent.protocol.task_polling import TaskPoller
from backfleet_host.agent.runs.ledger import Ledger
from backfleet_host.agent.runs.sending import RunSender
from backfleet_host.agent.runs.watching import RunWatch
from backfleet_host.agent.setup.adopting import Adoption
from backfleet_host.agent.setup.lost_links import LinkWatch
from backfleet_host.agent.timings import Timings
from backfleet_host.files import hold_lock, write_file
from backfleet_host.identity import Identity, NotEnrolled, read_identity
from backfleet_host.layout import Places

log = logging.getLogger(__name__)

_LOCK_SECONDS = 0.5  # `status` holds the lock for a moment to see whether an agent does
_END_SECONDS = 6.0  # threads may finish the request that they are making


class CannotRun(Exception):
    """No agent can run here; the text says why and what to do, in one line."""


class Agent:
    """The agent of one root. `run` runs it; `end` ends it from any thread."""

    def __init__(self, places: Places, identity: Identity, server: Server, mode: str, timings: Timings) -> None:
        self._identity, self._mode, self._places = identity, mode, places
        self.stopping = threading.Event()
        self._is_broken = False
        self._guard = threading.Lock()
        self._ready: Dict[str, bool] = {"socket": False, "heartbeat": False, "runs": False}
        is_cold_start = _is_cold_start(places)
        journal = TaskJournal(places.tasks)
        journal.open()
        self._outbox = Outbox(server, journal, timings)
        dependencies = Dependencies(places, server, timings, self.stopping)
        self._executor = Executor(journal, self._outbox, dependencies, mode)
        facts = heartbeat.facts_of_this_process(identity.machine_id, is_cold_start=is_cold_start, mode=mode)
        process = heartbeat.process_headers(facts)
        adoption = Adoption(server, places, identity, mode, on_adopted=self._on_adopted)
        self._channel = Channel(
            server,
            timings,
            on_open=self._on_open,
            on_kick=self._on_kick,
            process=process,
            on_refused=adoption.ask,
        )
        self._heartbeats = HeartbeatLoop(
            server, facts, timings, on_first=lambda: self._note_ready("heartbeat"), on_refused=adoption.ask
        )
        ledger = Ledger(places.runs)
        self._run_sender = RunSender(server, ledger, timings)
        self._run_watch = RunWatch(
            places.root, ledger, on_change=self._run_sender.wake, on_ready=lambda: self._note_ready("runs")
        )
        self._links = LinkWatch(places.root, timings.links)
        self._poller = TaskPoller(
            server,
            timings,
            is_cold_start=is_cold_start,
            on_list=self._executor.take,
            is_offline=lambda: not self._channel.is_open.is_set(),
        )

    def run(self) -> bool:
        """Run until told to end. Return False if a thread failed: an agent that does half its work ends as a whole."""
        if not self._executor.resume():  # the recovery of a task comes first: two at once would block each other
            start_recovery(self._places)
        loops = [self._channel.run, self._heartbeats.run, self._poller.run, self._outbox.run]
        loops += [self._run_watch.run, self._run_sender.run, self._links.run]
        threads = [threading.Thread(target=self._loop, args=(loop,), daemon=True) for loop in loops]
        for thread in threads:
            thread.start()
        self.stopping.wait()
        for part in (self._heartbeats, self._poller, self._outbox, self._run_sender):
            part.wake()
        for thread in threads:
            thread.join(_END_SECONDS)
        if machine.is_shutting_down():
            self._heartbeats.send_stopping()
        return not self._is_broken

    def end(self) -> None:
        """End the agent. Processes of tasks go on, and the next agent finds them."""
        self.stopping.set()

    def _loop(self, loop: Callable[[threading.Event], None]) -> None:
        try:
            loop(self.stopping)
        except Exception:
            log.exception("a thread of the agent failed; the agent ends")
            self._is_broken = True
        self.stopping.set()

    def _on_open(self) -> None:
        self._note_ready("socket")
        self._heartbeats.wake_if_late()
        self._poller.kick()  # a kick may have been missed while the socket was closed
        self._outbox.retry_now()

    def _on_kick(self, kick: Kick) -> None:
        if kick.fetch:
            self._poller.kick(kick.task_id)

    def _on_adopted(self) -> None:
        self._heartbeats.wake_if_late()

    def _note_ready(self, part: str) -> None:
        """Print one line for the program that started us: connected, a heartbeat acknowledged, and runs are noted."""
        with self._guard:
            before, self._ready[part] = all(self._ready.values()), True
            is_new = all(self._ready.values()) and not before
        if is_new:
            with contextlib.suppress(OSError):
                _note_program(self._places)
            line = {"event": "running", "instance_id": self._identity.instance_id, "mode": self._mode}
            print(json.dumps(line), flush=True)


def run(root: Path, *, allow_shell: bool, timings: Timings = Timings()) -> int:  # noqa: B008 -- frozen
    """Run the agent of this root until SIGTERM or SIGINT; return the exit code.

    Raises:
        CannotRun: the root is not enrolled, or another agent runs in it.
    """
    places = Places(root)
    mode = SHELL if allow_shell else RESTRICTED
    with _only_agent(places) as identity:
        agent = Agent(places, identity, _server(places, identity), mode, timings)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.end())
        _log_start(identity, mode)
        return 0 if agent.run() else 1


def _log_start(identity: Identity, mode: str) -> None:
    log.info("instance %s, server %s, process %d", identity.instance_id, identity.server, os.getpid())
    here = machine.stored_machine_id()
    if here and identity.machine_id and here != identity.machine_id:
        advice = "if this host is a copy of another one, run `backfleet-host enrol --new-identity`"
        log.warning("this identity was made on another machine, %s; %s", identity.machine_id, advice)
    if mode == SHELL:
        log.warning("SHELL MODE: the server can run any command on this host (--allow-shell)")
    else:
        log.info("restricted mode: only orders for backup clients are accepted")


@contextlib.contextmanager
def _only_agent(places: Places) -> Iterator[Identity]:
    """Give the identity of this root, and keep other agents from running in it."""
    try:
        identity = read_identity(places)
        lock = hold_lock(places.lock, seconds=_LOCK_SECONDS)
    except NotEnrolled as problem:
        raise CannotRun(str(problem)) from None
    except OSError as problem:
        raise CannotRun(
            f"{places.lock} cannot be written: {problem.strerror}; run as the user who enrolled the host"
        ) from None
    if lock is None:
        raise CannotRun(f"another agent already runs in {places.root}; stop it first")
    try:
        with contextlib.suppress(OSError):
            places.ready.unlink()
        yield identity
    finally:
        os.close(lock)


def _note_program(places: Places) -> None:
    """Write down from which program the connected agent runs: an upgrade of the program waits for it."""
    program = Path(__file__).parents[2].name
    write_file(places.ready, json.dumps({"program": program}).encode(), is_only_writer=True)


def _server(places: Places, identity: Identity) -> Server:
    try:
        signer = read_request_signer(places, identity)
        tls = tls_towards(places.authority)
        return Server(read_address(identity.server), tls, signer=signer, proxy=proxy_of(places.root))
    except (NotEnrolled, BadAddress) as problem:
        raise CannotRun(str(problem)) from None
    except OSError as problem:
        raise CannotRun(
            f"{places.authority} cannot be used: {problem}; remove {places.agent} and enrol again"
        ) from None


def _is_cold_start(places: Places) -> bool:
    """Tell whether this is the first start of an agent since the machine booted, and remember this boot."""
    current = machine.boot_id()
    try:
        last = places.boot.read_text(encoding="ascii")
    except OSError:
        last = ""
    with contextlib.suppress(OSError):
        write_file(places.boot, current.encode(), is_only_writer=True)
    return heartbeat.is_cold_start(last, current)
