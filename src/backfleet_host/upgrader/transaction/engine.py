"""The transaction: from the version a host has to the version an order names, or exactly as it was. Never between.

Forwards by the list in steps.py; from `switching` on the journal tells which way to go. What is here leads to an end:
well, or back. What a crash cut off is led to one by recovery.py.
"""

from __future__ import annotations

import contextlib

from backfleet_host.contract import Report
from backfleet_host.upgrader.failpoints import failpoint
from backfleet_host.upgrader.host import disk, preserved_state, shim
from backfleet_host.upgrader.host.health import prove as prove_well
from backfleet_host.upgrader.refusal import Unwell
from backfleet_host.upgrader.transaction.attempt import Attempt, known_manifest
from backfleet_host.upgrader.transaction.journal import BACK
from backfleet_host.upgrader.transaction.outcome import finish, meaning_of, succeed, with_patience
from backfleet_host.upgrader.transaction.steps import BEFORE_THE_SWITCH, STEPS, write_shims

# --- Forwards -------------------------------------------------------------------------------------------------------


def move(attempt: Attempt) -> Report:
    """Take the steps; whatever goes wrong, the host is as it was, or was taken back. The caller holds the package."""
    try:
        for name, step in STEPS:
            attempt.begin(name)
            if name in BEFORE_THE_SWITCH:
                attempt.go_on()
            step(attempt)
            failpoint(name)
    except Exception as problem:  # noqa: BLE001 - whatever it is, the host must not stay in between
        return give_up(attempt, problem)
    return succeed(attempt)


def give_up(attempt: Attempt, problem: Exception) -> Report:
    """Leave it as it was, if nothing has been switched; else go back."""
    code, text = meaning_of(problem)
    attempt.note_reason(problem)
    if not attempt.has_switched:
        return finish(attempt, attempt.report("failed", code, text))
    is_its_fault = isinstance(problem, Unwell) and not problem.passing
    if isinstance(problem, Unwell):
        code = "RolledBack"
    return go_back(attempt, code, text, is_its_fault, getattr(problem, "output", ""))


# --- Backwards ------------------------------------------------------------------------------------------------------


def go_back(attempt: Attempt, code: str, reason: str, is_its_fault: bool, output: str = "") -> Report:
    """Point to the old version again and let it show that it is well; keep the evidence, remember the failure."""
    old, new = attempt.from_version, attempt.trying
    attempt.begin("back")
    attempt.journal.make_room()
    with contextlib.suppress(OSError):  # what cannot be written must not stop the way back
        # Written before anything is undone: a crash below must not be taken for progress.
        attempt.journal.write(BACK, code=code, reason=reason, is_its_fault=is_its_fault, trying=new)
    failpoint("going back")
    try:
        with_patience(_undo, attempt)
    except Exception as problem:  # noqa: BLE001 - as above
        if is_its_fault:
            _remember_failure(attempt, reason, f"{output}\n{getattr(problem, 'output', '')}")
        text = f"{new} was unwell ({reason}), and going back to {old} failed: {meaning_of(problem)[1]}"
        report = attempt.report("failed", "RollbackFailed", text)
        # What the disk refused may be possible later: the journal stays, and the next start goes on going back.
        return report if isinstance(problem, OSError) else finish(attempt, report)
    attempt.open_gate()
    if is_its_fault:
        _remember_failure(attempt, reason, output)
    runs = f"{old} runs again" if old else "nothing is installed, as before"
    return finish(attempt, attempt.report("failed", code, f"{reason}; {runs}"))


def _undo(attempt: Attempt) -> None:
    package, old = attempt.package, attempt.old
    if attempt.serving:
        _stop_new_one(attempt)
    if not attempt.from_version:
        shim.write_shims(attempt.site.bin, package.folder, package.name, {})
    disk.point(package.current, attempt.from_version)
    failpoint("pointed back")
    disk.point(package.previous, attempt.previous)
    preserved_state.restore(package.kept, package.failed / attempt.trying / "left")
    if not attempt.from_version:
        return
    if old is None:
        raise Unwell("what it should be is not known")
    write_shims(attempt.site, package, old)
    if attempt.serving:
        attempt.service(old).start()
    if not attempt.unwell_before:
        prove_well(old, package.current, attempt.runner)


def _stop_new_one(attempt: Attempt) -> None:
    """Stop the service of the version that is taken back, ready or not, and end what will not stop: one may serve.

    A backup that runs from it is none of the service: whatever came through the shim holds the lock `running`.
    """
    package, now = attempt.package, attempt.package.version()
    manifest = known_manifest(package, now)
    if manifest is None or manifest.service is None or now == attempt.from_version:
        return
    with contextlib.suppress(Unwell):
        attempt.service(manifest).stop()
    left = set(attempt.site.running(package.tree(now))) - attempt.site.holders(package.folder / "running")
    for process in left:
        if attempt.site.is_program(process, package.tree(now)):
            attempt.site.end(process)


def _remember_failure(attempt: Attempt, reason: str, output: str) -> None:
    """Evidence for whoever looks into it; without room for it the host is as well as before."""
    folder = attempt.package.failed / attempt.trying
    with contextlib.suppress(OSError):
        disk.make_folder(folder)
        # Not for everybody: what a command says may be more than all may know.
        disk.write_whole(folder / "output", output.encode("utf-8", "replace"), 0o600)
        now = attempt.site.clock()
        until = now + attempt.host_words.held_back_hours * 3600
        disk.write_json(folder / "reason.json", {"reason": reason, "at": now, "until": until})
