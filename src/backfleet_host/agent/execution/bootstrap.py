"""An order that came with the host program as a shell command of another agent (`backfleet-host bring`).

The work is done by a process that leads a session of its own and writes to a file. The process that the other agent
started only prints what comes into that file. So that agent may end, time out or be stopped, and the upgrade still
finishes. The same order run again prints its report.
"""

from __future__ import annotations

import base64
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Sequence

from backfleet_host.agent.execution.order_output import report_line
from backfleet_host.agent.execution.orders import PROGRESS_BYTES, failed_report
from backfleet_host.agent.execution.systemd_scope import move_to_own_scope
from backfleet_host.agent.protocol.address import BadAddress, read_address
from backfleet_host.agent.protocol.server import Server, proxy_of, tls_towards
from backfleet_host.agent.setup.enrolment_errors import CannotEnrol
from backfleet_host.agent.setup.release_root import fetch_release_root
from backfleet_host.contract import Order, Report, read_order
from backfleet_host.files import hold_lock, make_folder, set_mode, write_file
from backfleet_host.identity import Identity, keep_identity
from backfleet_host.layout import Places

QUOTA = 11_000  # bytes of output that every agent passes on, whatever its settings
GRACE_SECONDS = 60.0  # beyond the order's time budget
POLL_SECONDS = 0.2


def main(arguments: Sequence[str]) -> int:
    """Carry out the order that `ROOT SERVER CA ORDER` names; ORDER is its command content in base64.

    Returns:
        0 if the order succeeded, else 1. The report is the last line on standard output.
    """
    root, server, authority, encoded = arguments
    places, order = Places(Path(root)), read_order(base64.b64decode(encoded).decode())
    try:
        _adopt(places, server, Path(authority))
    except (CannotEnrol, BadAddress, OSError) as problem:
        print(_unreachable(order, problem).as_line(), flush=True)
        return 1
    folder = places.bootstrap
    output, lock = folder / f"{order.order_id}.out", folder / f"{order.order_id}.lock"
    held = hold_lock(lock)
    if held is not None:  # else the order is being carried out already, and only its output is printed
        _start_detached(places.root, order, output, held)
    return _print_output(output, lock, order)


def _unreachable(order: Order, problem: Exception) -> Report:
    return Report(
        order.order_id,
        order.kind,
        order.package,
        "failed",
        code="DownloadFailed",
        message=str(problem),
        details={"reason": "NotReachable"},
        version_known=False,
    )


def _adopt(places: Places, server: str, authority: Path) -> None:
    """Store which server and which releases this root trusts. A root that is enrolled stays as it is."""
    if places.identity.exists():
        return
    address = read_address(server)
    make_folder(places.agent, parents_mode=0o755)
    set_mode(places.agent, 0o700)  # the shell command may have made it
    with contextlib.closing(Server(address, tls_towards(authority), proxy=proxy_of(places.root))) as client:
        release_root = fetch_release_root(client)
    write_file(places.authority, authority.read_bytes())
    make_folder(places.trusted_root.parent, mode=0o755, parents_mode=0o755)
    write_file(places.trusted_root, release_root, mode=0o644)
    keep_identity(places, Identity("", "", server, "another agent's"))


def _start_detached(root: Path, order: Order, output: Path, lock: int) -> None:
    """Start the work as a grandchild in a session of its own. It holds the lock and writes to the output file."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.close(lock)
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(written, 1)
    os.dup2(written, 2)
    code = 1
    try:
        code = _carry_out(root, order)
    finally:
        os._exit(code)


def _carry_out(root: Path, order: Order) -> int:
    from backfleet_host import upgrader  # only the detached process needs it

    move_to_own_scope(f"backfleet-{order.order_id}-{os.getpid()}")  # the order may restart the other agent's service

    def write(line: str) -> None:
        os.write(1, line.encode("utf-8", "replace") + b"\n")

    try:
        report = upgrader.carry_out(order, root, progress=write)
    except Exception as problem:  # noqa: BLE001 -- whatever it is, the server must hear of it
        report = failed_report(order, problem)
    write(report_line(report, QUOTA - PROGRESS_BYTES))
    return 0 if report.outcome == "succeeded" else 1


def _print_output(output: Path, lock: Path, order: Order) -> int:
    """Print what comes into the output file until the work is over."""
    until = time.monotonic() + order.timeout_seconds + GRACE_SECONDS
    printed = 0
    while True:
        is_over = _is_free(lock) or time.monotonic() > until
        with contextlib.suppress(OSError):
            content = output.read_bytes()
            sys.stdout.buffer.write(content[printed:])
            sys.stdout.buffer.flush()
            printed = len(content)
        if is_over:
            return 0 if printed and b'"outcome": "succeeded"' in content else 1
        time.sleep(POLL_SECONDS)


def _is_free(lock: Path) -> bool:
    held = hold_lock(lock)
    if held is None:
        return False
    os.close(held)
    return True
