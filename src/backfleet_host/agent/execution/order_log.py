"""What the agent's log says of orders: the package, the versions, and how it ended. Other tasks are callers' own."""

from __future__ import annotations

from backfleet_host.contract import Malformed, is_order, read_order, read_output
from backfleet_host.texts import printable


def described(script: str) -> str:
    """Return what an order asks for, after ": "; "" for a script, which may hold anything."""
    if not is_order(script):
        return ""
    try:
        order = read_order(script)
    except Malformed:
        return ": an order that cannot be read"
    words = (order.kind, order.package, order.version and f"to {order.version}", f"(order {order.order_id})")
    return f": {' '.join(filter(None, words))}"


def ended(body: bytes) -> str:
    """Return how an order ended, by the body of its final report, after ": "; "" where it has no report."""
    report = read_output(body.decode(errors="replace"))[1]
    if report is None:
        return ""
    to = report.to_version and f"to {report.to_version}"
    what = " ".join(filter(None, (report.kind, report.package, report.from_version, to)))
    code = f" {report.code}" if report.code else ""
    now = f", {report.current_version or 'nothing'} runs" if report.version_known else ""
    why = f": {printable(report.message)}" if report.message else ""
    return f": {what}: {report.outcome}{code}{now}{why}"
