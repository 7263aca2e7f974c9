"""Where a task's process hands an order over to the upgrader, and makes a report of whatever comes of it."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Callable

from backfleet_host.agent.execution.order_output import OrderOutput, report_line
from backfleet_host.contract import CRASHED, Order, Report, read_order

PROGRESS_BYTES = 2000  # of the output quota, for lines of progress


def carry_order(root: Path, content: str, output: OrderOutput, quota: int, stopping: threading.Event) -> int:
    """Carry the order out and write its report; return 0 if it succeeded, else 1."""
    from backfleet_host import upgrader  # costs milliseconds; scripts do without

    order = read_order(content)
    return _reported(
        order,
        output,
        quota,
        lambda: upgrader.carry_out(order, root, progress=output.write_progress, is_cancelled=stopping.is_set),
    )


def recover_order(root: Path, content: str, output: OrderOutput, quota: int, stopping: threading.Event) -> int:
    """Recover what a dead process left of the order, and report what is now true; as `carry_order`."""
    from backfleet_host import upgrader  # costs milliseconds; scripts do without

    order = read_order(content)
    return _reported(order, output, quota, lambda: upgrader.recover(order, root, progress=output.write_progress))


def _reported(order: Order, output: OrderOutput, quota: int, carry: Callable[[], Report]) -> int:
    try:
        report = carry()
    except Exception as problem:  # noqa: BLE001 -- whatever it is, the server must hear of it
        _log_traceback()
        report = failed_report(order, problem)
    output.write_report(report_line(report, quota - PROGRESS_BYTES))
    return 0 if report.outcome == "succeeded" else 1


def failed_report(order: Order, problem: Exception) -> Report:
    """Return the report of an order that ended with an error that nobody foresaw."""
    return Report(
        order.order_id,
        order.kind,
        order.package,
        "failed",
        code="InternalError",
        message=f"{problem!r}",
        details={CRASHED: True},
        version_known=False,
    )


def _log_traceback() -> None:
    import traceback  # costs milliseconds; most orders do without

    traceback.print_exc(file=sys.stderr)
