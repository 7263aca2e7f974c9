"""The step `drain`: close the gate and, where the client must be idle, wait for running backups. None is ever ended."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Callable, List, Optional

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader import gate
from backfleet_host.upgrader.errors import OrderFailed, Unhealthy
from backfleet_host.upgrader.host.health import RETRY_SECONDS
from backfleet_host.upgrader.host.installation import PackageFolder
from backfleet_host.upgrader.host.services import wait_until_idle
from backfleet_host.upgrader.transaction.attempt import Attempt
from backfleet_host.upgrader.transaction.plan import Plan

GATE_SECONDS = 10.0  # for shims that are just passing the gate
FRESH_SECONDS = 1.0  # for which what was seen of a service is not looked at again
STILL_RUNNING = "a backup was still running when the order ran out of time; nothing was touched"


@dataclass(frozen=True)
class SeenService:
    """Whether the service ran when it was last looked at."""

    serving: bool
    at: float  # monotonic seconds


def drain(attempt: Attempt, plan: Plan) -> bool:
    """Close the gate and, where the client must be idle, wait for running backups.

    What takes a moment is done before the gate is closed, because backups wait behind it.

    Returns:
        Whether the service runs, and so is to run afterwards.

    Raises:
        OrderFailed: BackupRunning, HostBusy; nothing was touched.
    """
    gate.make_lock_files(attempt.package.folder)
    old = attempt.old_manifest()
    must_be_idle = plan.must_be_idle(old)
    seen = _see_service(attempt, old)
    if seen.serving and old is not None and not must_be_idle:
        _wait_until_service_is_idle(attempt, old)
        seen = _see_again(attempt, old, seen)
    close_gate(attempt.package, attempt.closed_gate)
    return wait_until_client_is_idle(attempt, old, seen) if must_be_idle else seen.serving


def wait_until_client_is_idle(attempt: Attempt, old: Optional[Manifest], seen: Optional[SeenService] = None) -> bool:
    """Wait until no backup runs: through the shim, inside the service, or straight from the tree.

    Args:
        old: the manifest of the installed version; None if it is lost.
        seen: what was seen of the service before, if it was looked at.

    Returns:
        Whether the service runs, and so is to run afterwards.

    Raises:
        OrderFailed: BackupRunning, a backup ran for too long; HostBusy, whether the service runs is not known.
    """
    running = attempt.package.folder / "running"
    try:
        attempt.closed_gate.enter_context(gate.held(running, seconds=attempt.seconds_left(), wait=attempt.sleep))
    except gate.NotInTime:
        raise OrderFailed("BackupRunning", STILL_RUNNING) from None
    if old is not None:
        _wait_until_service_is_idle(attempt, old)
    seen = _see_again(attempt, old, seen)
    if old is not None and not seen.serving:
        left = left_running(attempt, attempt.seconds_left(), attempt.sleep)
        if left:
            raise OrderFailed("BackupRunning", f"{STILL_RUNNING}; it runs straight from the tree, as process {left[0]}")
    return seen.serving


def close_gate(package: PackageFolder, closed: contextlib.ExitStack) -> None:
    """Let no new run begin.

    Raises:
        OrderFailed: HostBusy, another process holds the gate.
    """
    path = package.folder / "gate"
    try:
        closed.enter_context(gate.held(path, seconds=GATE_SECONDS))
    except gate.NotInTime:
        text = f"another process holds the lock {path}; find it with `fuser` and end it"
        raise OrderFailed("HostBusy", text) from None


def left_running(attempt: Attempt, seconds: float, sleep: Callable[[float], None] = time.sleep) -> List[int]:
    """Return the processes that still run from the old tree after so many seconds; [] as soon as none does."""
    until = time.monotonic() + seconds
    while True:
        tree = attempt.package.tree(attempt.from_version)
        left = attempt.installation.running(tree) if attempt.from_version else []
        if not left or time.monotonic() >= until:
            return left
        sleep(RETRY_SECONDS)


def _wait_until_service_is_idle(attempt: Attempt, manifest: Manifest) -> None:
    """Wait until no backup runs inside the service. Raises OrderFailed, BackupRunning."""
    service = attempt.service(manifest) if manifest.service is not None else None
    if not wait_until_idle(service, attempt.seconds_left(), attempt.sleep):
        raise OrderFailed("BackupRunning", STILL_RUNNING)


def _see_service(attempt: Attempt, old: Optional[Manifest]) -> SeenService:
    """Look whether the service runs. Raises OrderFailed, HostBusy, if that cannot be found out."""
    at = time.monotonic()
    try:
        return SeenService(old is not None and attempt.service(old).was_serving(), at)
    except Unhealthy as problem:
        raise OrderFailed("HostBusy", f"{attempt.from_version}: {problem.text}; nothing was touched") from None


def _see_again(attempt: Attempt, old: Optional[Manifest], seen: Optional[SeenService]) -> SeenService:
    """Look again after a wait, because the administrator may have stopped the service meanwhile."""
    if seen is not None and time.monotonic() - seen.at <= FRESH_SECONDS:
        return seen
    return _see_service(attempt, old)
