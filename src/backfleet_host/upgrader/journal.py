"""One attempt, line by line: what was to be done, and what has been done. Each line is on disk before the next deed.

A line that a power cut tore is as good as none: the deed after it was not begun.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Optional

from backfleet_host.contract import Malformed, Order
from backfleet_host.upgrader.site import sync

SWITCHING, PROVEN, BACK = "switching", "proven", "going back"


class Journal:
    """The journal of one package. It exists exactly while an attempt is open."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, order: Order, from_version: str, at: float) -> None:
        """A new attempt."""
        self._path.unlink(missing_ok=True)
        self.write("order", order=asdict(order), from_version=from_version, at=at)
        sync(self._path.parent)

    def write(self, line: str, **more: Any) -> None:
        """One more line, on disk when this returns."""
        with open(self._path, "ab") as file:
            file.write(json.dumps({"line": line, **more}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """The attempt is over."""
        self._path.unlink(missing_ok=True)
        sync(self._path.parent)

    def read(self) -> Optional[Attempted]:
        """What an open attempt has come to; None if there is none, or it had not begun."""
        lines = _lines(self._path)
        if not lines or lines[0].get("line") != "order":
            return None
        try:
            order = Order(**lines[0]["order"])
        except (Malformed, TypeError, KeyError):
            return None
        return Attempted(order, str(lines[0].get("from_version", "")), float(lines[0].get("at", 0)), lines[1:])


class Attempted:
    """An attempt as its journal tells it."""

    def __init__(self, order: Order, from_version: str, at: float, lines: List[Dict[str, Any]]) -> None:
        self.order, self.from_version, self.at = order, from_version, at
        self._lines = lines

    def has(self, line: str) -> bool:
        """Whether it came to that."""
        return any(found.get("line") == line for found in self._lines)

    def told(self, line: str, name: str) -> str:
        """What a line told besides, "" if nothing."""
        for found in self._lines:
            if found.get("line") == line:
                return str(found.get(name, ""))
        return ""


def _lines(path: Path) -> List[Dict[str, Any]]:
    found = []
    try:
        content = path.read_bytes()
    except OSError:
        return []
    for line in content.split(b"\n"):
        try:
            said = json.loads(line)
        except ValueError:
            break  # torn, and with it everything after
        if isinstance(said, dict):
            found.append(said)
    return found
