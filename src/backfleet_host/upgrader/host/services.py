"""The service of a package: a systemd unit where there is systemd, else three commands, none of which we keep alive.

`start` and `stop` do what they say; `ready` ends with 0 exactly while the service runs and answers. `idle`, if there is
one, ends with 0 while no backup runs inside the service. Each has a time limit on all that it starts.

A unit that systemd calls active has been started, which says little: one without `ready` is watched for a while, and
one that systemd had to start again meanwhile did not stay up.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Optional, Tuple

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader.host.health import AGAIN_SECONDS, ending, waited
from backfleet_host.upgrader.host.subprocesses import Command, Runner
from backfleet_host.upgrader.refusal import Unwell

SYSTEMD = Path("/run/systemd/system")  # is there exactly where systemd is the first process: sd_booted(3)
ASK_SECONDS = 5.0  # for one question
WATCH_SECONDS = 1.0  # that a unit without `ready` must stay up before it is believed

_UP = ("active", "reloading")
_SETTLED = (*_UP, "inactive", "failed")


@dataclass(frozen=True)
class Started:
    """A service that was ready at this moment. `run` is systemd's name for this run of the unit, "" without one."""

    at: float  # monotonic seconds
    run: str = ""


class Service:
    """The service as one version describes it."""

    def __init__(self, manifest: Manifest, tree: Path, runner: Runner, systemd: Path = SYSTEMD) -> None:
        self._manifest, self._tree, self._runner = manifest, tree, runner
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
        """Whether it runs and answers now."""
        if self._manifest.service is None:
            return False
        if self._by_unit:
            return self._unit_state().get("ActiveState") in _UP
        return self._asked(self._manifest.service.ready)

    def was_serving(self) -> bool:
        """Whether it runs, asked before anything is done to it: what cannot be told is not taken for a no.

        Raises:
            Unwell: it cannot be told, or it is on its way from one to the other for longer than its seconds.
        """
        service = self._manifest.service
        if service is None:
            return False
        if not self._by_unit:
            return self._runner(Command(self._resolved(service.ready), service.seconds))[0] == 0
        settled, _ = waited(lambda: self._unit_state().get("ActiveState") in _SETTLED, service.seconds)
        if not settled:
            raise Unwell(f"whether {service.unit} runs could not be told within {service.seconds} s")
        return self.runs()

    def is_idle(self) -> bool:
        """Whether no backup runs inside it."""
        service = self._manifest.service
        return service is None or not service.idle or self._asked(service.idle)

    def stop(self) -> None:
        """Stop it and wait until it is down.

        Raises:
            Unwell: it would not, in its time.
        """
        service = self._manifest.service
        if service is not None:
            words = (_systemctl(), "stop", self._unit) if self._by_unit else service.stop
            self._do("stop", words, service.seconds, outlives=False)
            down, _ = waited(lambda: not self.runs(), service.seconds)
            if not down:
                raise Unwell(f"the service did not stop within {service.seconds} s")

    def start(self, *, is_down: bool = False) -> Started:
        """Start it, if it is not running, and wait until it is ready. Who has just stopped it knows that it `is_down`.

        Raises:
            Unwell: it would not, in its time.
        """
        service = self._manifest.service
        if service is not None and (is_down or not self.runs()):
            if self._by_unit:  # what failed too often before is not started again without
                self._runner(Command((_systemctl(), "reset-failed", self._unit), ASK_SECONDS))
            words = (_systemctl(), "start", self._unit) if self._by_unit else service.start
            self._do("start", words, service.seconds, outlives=True)
            ready, _ = waited(self._is_ready, service.seconds)
            if not ready:
                raise Unwell(f"the service was not ready within {service.seconds} s")
        return Started(time.monotonic(), self._unit_state().get("InvocationID", "") if self._by_unit else "")

    def check_stayed_up(self, started: Started) -> None:
        """That it has run since, and long enough to be believed.

        Raises:
            Unwell: it has not.
        """
        service = self._manifest.service
        if self._by_unit and service is not None and not service.ready:
            time.sleep(max(0.0, started.at + WATCH_SECONDS - time.monotonic()))
        if not self.runs() or (self._by_unit and self._unit_state().get("InvocationID", "") != started.run):
            raise Unwell("the service did not stay up")

    def _is_ready(self) -> bool:
        asked = self._manifest.service.ready if self._manifest.service else ()
        return self.runs() and (not self._by_unit or not asked or self._asked(asked))

    @property
    def _unit(self) -> str:
        return self._manifest.service.unit if self._manifest.service else ""

    def _unit_state(self) -> Dict[str, str]:
        words = (_systemctl(), "show", "--property=ActiveState,InvocationID", self._unit)
        try:
            lines = self._runner(Command(words, ASK_SECONDS))[1].splitlines()
        except Unwell:
            return {}
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def _do(self, what: str, words: Tuple[str, ...], seconds: int, *, outlives: bool) -> None:
        command = Command(self._resolved(words), seconds, outlives=outlives)
        code, output = self._runner(command)
        if code != 0:
            raise Unwell(f"the service's {what} ended with {ending(code)}", output)

    def _asked(self, words: Tuple[str, ...]) -> bool:
        try:
            return self._runner(Command(self._resolved(words), ASK_SECONDS))[0] == 0
        except Unwell:
            return False

    def _resolved(self, words: Tuple[str, ...]) -> Tuple[str, ...]:
        """The version's own programs by their path in its tree: it is then seen to be in use."""
        program = self._manifest.programs.get(words[0])
        return words if program is None else (str(self._tree / program), *words[1:])


def _systemctl() -> str:
    return shutil.which("systemctl") or "systemctl"


def wait_until_idle(service: Optional[Service], seconds: float, nap: Callable[[float], None] = time.sleep) -> bool:
    """Wait until no backup runs inside the service; False if one still does after `seconds`."""
    until = time.monotonic() + seconds
    while service is not None and not service.is_idle():
        if time.monotonic() >= until:
            return False
        nap(AGAIN_SECONDS)
    return True
