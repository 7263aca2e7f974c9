"""Whether the server has withdrawn an order that came through another agent.

Such an agent cannot stop what it started: it ends its own shell only, and it runs what it had queued although it was
told to stop it. So the process that carries the order out asks the server: before it begins, when it begins to drain
and while it does, and again and again once nobody reads its output any more. After the switch it is too late, and
nothing is asked. A server that does not answer withdraws nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path
from typing import Callable
from urllib.parse import urlencode

from backfleet_host.agent.protocol.address import BadAddress, read_address
from backfleet_host.agent.protocol.server import Server, Unreachable, proxy_of, tls_towards
from backfleet_host.contract import stage_line

ASK_SECONDS = 5.0  # that the server may take to answer
POLL_SECONDS = 0.5  # between two looks whether somebody still reads
DRAINING_SECONDS = 30.0  # between two questions while the order waits for running backups
LONGEST_PAUSE_SECONDS = 15.0  # between two questions once nobody reads; the first ones follow sooner
WITHDRAWABLE = ("install", "upgrade", "uninstall", "roll-back", "precheck", "stage")

Question = Callable[[], bool]
"""Asks the server; True if it has withdrawn the order."""


def question_to(server: str, authority: Path, root: Path, label: str) -> Question:
    """Return the question about the order that the server knows by this label, `TOPIC/REFERENCE`."""
    topic, _, reference = label.partition("/")
    path = f"/luban/api/backfleet/order?{urlencode({'topic': topic, 'reference': reference})}"

    def ask() -> bool:
        try:
            address, tls = read_address(server), tls_towards(authority)
            with contextlib.closing(Server(address, tls, proxy=proxy_of(root))) as client:
                answer = client.get(path, seconds=ASK_SECONDS)
            found = json.loads(answer.body) if answer.status == 200 else {}
        except (Unreachable, BadAddress, OSError, ValueError):
            return False
        return isinstance(found, dict) and found.get("withdrawn") is True

    return ask


class Withdrawal:
    """Asks about one order, in a thread of its own, so that nothing waits for the server while the gate is closed.

    Args:
        ask: asks the server.
        listener: the read end of a pipe that is closed once nobody reads the order's output any more.
    """

    def __init__(self, ask: Question, listener: int) -> None:
        self._ask, self._listener = ask, listener
        self._is_withdrawn, self._is_draining, self._is_over = threading.Event(), False, threading.Event()
        os.set_blocking(listener, False)

    def start(self) -> None:
        """Ask once, and go on asking when there is reason to."""
        if self._ask():
            self._is_withdrawn.set()
        else:
            threading.Thread(target=self._watch, name="withdrawal", daemon=True).start()

    def note(self, line: str) -> None:
        """Learn from a line of progress how far the order is."""
        self._is_draining = self._is_draining or line == stage_line("drain")
        if line == stage_line("switch"):
            self._is_over.set()

    def __call__(self) -> bool:
        """Return whether the order was withdrawn, as far as is known."""
        return self._is_withdrawn.is_set()

    def _watch(self) -> None:
        pause, waited, was_draining = 1.0, 0.0, False
        while not self._is_over.wait(POLL_SECONDS):
            waited += POLL_SECONDS
            is_read, began_to_drain = _is_open(self._listener), self._is_draining and not was_draining
            was_draining = self._is_draining
            due = DRAINING_SECONDS if is_read and was_draining else float("inf") if is_read else pause
            if waited < due and not began_to_drain:
                continue
            if self._ask():
                self._is_withdrawn.set()
                return
            waited, pause = 0.0, pause if is_read else min(pause * 2, LONGEST_PAUSE_SECONDS)


def _is_open(pipe: int) -> bool:
    """Return whether the other end of a pipe is open."""
    try:
        return os.read(pipe, 1) != b""
    except BlockingIOError:
        return True
