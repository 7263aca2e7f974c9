"""The service of a package: a systemd unit where there is systemd, else three commands. We keep none of them alive.

`start` and `stop` are commands that start and stop it; `ready` exits with 0 exactly while the service runs and answers.
`idle`, if there is one, exits with 0 while no backup runs inside the service. Each has a time limit on its whole
process tree.

A unit that systemd calls active has been started, which proves little: one without `ready` is watched for a while, and
one that systemd had to start again meanwhile did not stay up.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Optional, Tuple

from backfleet_host.layout import SYSTEMD
from backfleet_host.manifest import Manifest
from backfleet_host.upgrader.errors import Unhealthy
from backfleet_host.upgrader.host.health import RETRY_SECONDS, describe_exit, wait_for
from backfleet_host.upgrader.host.subprocesses import Runner, Subprocess

QUERY_SECONDS = 5.0  # for one query of the service's state
WATCH_SECONDS = 1.0  # how long a unit without `ready` must stay up before it counts as healthy

_UP = ("active", "reloading")
_STABLE = (*_UP, "inactive", "failed")


@dataclass(frozen=True)
class Started:
    """A service that was ready at this moment."""

    at: float  # monotonic seconds
    run: str = ""  # systemd's name for this run of the unit; "" without systemd


class Service:
    """The service as one version describes it."""

    def __init__(
        self,
        manifest: Manifest,
        tree: Path,
        runner: Runner,
        systemd: Path = SYSTEMD,
        *,
        until: float = float("inf"),  # monotonic seconds, at which no start of it is waited for any longer
    ) -> None:
        self._manifest, self._tree, self._runner, self._until = manifest, tree, runner, until
        self._by_unit = bool(manifest.service and manifest.service.unit and systemd.is_dir())

    @property
    def exists(self) -> bool:
        """Whether this version has a service at all."""
        return self._manifest.service is not None

    @property
    def can_be_run_here(self) -> bool:
        """Whether this host has what runs it."""
        service = self._manifest.service
        return service is None or self._by_unit or bool(service.start and service.stop and service.ready)

    def runs(self) -> bool:
        """Return whether it runs and answers now. If that cannot be found out, it does not."""
        if self._manifest.service is None:
            return False
        if self._by_unit:
            return self._unit_state().get("ActiveState") in _UP
        return self._succeeds(self._manifest.service.ready)

    def was_serving(self) -> bool:
        """Return whether it runs, before anything is done to it. Not knowing is an error here, not a no.

        Raises:
            Unhealthy: it cannot be found out, or the service was starting or stopping for all of its seconds.
        """
        service = self._manifest.service
        if service is None:
            return False
        if not self._by_unit:
            return self._runner(Subprocess(self._resolved(service.ready), service.seconds))[0] == 0
        if not wait_for(lambda: self._unit_state().get("ActiveState") in _STABLE, service.seconds):
            raise Unhealthy(f"whether {service.unit} runs could not be found out within {service.seconds} s")
        return self.runs()

    def is_idle(self) -> bool:
        """Return whether no backup runs inside it."""
        service = self._manifest.service
        return service is None or not service.idle or self._succeeds(service.idle)

    def stop(self) -> None:
        """Stop it and wait until it is down.

        Raises:
            Unhealthy: it did not stop in its time.
        """
        service = self._manifest.service
        if service is not None:
            arguments = (_systemctl(), "stop", self._unit) if self._by_unit else service.stop
            self._run("stop", arguments, service.seconds, outlives=False)
            if not wait_for(lambda: not self.runs(), service.seconds):
                raise Unhealthy(f"the service did not stop within {service.seconds} s")

    def start(self, *, is_down: bool = False) -> Started:
        """Start it, if it is not running, and wait until it is ready.

        Args:
            is_down: the caller has just stopped it, so that it need not be asked.

        Raises:
            Unhealthy: it did not start in its time.
        """
        service = self._manifest.service
        if service is not None and (is_down or not self.runs()):
            if self._by_unit:  # systemd refuses to start a unit that failed too often, unless this is reset
                self._runner(Subprocess((_systemctl(), "reset-failed", self._unit), QUERY_SECONDS))
            arguments = (_systemctl(), "start", self._unit) if self._by_unit else service.start
            self._run("start", arguments, service.seconds, outlives=True)
            left = self._until - time.monotonic()
            if not wait_for(self._is_ready, max(0.0, min(service.seconds, left))):
                raise self._was_not_ready(service.seconds, is_out_of_time=left < service.seconds)
        return Started(time.monotonic(), self._unit_state().get("InvocationID", "") if self._by_unit else "")

    def _was_not_ready(self, seconds: int, *, is_out_of_time: bool) -> Unhealthy:
        if is_out_of_time:
            text = "the service was not ready when the time for verifying was over (`verify_limit` in host.toml)"
            return Unhealthy(text, passing=True, reason="TimedOut")
        return Unhealthy(f"the service was not ready within {seconds} s")

    def check_stayed_up(self, started: Started) -> None:
        """Check that it has run without a break since, and for long enough.

        Raises:
            Unhealthy: it has not.
        """
        service = self._manifest.service
        if self._by_unit and service is not None and not service.ready:
            time.sleep(max(0.0, started.at + WATCH_SECONDS - time.monotonic()))
        if not self.runs() or (self._by_unit and self._unit_state().get("InvocationID", "") != started.run):
            raise Unhealthy("the service did not stay up")

    def _is_ready(self) -> bool:
        ready = self._manifest.service.ready if self._manifest.service else ()
        return self.runs() and (not self._by_unit or not ready or self._succeeds(ready))

    @property
    def _unit(self) -> str:
        return self._manifest.service.unit if self._manifest.service else ""

    def _unit_state(self) -> Dict[str, str]:
        arguments = (_systemctl(), "show", "--property=ActiveState,InvocationID", self._unit)
        try:
            lines = self._runner(Subprocess(arguments, QUERY_SECONDS))[1].splitlines()
        except Unhealthy:
            return {}
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def _run(self, name: str, arguments: Tuple[str, ...], seconds: int, *, outlives: bool) -> None:
        code, output = self._runner(Subprocess(self._resolved(arguments), seconds, outlives=outlives))
        if code != 0:
            raise Unhealthy(f"the service's {name} ended with {describe_exit(code)}", output)

    def _succeeds(self, arguments: Tuple[str, ...]) -> bool:
        try:
            return self._runner(Subprocess(self._resolved(arguments), QUERY_SECONDS))[0] == 0
        except Unhealthy:
            return False

    def _resolved(self, arguments: Tuple[str, ...]) -> Tuple[str, ...]:
        """Replace a command of the version by its path in its tree, so that the tree is seen to be in use."""
        program = self._manifest.programs.get(arguments[0])
        return arguments if program is None else (str(self._tree / program), *arguments[1:])


def _systemctl() -> str:
    return shutil.which("systemctl") or "systemctl"


def wait_until_idle(service: Optional[Service], seconds: float, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Wait until no backup runs inside the service; return False if one still does after `seconds`."""
    until = time.monotonic() + seconds
    while service is not None and not service.is_idle():
        if time.monotonic() >= until:
            return False
        sleep(RETRY_SECONDS)
    return True
