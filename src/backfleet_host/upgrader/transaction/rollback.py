"""The way back: the host has the version before again, exactly as it was, and remembers why."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace

from backfleet_host.contract import Report
from backfleet_host.files import is_locked
from backfleet_host.layout import HOST_PACKAGE, Places
from backfleet_host.manifest import Manifest
from backfleet_host.texts import first_and_last
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.errors import OrderFailed, Unhealthy
from backfleet_host.upgrader.failpoints import failpoint
from backfleet_host.upgrader.host import health, shim
from backfleet_host.upgrader.host.policy import HostPolicy
from backfleet_host.upgrader.host.preserved_state import INDEX
from backfleet_host.upgrader.transaction.attempt import Attempt, known_manifest
from backfleet_host.upgrader.transaction.draining import wait_for_runs
from backfleet_host.upgrader.transaction.journal import ROLLING_BACK
from backfleet_host.upgrader.transaction.outcome import finish, meaning_of, retry_on_disk_errors
from backfleet_host.upgrader.transaction.plan import Baseline
from backfleet_host.upgrader.transaction.switching import write_shims

MOST_EVIDENCE = 3000  # characters of an output that a report has, and twice as many bytes in its JSON
AGENT_SECONDS = 120.0  # for an agent of the old host program to run again; no backup waits for it


@dataclass(frozen=True)
class Cause:
    """Why a version is rolled back."""

    code: str  # of the report
    text: str
    is_its_fault: bool  # of the version: it is quarantined
    output: str = ""  # of the command that failed
    is_private: bool = False  # the output may hold secrets of this host


def roll_back(attempt: Attempt, policy: HostPolicy, baseline: Baseline, cause: Cause) -> Report:
    """Point to the old version again and verify it; keep the evidence, and quarantine the version if it is at fault."""
    old, new = attempt.from_version, attempt.state.trying
    attempt.begin("back")
    attempt.journal.release_reserve()
    with contextlib.suppress(OSError):  # what cannot be written must not stop the rollback
        # Written before anything is undone: otherwise a crash below would be taken for a successful switch.
        fields = {"code": cause.code, "reason": cause.text, "is_its_fault": cause.is_its_fault, "trying": new}
        attempt.journal.write(ROLLING_BACK, **fields)
    failpoint("going back")
    if cause.output.strip() and (policy.sends_output or not cause.is_private):
        attempt.state.details["evidence"] = {"version": new, "output": evidence_of(cause.output)}
    try:
        retry_on_disk_errors(lambda: _undo(attempt, policy, baseline))
    except Exception as problem:  # noqa: BLE001 - whatever it is, the server must hear of it
        if cause.is_its_fault:
            _quarantine(attempt, policy, cause.text, f"{cause.output}\n{getattr(problem, 'output', '')}")
        text = f"{new} failed ({cause.text}), and the rollback to {old or 'nothing'} failed: {meaning_of(problem)[1]}"
        report = attempt.report("failed", "RollbackFailed", text)
        if attempt.package.version() == old:
            attempt.open_gate()  # backups need not wait for the rest
        # What cannot be done now may be possible later: the journal stays open, and the next start tries again.
        return report if _may_pass(problem) else finish(attempt, report)
    attempt.open_gate()
    if cause.is_its_fault:
        _quarantine(attempt, policy, cause.text, cause.output)
    runs = f"{old} runs again" if old else "nothing is installed, as before"
    return finish(attempt, attempt.report("failed", cause.code, f"{cause.text}; {runs}"))


def evidence_of(output: str) -> str:
    """Return the first and last lines of an output, few enough for a report."""
    most = MOST_EVIDENCE
    while len(json.dumps(first_and_last(output, most))) > 2 * MOST_EVIDENCE:
        most //= 2
    return first_and_last(output, most)


def _may_pass(problem: Exception) -> bool:
    """Return whether the next start may be able to do what this rollback could not."""
    return isinstance(problem, OSError) or (isinstance(problem, OrderFailed) and problem.code == "BackupRunning")


def _undo(attempt: Attempt, policy: HostPolicy, baseline: Baseline) -> None:
    package, old = attempt.package, attempt.old_manifest()
    if baseline.serving:
        _stop_new_service(attempt)
    if not attempt.from_version:
        shim.write_shims(attempt.installation.bin, package.folder, package.name, {})
    disk.point_link(package.current, attempt.from_version)
    failpoint("pointed back")
    disk.point_link(package.previous, attempt.previous)
    if (package.snapshot / INDEX).exists():
        late = "a backup that had waited at the gate for too long still runs, and the state is not what it was yet"
        wait_for_runs(attempt, late, seconds=policy.drain_limit)
        attempt.preserved.restore(package.snapshot, package.evidence(attempt.state.trying) / "left")
    if not attempt.from_version:
        return
    if old is None:
        raise Unhealthy(f"the description of {attempt.from_version} is missing or unreadable")
    write_shims(attempt.installation, package, old)
    if baseline.serving:
        attempt.service(old).start()
    if package.name == HOST_PACKAGE:
        _check_old_program(attempt, old, baseline)
    elif not baseline.unhealthy:
        health.verify(old, package.current, attempt.gate_runner())


def _check_old_program(attempt: Attempt, old: Manifest, baseline: Baseline) -> None:
    """Check without the network that the old host program starts, and that an agent runs, if one ran by its unit.

    Its health command also asks whether the server can be reached, which may be why the host goes back.

    Raises:
        Unhealthy: it does not start, or no agent runs and stays up within AGENT_SECONDS.
    """
    health.verify(replace(old, health=None), attempt.package.current, attempt.gate_runner())
    if not baseline.serving:
        return
    lock = Places(attempt.installation.root).lock
    if not health.wait_for(lambda: is_locked(lock), AGENT_SECONDS):
        raise Unhealthy(f"no agent of this host ran within {AGENT_SECONDS:.0f} s")
    service = attempt.service(old)
    service.check_stayed_up(service.start())


def _stop_new_service(attempt: Attempt) -> None:
    """Stop the service of the version that is rolled back, and kill what does not stop: only one may serve.

    A backup that runs from it is not part of the service: what came through the shim holds the lock `running`.
    """
    package, installation, now = attempt.package, attempt.installation, attempt.package.version()
    manifest = known_manifest(package, now) or attempt.old_manifest()  # a description that is lost keeps no service up
    if manifest is None or manifest.service is None or now == attempt.from_version:
        return
    with contextlib.suppress(Unhealthy):
        attempt.service(manifest).stop()
    tree = package.tree(now)
    for process in set(installation.running(tree)) - installation.holders(package.folder / "running"):
        if installation.is_program(process, tree):
            installation.end(process)


def _quarantine(attempt: Attempt, policy: HostPolicy, reason: str, output: str) -> None:
    """Keep the evidence, and for how long the version is quarantined. Best effort: the host is healthy without it."""
    folder = attempt.package.evidence(attempt.state.trying)
    with contextlib.suppress(OSError):
        disk.make_folder(folder)
        # Readable by its owner only: the output of a command may hold secrets.
        disk.write_file(folder / "output", output.encode("utf-8", "replace"), 0o600)
        now = attempt.installation.clock()
        until = now + policy.held_back_hours * 3600
        disk.write_json(folder / "reason.json", {"reason": reason, "at": now, "until": until})
