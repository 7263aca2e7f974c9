"""One attempt: an order on one package. What is fixed for it, what changes while its steps run, and its time limits."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

from backfleet_host.contract import CRASHED, Order, Report, stage_line
from backfleet_host.manifest import BadManifest, Manifest, read_manifest
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.errors import DEFERRED, NotAnswering, OrderFailed, Reason, Unhealthy
from backfleet_host.upgrader.failpoints import failpoint
from backfleet_host.upgrader.gate import Gate
from backfleet_host.upgrader.host.installation import Installation, PackageFolder
from backfleet_host.upgrader.host.services import Service, Started
from backfleet_host.upgrader.host.state_process import PreservedState
from backfleet_host.upgrader.host.subprocesses import Runner, Subprocess
from backfleet_host.upgrader.release.relays import Relayed, named_by_policy
from backfleet_host.upgrader.release.source import ReleaseSource
from backfleet_host.upgrader.transaction.journal import AttemptJournal, OpenAttempt

RELAYS_PART = 0.5  # of an order's time that relays may take: the rest is for the server
CANCELLABLE_STEPS = ("check", "fetch", "stage", "drain", "switch")  # they begin only while the order may go on

Progress = Callable[[str], None]
"""Called with each line of progress, which the server shows to people."""

CancelCheck = Callable[[], bool]
"""Whether the order was cancelled. It counts up to the switch."""


def never_cancelled() -> bool:
    """Return False: for orders that nobody cancels."""
    return False


@dataclass
class State:
    """What changes while the steps run. It ends with the process: what must outlive it is in the journal."""

    stage: str = "admit"
    has_switched: bool = False  # the journal may say that the switch began
    trying: str = ""  # the version that is switched to and not verified yet
    started: Optional[Started] = None  # the service of that version
    gate: Optional[Gate] = None  # that this attempt closed
    preserved: Optional[PreservedState] = None  # once it was needed
    must_be_idle: bool = False  # no backup may run from here on
    verify_until: float = 0.0  # monotonic seconds; 0 = nothing was verified behind the gate yet
    verify_limit: int = 0  # seconds that this is after its beginning
    source: Optional[ReleaseSource] = None  # once it was needed
    details: Dict[str, Any] = field(default_factory=dict)  # of the report


@dataclass(frozen=True)
class Attempt:
    """One order on one package: what is fixed for it."""

    installation: Installation
    order: Order
    package: PackageFolder
    from_version: str  # the installed version; "" = none
    previous: str  # the version before that; "" = none
    journal: AttemptJournal
    runner: Runner  # runs commands in the name of this package
    progress: Progress
    is_cancelled: CancelCheck
    began: float  # monotonic seconds
    closed_gate: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)  # the locks that are held
    helpers: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)  # the processes that work for it
    state: State = field(default_factory=State)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Report that a step begins; check first that the order may go on, if it is one before the switch."""
        self.begin(name)
        if name in CANCELLABLE_STEPS:
            self.check_interrupted()
        yield
        failpoint(name)

    def begin(self, stage: str) -> None:
        """Report that a step begins."""
        self.state.stage = stage
        self.progress(stage_line(stage))

    def seconds_left(self) -> float:
        """Return what is left of the order's time."""
        return max(0.0, self.order.timeout_seconds - (time.monotonic() - self.began))

    def check_interrupted(
        self, code: str = "HostBusy", late: str = "it took too long; nothing was touched", reason: Reason = ""
    ) -> None:
        """Raise if the order was cancelled or is out of time. Only before the switch.

        Args:
            code: of the failure, if it is out of time.
            late: what took so long.
            reason: of the failure, for programs.

        Raises:
            OrderFailed: TaskCancelled, or `code`.
        """
        if self.is_cancelled():
            raise OrderFailed("TaskCancelled", "the order was cancelled before the switch; nothing was touched")
        if not self.seconds_left():
            raise OrderFailed(code, f"{late} (the order has {self.order.timeout_seconds} s)", reason)

    def check_cancelled(self) -> None:
        """Raise OrderFailed, TaskCancelled, if the order was cancelled. Only while no other version is current."""
        if self.is_cancelled():
            self.check_interrupted()

    def sleep(self, seconds: float) -> None:
        """Sleep for a moment. As `check_cancelled`."""
        time.sleep(seconds)
        self.check_cancelled()

    def trial_runner(self, limit: int) -> Runner:
        """Return a runner for verifying versions while the gate is closed; its commands pass the gate.

        Args:
            limit: seconds for all that this order verifies so, since runs wait meanwhile.
        """
        return _until(self._begin_to_verify(limit), limit, self.gate_runner())

    def trial_service(self, manifest: Manifest, limit: int) -> Service:
        """Return the service of a version that is verified while the gate is closed, in the time of `trial_runner`.

        What it starts stays, and so gets nothing with which it could pass the gate.
        """
        until = self._begin_to_verify(limit)
        runner, tree = _until(until, limit, self.runner), self.package.tree(manifest.version)
        return Service(manifest, tree, runner, self.installation.systemd, until=until)

    def _begin_to_verify(self, limit: int) -> float:
        """Return when the time for verifying is over, in monotonic seconds. It begins with the first call."""
        state = self.state
        if not state.verify_until:
            state.verify_until, state.verify_limit = time.monotonic() + limit, limit
        return state.verify_until

    def check_time_to_verify(self) -> None:
        """Check that what is verified while the gate is closed has time left. Raises Unhealthy."""
        if self.state.verify_until and time.monotonic() >= self.state.verify_until:
            raise Unhealthy(_late(self.state.verify_limit), passing=True, reason="TimedOut")

    def gate_runner(self) -> Runner:
        """Return a runner whose commands pass the closed gate, if they call the client by its shim."""
        marker = self.package.unverified
        return lambda command: self.runner(dataclasses.replace(command, marker=marker))

    @property
    def source(self) -> ReleaseSource:
        """Where releases come from: relays of the host policy, the mirror that the order came with, the server."""
        if self.state.source is None:
            self.state.source = self._with_relays(self.installation.source or _repository())
        return self.state.source

    def _with_relays(self, source: ReleaseSource) -> ReleaseSource:
        if self.order.downloads:
            return source
        relays = [named_by_policy(each) for each in self.installation.policy_or_default().relays]
        relays += [self.installation.mirror] if self.installation.mirror else []
        if not relays:
            return source
        return Relayed(source, relays, self.seconds_left() * RELAYS_PART, self._note_relay)

    def _note_relay(self, relay: str, problem: OrderFailed) -> None:
        failures = self.state.details.setdefault("relays_failed", {})
        failures[relay] = {"code": problem.code, "reason": problem.reason, "message": problem.text[:300]}

    @property
    def preserved(self) -> PreservedState:
        """What works on preserved state for this attempt."""
        if self.state.preserved is None:
            seconds = self.installation.policy_or_default().state_limit
            self.state.preserved = self.installation.preserved(str(self.package.folder), seconds)
            self.helpers.callback(self.state.preserved.close)
        return self.state.preserved

    def old_manifest(self) -> Optional[Manifest]:
        """Return the manifest of the installed version; None if nothing is installed, or it is lost."""
        return known_manifest(self.package, self.from_version)

    def service(self, manifest: Manifest) -> Service:
        """Return the service as this version describes it."""
        return Service(manifest, self.package.tree(manifest.version), self.runner, self.installation.systemd)

    def keep_closed(self, closed: Gate) -> None:
        """Keep this gate closed until `open_gate`, or until the attempt is over."""
        self.state.gate = closed
        self.closed_gate.callback(closed.open)

    def renew_gate(self) -> None:
        """Let those who wait at the gate wait on: it is closed on purpose."""
        if self.state.gate is not None:
            self.state.gate.renew()

    def open_gate(self) -> None:
        """Let backups run again."""
        with contextlib.suppress(OSError):  # shims then wait a while for the marker, and run all the same
            disk.remove_file(self.package.unverified)
        self.closed_gate.close()

    def note_reason(self, problem: Exception) -> None:
        """Note in the report's details which of the reasons that share a code it was."""
        self.state.details.update(reason_details(problem))

    def report(self, outcome: str, code: str = "", message: str = "") -> Report:
        """Return a report on this attempt. What runs now is read from the disk."""
        return Report(
            self.order.order_id,
            self.order.kind,
            self.order.package,
            outcome,
            code=code,
            message=message,
            stage=self.state.stage,
            from_version=self.from_version,
            to_version=self.order.version,
            current_version=self.package.version(),
            seconds=round(time.monotonic() - self.began, 3),
            details=self.state.details,
        )


