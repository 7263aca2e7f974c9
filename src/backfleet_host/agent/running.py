"""The running agent: its threads, and how it begins and ends."""

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
from backfleet_host.agent.execution.executor import Crew
from backfleet_host.agent.execution.outbox import Outbox
from backfleet_host.agent.execution.permission import RESTRICTED, SHELL
from backfleet_host.agent.execution.recovery import start_recovery
from backfleet_host.agent.execution.supervisor import Surroundings
from backfleet_host.agent.execution.task_journal import Journal
from backfleet_host.agent.protocol import heartbeat
from backfleet_host.agent.protocol.channel import Channel
from backfleet_host.agent.protocol.heartbeat import Heart
from backfleet_host.agent.protocol.kicks import Kick
from backfleet_host.agent.protocol.request_signature import read_request_signer
from backfleet_host.agent.protocol.server import BadAddress, Server, proxy_of, read_address, tls_towards
from backfleet_host.agent.protocol.task_polling import Fetcher
from backfleet_host.agent.timings import Pace
from backfleet_host.identity import Identity, NotEnrolled, read_identity
from backfleet_host.layout import Places, hold, write_whole

log = logging.getLogger(__name__)

_LOCK_SECONDS = 0.5  # somebody who only looks who holds the lock has it for an instant
_LAST_WORDS = 6.0  # seconds: threads may finish what they say to the server


class CannotRun(Exception):
    """Why no agent can run here, and what to do, in one line."""


class Agent:
    """One agent of one root. Build it, `run` it; `end` ends it from any thread."""

    def __init__(self, places: Places, identity: Identity, server: Server, mode: str, pace: Pace) -> None:
        self._identity, self._mode, self._places = identity, mode, places
        self.stopping = threading.Event()
        self._broken = False
        self._guard = threading.Lock()
        self._ready: Dict[str, bool] = {"socket": False, "heart": False}
        cold = _cold_start(places)
        journal = Journal(places.tasks)
        journal.open()
        self._outbox = Outbox(server, journal, pace)
        self._crew = Crew(journal, self._outbox, Surroundings(places, server, pace, self.stopping), mode)
        self._channel = Channel(server, pace, on_open=self._opened, on_kick=self._kicked)
        pulse = heartbeat.this_process(identity.machine_id, cold=cold, mode=mode)
        self._heart = Heart(server, pulse, pace, on_first=lambda: self._is_ready("heart"))
        is_deaf = lambda: not self._channel.standing.is_set()  # noqa: E731
        self._fetcher = Fetcher(server, pace, cold=cold, on_list=self._crew.take, is_deaf=is_deaf)

    def run(self) -> bool:
        """Run until told to end; False if a thread of it broke, since half an agent is worse than none."""
        if not self._crew.go_on():  # a task's own recovery comes first: two at once would be in each other's way
            start_recovery(self._places)
        loops = (self._channel.run, self._heart.run, self._fetcher.run, self._outbox.run)
        threads = [threading.Thread(target=self._loop, args=(loop,), daemon=True) for loop in loops]
        for thread in threads:
            thread.start()
        self.stopping.wait()
        for part in (self._heart, self._fetcher, self._outbox):
            part.wake()
        for thread in threads:
            thread.join(_LAST_WORDS)
        if machine.goes_down():
            self._heart.last()
        return not self._broken

    def end(self) -> None:
        """Let the agent end. What it started for tasks goes on, and is found by the next agent."""
        self.stopping.set()

    def _loop(self, loop: Callable[[threading.Event], None]) -> None:
        try:
            loop(self.stopping)
        except Exception:
            log.exception("the agent is broken and ends")
            self._broken = True
        self.stopping.set()

    def _opened(self) -> None:
        self._is_ready("socket")
        self._heart.wake_if_late()
        self._fetcher.kick()  # a kick may have been missed meanwhile
        self._outbox.hurry()

    def _kicked(self, kick: Kick) -> None:
        if kick.fetch:
            self._fetcher.kick(kick.task_id)

    def _is_ready(self, part: str) -> None:
        """Once the socket has stood and a heart-beat was acknowledged, say so, for whoever started us."""
        with self._guard:
            before, self._ready[part] = all(self._ready.values()), True
            is_new = all(self._ready.values()) and not before
        if is_new:
            said = {"event": "running", "instance_id": self._identity.instance_id, "mode": self._mode}
            print(json.dumps(said), flush=True)


def run(root: Path, *, allow_shell: bool, pace: Pace = Pace()) -> int:  # noqa: B008 -- frozen
    """Be the agent of this root until SIGTERM or SIGINT. Returns the exit code.

    Raises:
        CannotRun: not enrolled, or another agent runs here.
    """
    places = Places(root)
    mode = SHELL if allow_shell else RESTRICTED
    with _alone(places) as identity:
        agent = Agent(places, identity, _server(places, identity), mode, pace)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.end())
        _announce(identity, mode)
        return 0 if agent.run() else 1


def _announce(identity: Identity, mode: str) -> None:
    log.info("instance %s, server %s, process %d", identity.instance_id, identity.server, os.getpid())
    if mode == SHELL:
        log.warning("SHELL MODE: whoever controls the server can run any command on this host (--allow-shell)")
    else:
        log.info("restricted: orders for backup clients are taken, and nothing else")


@contextlib.contextmanager
def _alone(places: Places) -> Iterator[Identity]:
    """The identity of this root, whose only agent we are as long as this lasts."""
    try:
        identity = read_identity(places)
        lock = hold(places.lock, seconds=_LOCK_SECONDS)
    except NotEnrolled as problem:
        raise CannotRun(str(problem)) from None
    except OSError as problem:
        raise CannotRun(f"{places.lock} cannot be written: {problem.strerror}; run as the user who enrolled") from None
    if lock is None:
        raise CannotRun(f"another agent already runs in {places.root}; stop it first")
    try:
        yield identity
    finally:
        os.close(lock)


def _server(places: Places, identity: Identity) -> Server:
    try:
        signer = read_request_signer(places, identity)
        tls = tls_towards(places.authority)
        return Server(read_address(identity.server), tls, signer=signer, proxy=proxy_of(places.root))
    except (NotEnrolled, BadAddress) as problem:
        raise CannotRun(str(problem)) from None
    except OSError as problem:
        raise CannotRun(f"{places.authority} cannot be used: {problem}; enrol again") from None


def _cold_start(places: Places) -> bool:
    """Whether this is the first start since the machine booted; remembers that it was."""
    current = machine.boot_id()
    try:
        kept = places.boot.read_text(encoding="ascii")
    except OSError:
        kept = ""
    with contextlib.suppress(OSError):
        write_whole(places.boot, current.encode())
    return heartbeat.cold_start(kept, current)
