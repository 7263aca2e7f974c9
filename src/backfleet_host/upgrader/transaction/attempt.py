"""One order on one package, what its steps have found out so far, and how long it may go on."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, List, Optional, Tuple

from backfleet_host.contract import Order, Report, stage_line
from backfleet_host.manifest import BadManifest, Manifest, read_manifest
from backfleet_host.upgrader.host import disk
from backfleet_host.upgrader.host.installation import Package, Site
from backfleet_host.upgrader.host.policy import HostWords, PackageWords
from backfleet_host.upgrader.host.services import Service, Started
from backfleet_host.upgrader.host.subprocesses import Command, Runner
from backfleet_host.upgrader.refusal import Refusal, Unwell
from backfleet_host.upgrader.release.source import Source, Target
from backfleet_host.upgrader.transaction.journal import Journal

LEAST_PROOF_SECONDS = 60.0  # that a version on trial has, however late it was switched to

Say = Callable[[str], None]
Stopping = Callable[[], bool]
"""Whether whoever gave the order wants it no more. It is heard up to the switch."""


def nobody_stops_it() -> bool:
    """For orders that only end by themselves."""
    return False


class Attempt:
    """What the steps share. Nothing in here outlives the process: what must is in the journal."""

    def __init__(self, site: Site, order: Order, say: Say, stopping: Stopping = nobody_stops_it) -> None:
        self.site, self.order, self._say, self._stopping = site, order, say, stopping
        self.package = site.package(order.package)
        self.runner = _owned(site.runner, str(self.package.folder))
        self.journal = Journal(self.package.journal)
        self.from_version, self.previous = self.package.version(), self.package.version_before()
        self.began = time.monotonic()
        self.stage = "admit"
        self.host_words, self.words = HostWords(), PackageWords()
        self.targets: List[Target] = []  # the way: stepping stones, and the order's own version last
        self.mending: Optional[Target] = None  # what is installed, where it is not whole and can be had again
        self.whole_at = float("-inf")  # when what is installed was last found whole, in monotonic seconds
        self.artifacts: Dict[str, Path] = {}
        self.failing_before: FrozenSet[str] = frozenset()  # probes that the old version fails too
        self.unwell_before = ""  # why the old version was not well before anything was done to it
        self.serving = False  # whether the service ran before
        self.seen_at = float("-inf")  # when that was seen, in monotonic seconds
        self.started: Optional[Started] = None  # the service of the version on trial
        self.trying = order.version  # the version that is on trial
        self.has_switched = False  # whether the journal says that the switch began
        self.closed_gate = contextlib.ExitStack()
        self.details: Dict[str, Any] = {}

    def begin(self, stage: str) -> None:
        """Say that a step begins: the server shows it to whoever waits."""
        self.stage = stage
        self._say(stage_line(stage))

    def seconds_left(self) -> float:
        """Of the order's patience."""
        return max(0.0, self.order.timeout_seconds - (time.monotonic() - self.began))

    def go_on(self, code: str = "HostBusy", late: str = "it took too long; nothing was touched") -> None:
        """That there is time for more, and that it is still wanted. Asked as long as nothing has been switched.

        Raises:
            Refusal: TaskCancelled, it was stopped; or `code`, its patience is over.
        """
        if self._stopping():
            raise Refusal("TaskCancelled", "it was stopped before the switch; nothing was touched")
        if not self.seconds_left():
            raise Refusal(code, f"{late} (its patience was {self.order.timeout_seconds} s)")

    def nap(self, seconds: float) -> None:
        """Wait a moment for something, unless nobody wants it any more. Raises Refusal, TaskCancelled."""
        time.sleep(seconds)
        if self._stopping():
            self.go_on()

    def runner_on_trial(self) -> Runner:
        """Runs commands as long as there is time to prove a version: what is left, or LEAST_PROOF_SECONDS."""
        return _until(time.monotonic() + max(self.seconds_left(), LEAST_PROOF_SECONDS), self.runner)

    @property
    def source(self) -> Source:
        """Where releases come from."""
        if self.site.source is not None:
            return self.site.source
        from backfleet_host.upgrader.release import repository  # not before it is needed: what it imports takes a while

        return repository

    @property
    def wanted(self) -> List[Target]:
        """All that must be whole before anything is switched, each version once."""
        mending = [] if self.mending is None or self.mending in self.targets else [self.mending]
        return [*mending, *self.targets]

    @property
    def goal(self) -> Manifest:
        """The order's own version."""
        return self.targets[-1].manifest

    @property
    def old(self) -> Optional[Manifest]:
        """What the host has, None if nothing or nothing that is known."""
        return known_manifest(self.package, self.from_version)

    def service(self, manifest: Manifest) -> Service:
        """The service as this version describes it."""
        return Service(manifest, self.package.tree(manifest.version), self.runner, self.site.systemd)

    def keeps(self) -> List[str]:
        """All state that must survive: what the host, the old and the new version name."""
        named = [*self.words.keeps, *(self.old.preserve if self.old else ())]
        for target in self.targets:
            named.extend(target.manifest.preserve)
        return list(dict.fromkeys(named))

    def open_gate(self) -> None:
        """Backups run again."""
        with contextlib.suppress(OSError):  # then they wait a while, and run all the same
            disk.unlink(self.package.unproven)
        self.closed_gate.close()

    def note_reason(self, problem: Exception) -> None:
        """For programs: which of the reasons that share a code it was."""
        if getattr(problem, "reason", ""):
            self.details["reason"] = problem.reason  # type: ignore[attr-defined]

    def report(self, outcome: str, code: str = "", message: str = "") -> Report:
        """How it ended. What runs now is read from the disk, not remembered."""
        return Report(
            self.order.order_id,
            self.order.kind,
            self.order.package,
            outcome,
            code=code,
            message=message,
            stage=self.stage,
            from_version=self.from_version,
            to_version=self.order.version,
            current_version=self.package.version(),
            seconds=round(time.monotonic() - self.began, 3),
            details=self.details,
        )


def _owned(runner: Runner, owner: str) -> Runner:
    """Runs commands under the name of whose upgrade it is."""
    return lambda command: runner(dataclasses.replace(command, owner=owner))


def _until(end: float, runner: Runner) -> Runner:
    """Runs commands until then. Running out of time says nothing about a version."""

    def run(command: Command) -> Tuple[int, str]:
        left = end - time.monotonic()
        if left >= command.seconds:
            return runner(command)
        try:
            if left > 0:
                return runner(dataclasses.replace(command, seconds=left))
        except Unwell as problem:
            raise Unwell(f"the order's time was over: {problem.text}", problem.output, passing=True) from None
        raise Unwell("the order's time was over before the proof was", passing=True)

    return run


def known_manifest(package: Package, version: str) -> Optional[Manifest]:
    """What was said of a version that is on this host; None if that is not known."""
    facts = disk.read_json(package.facts(version)) if version else None
    if facts is None:
        return None
    try:
        return read_manifest(facts.get("manifest"))
    except BadManifest:
        return None
