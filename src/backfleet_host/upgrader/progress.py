"""How far the work on other users' files is: for whoever waits for it, and gives up if nothing moves."""

from __future__ import annotations

from typing import Callable, Optional

Observer = Callable[[str], None]
"""Called with the path that is reached next, or "" if the work on the same one goes on."""

_observer: Optional[Observer] = None


def observe(observer: Optional[Observer]) -> None:
    """Call this observer from now on; None stops that."""
    global _observer  # noqa: PLW0603 - one per process: it does one work at a time
    _observer = observer


def reached(path: str = "") -> None:
    """Note that this path is reached next, which may block; "" if the work on the last one goes on."""
    if _observer is not None:
        _observer(path)
