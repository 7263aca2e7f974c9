"""The process that carries out one task. It leads a session of its own and lives on if the agent does not.

Its standard output is the task's output file, its standard error the task's log. The lock it was born with says that it
lives; begun.json and end.json say what it came to. It imports only what its task needs.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Sequence

from backfleet_host.agent.execution.task_journal import Begun, End, TaskFolder
from backfleet_host.layout import Places

CARRY, RECOVER = "carry", "recover"


def main(words: Sequence[str]) -> int:
    """`carry-out ROOT KEY LOCK START_MS carry|recover`: LOCK is the descriptor of the task's lock.

    Returns 0 once the task's end is written down, whatever that end is.
    """
    root, key, lock, start_ms, mode = words
    os.set_inheritable(int(lock), False)  # what we start must not keep the task alive
    places = Places(Path(root))
    folder = TaskFolder(places.tasks / key)
    earlier = folder.begun()
    recoveries = (earlier.recoveries if earlier else 0) + (mode == RECOVER)
    folder.begin(Begun(os.getpid(), int(start_ms), recoveries))
    folder.conclude(_carried(places, folder, mode))
    return 0


def _carried(places: Places, folder: TaskFolder, mode: str) -> End:
    from backfleet_host.contract import is_order

    task = folder.task()
    script = task.script()
    stopping = _stopping_on_signal()
    if not is_order(script):
        from backfleet_host.agent.execution.script import carry_script

        return carry_script(folder, task, script, stopping)
    from backfleet_host.agent.execution.orders import carry_order, recover_order
    from backfleet_host.agent.execution.systemd_scope import move_apart

    move_apart(f"backfleet-{folder.key}-{os.getpid()}")  # the order may restart the service that we came from
    carry = recover_order if mode == RECOVER else carry_order
    exit_code = carry(places.root, script, Lines(folder), task.quota, stopping)
    return End("finish", _now_ms(), total=folder.printed(), exit_code=exit_code)


def _stopping_on_signal() -> threading.Event:
    import signal

    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the session's terminal, if it had one, is no reason to end
    return stopping


class Lines:
    """The task's output while an order is carried out: JSON lines, the report last."""

    def __init__(self, folder: TaskFolder) -> None:
        self._folder = folder

    def say(self, line: str) -> None:
        """Print a line of progress. A full disk costs the line, not the order."""
        try:
            self._print(line)
        except OSError as problem:
            print(f"output: {problem}", file=sys.stderr)

    def end_with(self, line: str) -> None:
        """Print the report, in the room that was set aside for it."""
        self._folder.free_room()
        self._print(line)
        os.fsync(1)  # before end.json says that it is there

    def _print(self, line: str) -> None:
        rest = line.encode("utf-8", "replace") + b"\n"
        while rest:
            rest = rest[os.write(1, rest) :]


def _now_ms() -> int:
    return int(time.time() * 1000)
