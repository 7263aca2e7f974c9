"""One attempt, line by line: what was to be done, and what has been done. Each line is on disk before the next deed.

A line that a power cut tore is as good as none: the deed after it was not begun.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Dict, List, Optional

from backfleet_host.contract import Malformed, Order
from backfleet_host.upgrader.host import disk

SWITCHING, PROVEN, BACK, REMOVING = "switching", "proven", "going back", "removing"
ROOM = b"\0" * (64 << 10)
"""Set aside when an attempt begins, given back when it ends or goes back: a full disk must not stop the way back."""


class Unreadable(Exception):
    """An attempt is open, and what it was cannot be told: a newer host program began it. The text says so."""


class Journal:
    """The journal of one package. It exists exactly while an attempt is open."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, order: Order, from_version: str, previous: str, at: float) -> None:
        """A new attempt."""
        disk.unlink(self._path)
        with disk.writing(self._room, "wb") as file:
            disk.write_all(file, ROOM)
        self.write("order", order=order.to_json(), from_version=from_version, previous=previous, at=at)
        disk.sync(self._path.parent)

    def write(self, line: str, **more: Any) -> None:
        """One more line, on disk when this returns."""
        disk.append(self._path, json.dumps({"line": line, **more}).encode() + b"\n")

    def make_room(self) -> None:
        """Give back what was set aside."""
        with contextlib.suppress(OSError):
            disk.unlink(self._room)

    def close(self) -> None:
        """The attempt is over."""
        self.make_room()
        disk.unlink(self._path)
        disk.sync(self._path.parent)

    @property
    def _room(self) -> Path:
        return self._path.with_name(".room.partial")

    def read(self) -> Optional[Attempted]:
        """What an open attempt has come to; None if there is none, or it had not begun.

        Raises:
            Unreadable: it had begun, and its order is none that this program knows.
        """
        lines = _lines(self._path)
        if not lines or lines[0].get("line") != "order":
            return None
        try:
            order = Order.from_json(lines[0]["order"])
        except (Malformed, KeyError, AttributeError):
            if len(lines) == 1:
                return None
            raise Unreadable(f"{self._path} is of another version of backfleet-host; let that one recover") from None
        return Attempted(order, str(lines[0].get("from_version", "")), str(lines[0].get("previous", "")), lines[1:])


class Attempted:
    """An attempt as its journal tells it."""

    def __init__(self, order: Order, from_version: str, previous: str, lines: List[Dict[str, Any]]) -> None:
        self.order, self.from_version, self.previous = order, from_version, previous
        self._lines = lines

    def has(self, line: str) -> bool:
        """Whether it came to that."""
        return any(found.get("line") == line for found in self._lines)

    def told(self, line: str, name: str, otherwise: Any = "") -> Any:
        """What the last such line told besides."""
        for found in reversed(self._lines):
            if found.get("line") == line:
                return found.get(name, otherwise)
        return otherwise


def _lines(path: Path) -> List[Dict[str, Any]]:
    found = []
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise Unreadable(f"{path} cannot be read: {problem.strerror}; nothing is done before it can") from None
    for line in content.split(b"\n")[:-1]:  # what has no end is torn: whoever appends takes it away
        try:
            said = json.loads(line)
        except ValueError:
            break  # torn, and with it everything after
        if isinstance(said, dict):
            found.append(said)
    return found
