"""The step `drain`: close the gate and, where the client must be idle, wait for running backups. None is ever ended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, List, Optional

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader import gate
from backfleet_host.upgrader.errors import OrderFailed, Unhealthy
from backfleet_host.upgrader.host import adopted, shim
from backfleet_host.upgrader.host.health import RETRY_SECONDS
from backfleet_host.upgrader.host.holders import Holder, describe_process
from backfleet_host.upgrader.host.services import wait_until_idle
from backfleet_host.upgrader.transaction.attempt import Attempt
from backfleet_host.upgrader.transaction.plan import Plan

GATE_SECONDS = 10.0  # for shims that are just passing the gate
FRESH_SECONDS = 1.0  # for which what was seen of a service is not looked at again
CHECK_SECONDS = 5.0  # between two checks for running backups while the gate is open
HOLDERS_SECONDS = 1.0  # between two checks for who holds a lock
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
        OSError: state to preserve cannot be reached, or its file system does not answer; the same.
    """
    gate.make_lock_files(attempt.package.folder)
    old = attempt.old_manifest()
    preserved = plan.preserved_paths(old)
    if preserved:
        attempt.preserved.reach(preserved, attempt.check_interrupted)
    if plan.must_be_idle(old):
        return drain_until_idle(attempt, old, plan.policy.host.drain_limit)
    seen = _see_service(attempt, old)
    if seen.serving and old is not None:
        _wait_until_service_is_idle(attempt, old)
        seen = _see_again(attempt, old, seen)
    close_gate(attempt)
    return seen.serving


def drain_until_idle(attempt: Attempt, old: Optional[Manifest], drain_limit: int) -> bool:
    """Wait until no backup runs: through the shim, inside the service, or straight from the tree. Close the gate.

    New runs may begin while it waits. Only in the last part of the order's time the gate is closed for the wait.

    Args:
        old: the manifest of the installed version; None if it is lost.
        drain_limit: seconds for which the gate may be closed for that.

    Returns:
        Whether the service runs, and so is to run afterwards.

    Raises:
        OrderFailed: BackupRunning, a backup ran for too long; HostBusy, whether the service runs is not known.
    """
    attempt.state.must_be_idle = True
    while attempt.seconds_left() > drain_limit:
        if not _why_not_idle(attempt, old):
            close_gate(attempt)
            if not runs_of(attempt):
                break
            attempt.closed_gate.close()
        attempt.sleep(min(CHECK_SECONDS, max(0.0, attempt.seconds_left() - drain_limit)))
    else:
        close_gate(attempt)
    return _wait_until_client_is_idle(attempt, old)


def _why_not_idle(attempt: Attempt, old: Optional[Manifest]) -> str:
    """Check without waiting whether a backup runs; return which, or "" if none does."""
    runs = runs_of(attempt)
    if runs:
        return str(runs[0])
    before = adopted.runs_from_before(attempt.package)
    if before:
        return describe_process(before[0])
    if old is None:
        return ""
    service = attempt.service(old)
    if service.exists and service.runs():
        return "" if service.is_idle() else "a backup inside the service"
    left = left_running(attempt, 0)
    return describe_process(left[0]) if left else ""


def _wait_until_client_is_idle(attempt: Attempt, old: Optional[Manifest]) -> bool:
    """Wait behind the closed gate until no backup runs; return whether the service runs. As `drain_until_idle`."""
    wait_for_runs(attempt, STILL_RUNNING, attempt.sleep)
    _wait_for_runs_from_before(attempt)
    if old is not None:
        _wait_until_service_is_idle(attempt, old)
    seen = _see_service(attempt, old)
    if old is not None and not seen.serving:
        left = left_running(attempt, attempt.seconds_left(), attempt.sleep)
        if left:
            text = f"{STILL_RUNNING}; it runs straight from the tree, as {describe_process(left[0])}"
            raise OrderFailed("BackupRunning", text)
    return seen.serving


