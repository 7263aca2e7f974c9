"""Every effect and every named instant of a transaction, so that a test may end it there, as a power cut would.

`BACKFLEET_HOST_DIE_AT=<instant>` in the environment names one; `<number> before` or `<number> after` is the effect of
that number. A test within the process gives a watcher instead. Unset, an effect costs two comparisons.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from typing import Callable, Iterator, Optional

Watcher = Callable[[str, str, str], None]
"""Is told "before" or "after", the deed, and the path it is done to. What it raises is what the deed raises."""

_DIE_AT = os.environ.get("BACKFLEET_HOST_DIE_AT", "")
_numbers = itertools.count(1)
_watcher: Optional[Watcher] = None


def watch(watcher: Optional[Watcher]) -> None:
    """Tell every effect to this watcher from now on; None ends it."""
    global _watcher  # noqa: PLW0603 - one per process, like the environment it stands beside
    _watcher = watcher


def failpoint(instant: str) -> None:
    """Say that this instant has been reached; die here, unwarned, if a test asked for it."""
    if _DIE_AT and instant == _DIE_AT:
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def deed(name: str, path: object) -> Iterator[None]:
    """One effect: done whole, or not begun, or cut off in between."""
    number = next(_numbers) if _DIE_AT else 0
    _tell("before", name, path, number)
    yield
    _tell("after", name, path, number)


def _tell(when: str, name: str, path: object, number: int) -> None:
    if number:
        failpoint(f"{number} {when}")
    if _watcher is not None:
        _watcher(when, name, str(path))
