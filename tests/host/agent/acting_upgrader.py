"""Takes the place of the upgrader in tests of the agent, and does what the version in the order says.

`1.0` succeeds. `waits` goes on when the file `go` is in the root; `listens` does so too, and ends when it is stopped.
`dies` kills its own process once it has begun; `dies-always` does so in every recovery, too. `raises` raises an error
that nobody foresaw. `talks` returns a report that is too long to send. What it does is noted in the root's file
`actions`.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from backfleet_host.contract import Order, Report, stage_line


def carry_out(order: Order, root: Path, *, progress: Callable[[str], None], is_cancelled: Callable[[], bool]) -> Report:
    _note(root, f"carry {order.order_id}")
    progress(stage_line("admit"))
    if order.version.startswith("dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    if order.version == "raises":
        raise RuntimeError("nobody foresaw this")
    while order.version in ("waits", "listens") and not (root / "go").exists():
        time.sleep(0.02)
        if order.version == "listens" and is_cancelled():
            _note(root, f"stopped {order.order_id}")
            return _report(order, outcome="failed", code="TaskCancelled", message="stopped")
    progress(stage_line("switch"))
    if order.version == "talks":
        return _report(order, message="x" * 1000, details={"long": "y" * 50000})
    return _report(order, current_version=order.version)


def recover(order: Order, root: Path, *, progress: Callable[[str], None]) -> Report:
    _note(root, f"recover {order.order_id}")
    if order.version == "dies-always":
        os.kill(os.getpid(), signal.SIGKILL)
    return _report(order, outcome="failed", code="InternalError", message="recovered", current_version="0.9")


def _report(order: Order, *, outcome: str = "succeeded", **fields: object) -> Report:
    return Report(order.order_id, order.kind, order.package, outcome, **fields)  # type: ignore[arg-type]


def _note(root: Path, act: str) -> None:
    with (root / "actions").open("a") as actions:
        actions.write(f"{act}\n")
