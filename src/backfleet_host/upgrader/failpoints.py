"""Every effect and every failpoint of a transaction, so that a test can end the process there, as a power cut would.

`BACKFLEET_HOST_DIE_AT=<failpoint>` in the environment names one; `<number> before` or `<number> after` is the effect
with that number. A test within the process sets a watcher instead. Unset, an effect costs two comparisons.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from typing import Callable, Iterator, Optional

Watcher = Callable[[str, str, str], None]
"""Called with "before" or "after", the kind of the effect, and its path. What it raises, the effect raises."""

VARIABLE = "BACKFLEET_HOST_DIE_AT"
_DIE_AT = os.environ.get(VARIABLE, "")
_numbers = itertools.count(1)
_watcher: Optional[Watcher] = None


def watch(watcher: Optional[Watcher]) -> None:
    """Call this watcher around every effect from now on; None stops that."""
    global _watcher  # noqa: PLW0603 - one per process, like the environment variable beside it
    _watcher = watcher


def failpoint(name: str) -> None:
    """Kill this process if a test asked for that at this failpoint."""
    if _DIE_AT and name == _DIE_AT:
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def effect(kind: str, path: object) -> Iterator[None]:
    """Mark one change to the disk. It is made completely, or not begun, or cut off in between."""
    number = next(_numbers) if _DIE_AT else 0
    _notify("before", kind, path, number)
    yield
    _notify("after", kind, path, number)


def _notify(when: str, kind: str, path: object, number: int) -> None:
    if number:
        failpoint(f"{number} {when}")
    if _watcher is not None:
        _watcher(when, kind, str(path))
