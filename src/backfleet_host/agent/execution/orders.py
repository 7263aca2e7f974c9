"""An order, carried out or recovered by the upgrader: where the agent's process hands over, and what it prints."""

from __future__ import annotations

import dataclasses
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict

from backfleet_host.agent.execution.task_process import Lines
from backfleet_host.contract import Order, Report, read_order

SPARE = 2000  # bytes of the quota that stage lines may take
CUT_MESSAGE = 200  # characters of its message that a report keeps when it does not fit


def carry_order(root: Path, content: str, lines: Lines, quota: int, stopping: threading.Event) -> int:
    """Carry the order out and print its report; returns 0 if it succeeded, else 1."""
    from backfleet_host import upgrader

    order = read_order(content)
    return _reported(
        order, lines, quota, lambda: upgrader.carry_out(order, root, progress=lines.say, is_cancelled=stopping.is_set)
    )


def recover_order(root: Path, content: str, lines: Lines, quota: int, stopping: threading.Event) -> int:
    """Make good what a dead process left of the order, and report what is now true; returns as `carry_order`."""
    from backfleet_host import upgrader

    order = read_order(content)
    return _reported(order, lines, quota, lambda: upgrader.recover(order, root, progress=lines.say))


def _reported(order: Order, lines: Lines, quota: int, carry: Callable[[], Report]) -> int:
    try:
        report = carry()
    except Exception as problem:  # noqa: BLE001 -- whatever it is, the server must hear of it
        _tell_the_log()
        report = Report(
            order.order_id, order.kind, order.package, "failed", code="InternalError", message=f"{problem!r}"
        )
    lines.end_with(fitting(report, quota - SPARE))
    return 0 if report.outcome == "succeeded" else 1


def fitting(report: Report, most: int) -> str:
    """The report's line in at most this many bytes: a line that is cut would be no report at all.

    Of a status that is too long the order's own package stays, if it fits: it is what was asked for.
    """
    cut = dataclasses.replace(report, details={"cut": True})
    shorter = [
        report,
        dataclasses.replace(report, details={**_own_package(report), "cut": True}),
        cut,
        dataclasses.replace(cut, message=report.message[:CUT_MESSAGE]),
    ]
    lines = [each.as_line() for each in shorter]
    return next((line for line in lines if len(line) <= most), lines[-1])


def _own_package(report: Report) -> Dict[str, Any]:
    packages = report.details.get("packages")
    own = [each for each in packages if each.get("package") == report.package] if isinstance(packages, list) else []
    return {"packages": own} if own else {}


def _tell_the_log() -> None:
    import traceback  # not before it is needed: it takes milliseconds

    traceback.print_exc(file=sys.stderr)