def wait_for_runs(
    attempt: Attempt, late: str, sleep: Callable[[float], None] = time.sleep, *, seconds: Optional[float] = None
) -> None:
    """Wait behind the closed gate until no run of the client is left. Those who wait at the gate go on waiting.

    Args:
        seconds: how long to wait; None = as long as the order has time.

    Raises:
        OrderFailed: BackupRunning, the time is over; the message is `late` and who runs.
    """
    attempt.state.must_be_idle = True
    path = attempt.package.folder / "running"
    end = time.monotonic() + (attempt.seconds_left() if seconds is None else seconds)
    while True:
        runs = runs_of(attempt)
        if not runs:
            return
        until = min(time.monotonic() + HOLDERS_SECONDS, end)
        while gate.is_anything_running(path) and time.monotonic() < until:
            sleep(gate.POLL_SECONDS)
        if time.monotonic() >= end:
            raise OrderFailed("BackupRunning", f"{late}: {runs[0]}")
        attempt.renew_gate()


def _wait_for_runs_from_before(attempt: Attempt) -> None:
    """Wait behind the closed gate for runs that began before the client was taken over. Raises OrderFailed as above."""
    while True:
        runs = adopted.runs_from_before(attempt.package)
        if not runs:
            return
        if attempt.seconds_left() <= 0:
            text = f"{STILL_RUNNING}; it does not go through our shim, since it began before the client was taken over"
            raise OrderFailed(
                "BackupRunning", f"{text}, or runs the program that was kept: {describe_process(runs[0])}"
            )
        attempt.sleep(min(HOLDERS_SECONDS, max(0.0, attempt.seconds_left())))
        attempt.renew_gate()


def runs_of(attempt: Attempt) -> List[Holder]:
    """Return the runs of the client, without what earlier runs left behind; that is noted in the report's details."""
    path = attempt.package.folder / "running"
    if not gate.is_anything_running(path):
        return []
    holders = attempt.installation.lock_holders(path, attempt.package.folder)
    runs = [holder for holder in holders if holder.is_run]
    left_over = [str(holder) for holder in holders if not holder.is_run]
    if left_over:
        attempt.state.details["left_over"] = left_over
        if attempt.installation.policy_or_default().left_overs_are_runs:
            return holders
    return runs


def check_still_idle(attempt: Attempt) -> None:
    """Check that no backup runs, where none may: one that had waited at the gate for too long was let past.

    Raises:
        OrderFailed: BackupRunning.
    """
    runs = runs_of(attempt) if attempt.state.must_be_idle else []
    if runs:
        raise OrderFailed("BackupRunning", f"a backup had waited at the gate for too long, and began: {runs[0]}")


def close_gate(attempt: Attempt) -> None:
    """Let no new run begin.

    Raises:
        OrderFailed: HostBusy, another process holds the gate.
    """
    package, installation = attempt.package, attempt.installation
    path = package.folder / "gate"
    some_take_flock = shim.any_takes_flock(installation.bin, package.name)
    try:
        closed = gate.close(path, seconds=GATE_SECONDS, some_take_flock=some_take_flock)
    except gate.NotInTime:
        holders = installation.lock_holders(path, package.folder)
        who = holders[0] if holders else "a process that cannot be seen from here"
        raise OrderFailed("HostBusy", f"the lock {path} is held by {who}; end it, and ask again") from None
    if closed.was_replaced:
        attempt.state.details["gate_replaced"] = f"another process kept a lock on {path}, and a new file took its place"
    attempt.keep_closed(closed)


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
        raise OrderFailed("BackupRunning", f"{STILL_RUNNING}; it runs inside the service")


def _see_service(attempt: Attempt, old: Optional[Manifest]) -> SeenService:
    """Look whether the service runs. Raises OrderFailed, HostBusy, if that cannot be found out."""
    at = time.monotonic()
    try:
        return SeenService(old is not None and attempt.service(old).was_serving(), at)
    except Unhealthy as problem:
        text = f"{attempt.from_version}: {problem.text}; nothing was touched"
        raise OrderFailed("HostBusy", text, problem.reason) from None


def _see_again(attempt: Attempt, old: Optional[Manifest], seen: SeenService) -> SeenService:
    """Look again after a wait, because the administrator may have stopped the service meanwhile."""
    return seen if time.monotonic() - seen.at <= FRESH_SECONDS else _see_service(attempt, old)
