"""The service of a package: a systemd unit where there is systemd, else three commands, none of which we keep alive.

`start` and `stop` do what they say; `ready` ends with 0 exactly while the service runs and answers. `idle`, if there is
one, ends with 0 while no backup runs inside the service. Each has a time limit on all that it starts.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Optional, Tuple

from backfleet_host.upgrader.health import AGAIN_SECONDS, ending, waited
from backfleet_host.upgrader.manifest import Manifest
from backfleet_host.upgrader.processes import Command, Runner
from backfleet_host.upgrader.refusal import Unwell

SYSTEMD = Path("/run/systemd/system")  # is there exactly where systemd is the first process: sd_booted(3)
ASK_SECONDS = 5.0  # for one question


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
        words = (_systemctl(), "is-active", "--quiet", self._unit) if self._by_unit else self._manifest.service.ready
        return self._asked(words)

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
            self._do("stop", (_systemctl(), "stop", self._unit) if self._by_unit else service.stop, service.seconds)
            down, _ = waited(lambda: not self.runs(), service.seconds)
            if not down:
                raise Unwell(f"the service did not stop within {service.seconds} s")

    def start(self) -> None:
        """Start it, if it is not running, and wait until it is ready.

        Raises:
            Unwell: it would not, in its time.
        """
        service = self._manifest.service
        if service is None or self.runs():
            return
        self._do("start", (_systemctl(), "start", self._unit) if self._by_unit else service.start, service.seconds)
        ready, _ = waited(self._is_ready, service.seconds)
        if not ready:
            raise Unwell(f"the service was not ready within {service.seconds} s")

    def _is_ready(self) -> bool:
        asked = self._manifest.service.ready if self._manifest.service else ()
        return self.runs() and (not self._by_unit or not asked or self._asked(asked))

    @property
    def _unit(self) -> str:
        return self._manifest.service.unit if self._manifest.service else ""

    def _do(self, what: str, words: Tuple[str, ...], seconds: int) -> None:
        command = Command(self._resolved(words), seconds, outlives=True)
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


def wait_until_idle(service: Optional[Service], seconds: float) -> bool:
    """Wait until no backup runs inside the service; False if one still does after `seconds`."""
    until = time.monotonic() + seconds
    while service is not None and not service.is_idle():
        if time.monotonic() >= until:
            return False
        time.sleep(AGAIN_SECONDS)
    return True
