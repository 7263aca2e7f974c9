"""The process that carries out one task. It leads a session of its own and goes on if the agent ends.

Its standard output is the task's output file, its standard error the task's log. The lock that it inherits shows that
it lives; begun.json and end.json show how far it came. It imports only what its task needs: it must start within
milliseconds.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Sequence

from backfleet_host.agent.execution.task_folder import Begun, End, TaskFolder
from backfleet_host.layout import Places

CARRY, RECOVER = "carry", "recover"


def main(arguments: Sequence[str]) -> int:
    """Carry out the task that `ROOT KEY LOCK START_MS carry|recover` names.

    LOCK is the inherited descriptor of the task's lock, START_MS when the task began in milliseconds of the clock.

    Returns:
        0 once the task's end is written, whatever that end is.
    """
    root, key, lock, start_ms, mode = arguments
    os.set_inheritable(int(lock), False)  # a process that this one starts must not keep the lock after it
    places = Places(Path(root))
    folder = TaskFolder(places.tasks / key)
    earlier = folder.begun()
    recoveries = (earlier.recoveries if earlier else 0) + (mode == RECOVER)
    _write_begun(folder, Begun(os.getpid(), int(start_ms), recoveries))
    folder.write_end(_carry_out(places, folder, mode))
    return 0


def _write_begun(folder: TaskFolder, begun: Begun) -> None:
    """Note that the process has begun. On a full disk the reserved space is used: an order then reports the disk."""
    try:
        folder.write_begun(begun)
    except OSError:
        folder.release_space()
        folder.write_begun(begun)


def _carry_out(places: Places, folder: TaskFolder, mode: str) -> End:
    from backfleet_host.contract import is_order  # after begun.json is written: it takes milliseconds

    task = folder.task()
    script = task.script()
    stopping = _stopping_on_signal()
    if not is_order(script):
        from backfleet_host.agent.execution.script import carry_script  # orders do without

        return carry_script(folder, task, script, stopping)
    # Scripts do without these.
    from backfleet_host.agent.execution.order_output import OrderOutput
    from backfleet_host.agent.execution.orders import carry_order, recover_order
    from backfleet_host.agent.execution.systemd_scope import move_to_own_scope

    move_to_own_scope(f"backfleet-{folder.key}-{os.getpid()}")  # the order may restart the agent's own service
    carry = recover_order if mode == RECOVER else carry_order
    exit_code = carry(places.root, script, OrderOutput(folder), task.quota, stopping)
    return End("finish", int(time.time() * 1000), total=folder.printed(), exit_code=exit_code)


def _stopping_on_signal() -> threading.Event:
    """Return an event that SIGTERM sets, and ignore the signals of a terminal."""
    import signal  # after begun.json is written: it takes milliseconds

    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return stopping