def begin_attempt(
    installation: Installation, order: Order, progress: Progress, is_cancelled: CancelCheck = never_cancelled
) -> Attempt:
    """Return a new attempt of an order. Its time starts now."""
    package = installation.package(order.package)
    return _attempt(installation, order, (package.version(), package.version_before()), progress, is_cancelled)


def resume_attempt(installation: Installation, cut_off: OpenAttempt, progress: Progress, seconds: int) -> Attempt:
    """Return an attempt that a crash cut off, with a new time limit. Recovery cannot be cancelled."""
    order = dataclasses.replace(cut_off.order, timeout_seconds=seconds)
    return _attempt(installation, order, (cut_off.from_version, cut_off.previous), progress, never_cancelled)


def _attempt(
    installation: Installation,
    order: Order,
    versions: Tuple[str, str],
    progress: Progress,
    is_cancelled: CancelCheck,
) -> Attempt:
    package = installation.package(order.package)
    return Attempt(
        installation,
        order,
        package,
        versions[0],
        versions[1],
        AttemptJournal(package.journal),
        _owned(installation.runner, str(package.folder)),
        progress,
        is_cancelled,
        time.monotonic(),
        state=State(trying=order.version),
    )


def _owned(runner: Runner, owner: str) -> Runner:
    """Return a runner whose commands carry the name of the package that runs them."""
    return lambda command: runner(dataclasses.replace(command, owner=owner))


