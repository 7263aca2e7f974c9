"""What a crash left of an attempt: finished, or undone. The journal's last line decides."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from backfleet_host.contract import Report
from backfleet_host.upgrader.host import gate, preserved_state
from backfleet_host.upgrader.host.installation import Package, Site
from backfleet_host.upgrader.refusal import Refusal, Unwell
from backfleet_host.upgrader.transaction.attempt import Attempt, Say, known_manifest
from backfleet_host.upgrader.transaction.checks import read_words
from backfleet_host.upgrader.transaction.engine import give_up, go_back
from backfleet_host.upgrader.transaction.journal import BACK, PROVEN, SWITCHING, Attempted
from backfleet_host.upgrader.transaction.outcome import finish, succeed
from backfleet_host.upgrader.transaction.steps import close_gate, prove_version, write_shims
from backfleet_host.upgrader.transaction.uninstall import go_on_uninstalling


def recover(site: Site, package: Package, attempted: Attempted, say: Say, patience: int) -> Report:
    """Finish or undo an attempt that a crash cut off, within so many seconds. The caller holds the package.

    Where it could do neither the journal is there afterwards, and the next start comes here again.

    | last line | what is done |
    | nothing, or before switching | what is half-made goes; the old version runs; the attempt may be made again |
    | switching, `current` not at the goal yet | go back: the service and all state too |
    | switching, `current` at the goal | prove now: well, it is kept; unwell, go back |
    | going back | go on going back |
    | proven | it is kept |
    """
    attempt = Attempt(site, replace(attempted.order, timeout_seconds=patience), say)
    site.end_orphans(str(package.folder))
    attempt.from_version, attempt.previous = attempted.from_version, attempted.previous
    with attempt.closed_gate:
        if attempted.order.kind == "uninstall":
            return go_on_uninstalling(attempt, attempted)
        if not attempted.has(SWITCHING):
            text = f"cut off before the switch; {attempted.from_version or 'nothing'} is installed as before; ask again"
            return finish(attempt, attempt.report("failed", "InternalError", text))
        return _recover_switched(attempt, attempted)


def _recover_switched(attempt: Attempt, attempted: Attempted) -> Report:
    attempt.serving = bool(attempted.told(SWITCHING, "serving", False))
    if attempted.has(PROVEN) and not attempted.has(BACK):
        _serve_again(attempt)
        return succeed(attempt, message="finished after a crash")
    attempt.has_switched = True
    attempt.failing_before = frozenset(attempted.told(SWITCHING, "failing", ()))
    attempt.unwell_before = attempted.told(SWITCHING, "unwell")
    attempt.trying = attempted.told(BACK, "trying") or attempt.order.version
    try:
        _hold_still(attempt)
    except Refusal as problem:
        return attempt.report("failed", problem.code, problem.text)
    if attempted.has(BACK):
        told = [attempted.told(BACK, name) for name in ("code", "reason", "is_its_fault")]
        return go_back(attempt, told[0], told[1], bool(told[2]))
    if attempt.package.version() == attempted.order.version != attempted.from_version:
        return _judge_after_crash(attempt)
    return go_back(attempt, "InternalError", "cut off in the middle of the switch; ask again", False)


def _serve_again(attempt: Attempt) -> None:
    """Start the service that ran before, should the machine have gone down since."""
    manifest = known_manifest(attempt.package, attempt.package.version())
    if manifest is not None and attempt.serving:
        with contextlib.suppress(Unwell):  # it was proven: what stops it now is another matter, and status tells it
            attempt.service(manifest).start()


def _hold_still(attempt: Attempt) -> None:
    """Close the gate; wait for what began since the crash, where only one may run at once, as long as there is time.

    That is where state is to be compared, and where a version says so.

    Raises:
        Refusal: BackupRunning, it ran for longer.
    """
    package = attempt.package
    gate.make_lock_files(package.folder)
    with contextlib.suppress(Refusal):
        close_gate(package, attempt.closed_gate)
    known = [known_manifest(package, version) for version in (package.version(), attempt.from_version)]
    if (package.kept / preserved_state.INDEX).exists() or any(
        found is not None and found.switch == "idle" for found in known
    ):
        try:
            attempt.closed_gate.enter_context(gate.held(package.folder / "running", seconds=attempt.seconds_left()))
        except gate.NotInTime:
            text = f"{package.version()} is not proven yet: a backup runs on it; ask again when it has ended"
            raise Refusal("BackupRunning", text) from None


def _judge_after_crash(attempt: Attempt) -> Report:
    """It was switched and not proven: what it is worth is found out now."""
    attempt.begin("prove")
    try:
        manifest = known_manifest(attempt.package, attempt.order.version)
        if manifest is None:
            raise Unwell("what it should be is not known")
        read_words(attempt)
        write_shims(attempt.site, attempt.package, manifest)
        if attempt.serving and manifest.service is not None:
            attempt.started = attempt.service(manifest).start()
        prove_version(attempt, manifest)
        attempt.journal.write(PROVEN)
    except Exception as problem:  # noqa: BLE001 - whatever it is, the host must not stay in between
        return give_up(attempt, problem)
    attempt.open_gate()
    return succeed(attempt, message="proven after a crash")
