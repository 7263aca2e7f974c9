"""An order that another agent's shell brought: carried out apart from that agent, its report printed.

`bring ROOT SERVER CA ORDER`: ORDER is the order's command content in base64. The work is done by a process that leads a
session of its own; the one that the agent started only tells what it prints. So the agent may die, time out, or be
stopped: the upgrade ends all the same, and the same order brought again tells its report.
"""

from __future__ import annotations

import base64
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from backfleet_host.agent.protocol.server import BadAddress, Server, proxy_of, read_address, tls_towards
from backfleet_host.agent.setup.enrolment import CannotEnrol, Wish, release_root
from backfleet_host.contract import Order, Report, read_order
from backfleet_host.identity import Identity, keep_identity
from backfleet_host.layout import Places, hold, make_folder, write_whole

QUOTA = 11_000  # bytes of output: what every agent carries, whatever it is told
GRACE_SECONDS = 60.0  # beyond the order's patience
LOOK_SECONDS = 0.2


def main(words: Sequence[str]) -> int:
    """Returns 0 if the order succeeded, else 1; the report is the last line on standard output."""
    root, server, authority, said = words
    places, order = Places(Path(root)), read_order(base64.b64decode(said).decode())
    try:
        _belong(places, server, Path(authority))
    except (CannotEnrol, BadAddress, OSError) as problem:
        print(_failed(order, "DownloadFailed", str(problem), {"reason": "NotReachable"}).as_line(), flush=True)
        return 1
    folder = places.agent / "brought"
    output, lock = folder / f"{order.order_id}.out", folder / f"{order.order_id}.lock"
    held = hold(lock)
    if held is not None:  # else it is being carried out, and we only tell
        _start_apart(places.root, order, output, held)
    return _tell(output, lock, order)


def _failed(order: Order, code: str, message: str, details: Dict[str, Any]) -> Report:
    return Report(order.order_id, order.kind, order.package, "failed", code=code, message=message, details=details)


def _belong(places: Places, server: str, authority: Path) -> None:
    """Make the root known to its server: whom to trust, and where releases are. An enrolled root stays as it is."""
    if places.identity.exists():
        return
    address = read_address(server)
    make_folder(places.agent)
    with contextlib.closing(Server(address, tls_towards(authority), proxy=proxy_of(places.root))) as reached:
        metadata = release_root(reached)
    wish = Wish(address, authority, "", "")
    write_whole(places.authority, wish.authority.read_bytes())
    make_folder(places.trusted_root.parent, mode=0o755)
    write_whole(places.trusted_root, metadata, mode=0o644)
    keep_identity(places, Identity("", "", server, "another agent's"))


def _start_apart(root: Path, order: Order, output: Path, held: int) -> None:
    """A grandchild in a session of its own, holding the lock; its output is a file."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.close(held)
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
    from backfleet_host import upgrader
    from backfleet_host.agent.execution.orders import fitting
    from backfleet_host.agent.execution.systemd_scope import move_apart

    move_apart(f"backfleet-{order.order_id}-{os.getpid()}")  # the order may restart the service that we came from

    def say(line: str) -> None:
        os.write(1, line.encode("utf-8", "replace") + b"\n")

    try:
        report = upgrader.carry_out(order, root, progress=say)
    except Exception as problem:  # noqa: BLE001 -- whatever it is, the server must hear of it
        report = _failed(order, "InternalError", repr(problem), {})
    say(fitting(report, QUOTA - 2000))
    return 0 if report.outcome == "succeeded" else 1


def _tell(output: Path, lock: Path, order: Order) -> int:
    """Print what the work prints, until it is over."""
    until = time.monotonic() + order.patience + GRACE_SECONDS
    told = 0
    while True:
        over = _is_over(lock) or time.monotonic() > until
        with contextlib.suppress(OSError):
            content = output.read_bytes()
            sys.stdout.buffer.write(content[told:])
            sys.stdout.buffer.flush()
            told = len(content)
        if over:
            return 0 if told and b'"outcome": "succeeded"' in content else 1
        time.sleep(LOOK_SECONDS)


def _is_over(lock: Path) -> bool:
    held: Optional[int] = hold(lock)
    if held is None:
        return False
    os.close(held)
    return True