def _until(end: float, limit: int, runner: Runner) -> Runner:
    """Return a runner that runs commands until `end`. Running out of time is no fault of a version."""
    late = _late(limit)

    def run(command: Subprocess) -> Tuple[int, str]:
        left = end - time.monotonic()
        if left >= command.seconds:
            return runner(command)
        try:
            if left > 0:
                return runner(dataclasses.replace(command, seconds=left))
        except Unhealthy as problem:
            reason: Reason = problem.reason if problem.reason == "NotAnswering" else "TimedOut"
            raise Unhealthy(f"{late}: {problem.text}", problem.output, passing=True, reason=reason) from None
        raise Unhealthy(late, passing=True, reason="TimedOut")

    return run


def _late(limit: int) -> str:
    return f"verifying ran out of time: all of it may take {limit} s (`verify_limit` in host.toml)"


def reason_details(problem: Exception) -> Dict[str, Any]:
    """Return what the details of a report say about a failure, for programs.

    Its reason, and whether it only defers; or that the program did not foresee it. What the system refuses is foreseen.
    """
    if not isinstance(problem, (OrderFailed, Unhealthy, NotAnswering)):
        return {} if isinstance(problem, OSError) else {CRASHED: True}
    if not problem.reason:
        return {}
    details: Dict[str, Any] = {"reason": problem.reason}
    return {**details, "deferred": True} if problem.reason in DEFERRED else details


def known_manifest(package: PackageFolder, version: str) -> Optional[Manifest]:
    """Return the manifest of a version on this host; None if there is none, or it cannot be read."""
    if not version:
        return None
    try:
        return _manifest_in(package.facts(version).read_bytes())
    except (OSError, ValueError, BadManifest):
        return None


@functools.lru_cache(maxsize=2)  # an order asks for those of the old and the new version again and again
def _manifest_in(facts: bytes) -> Manifest:
    """Return the manifest in the content of a file of facts. Raises ValueError or BadManifest."""
    found = json.loads(facts)
    return read_manifest(found.get("manifest") if isinstance(found, dict) else None)


def known_files(package: PackageFolder, version: str) -> Dict[str, Any]:
    """Return what is known of a version's files since they were unpacked, by path in the tree; {} if that is lost."""
    files = (disk.read_json(package.facts(version)) or {}).get("files")
    return files if isinstance(files, dict) else {}


def _repository() -> ReleaseSource:
    from backfleet_host.upgrader.release import repository  # its imports take a while, and few orders need it

    return repository
