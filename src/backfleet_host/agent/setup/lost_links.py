"""Has a link of the host program's package made again that was lost, while the agent still runs.

The watchdog's programs are found through such links, so it cannot do that for each of them.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from backfleet_host.layout import HOST_PACKAGE

LINKS = ("current", "verified")

log = logging.getLogger(__name__)


class LinkWatch:
    """Checks the links now and then."""

    def __init__(self, root: Path, interval: float) -> None:
        self._root, self._interval = root, interval

    def run(self, stopping: threading.Event) -> None:
        """Check them until told to stop."""
        while not stopping.is_set():
            self.run_once()
            stopping.wait(self._interval)

    def run_once(self) -> None:
        """Have a lost link made again. Where both are there, which is nearly always, this costs two calls."""
        package = self._root / HOST_PACKAGE
        if all((package / name).is_symlink() for name in LINKS) or not (package / "versions").is_dir():
            return
        from backfleet_host.agent.setup import own_package  # costs milliseconds and memory; agents do without

        try:
            mended = own_package.mend(self._root)
        except Exception as problem:  # noqa: BLE001 - an agent that cannot do this still carries orders out
            log.warning("a link of %s is lost, and cannot be made again: %s", package, problem)
        else:
            if mended:
                log.warning("%s", mended)
