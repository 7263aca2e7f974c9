"""The journal of an attempt: what was to be done, and what has been done. Each line is synced before the next effect.

A line that a power cut tore counts as missing: the effect after it was not begun.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Dict, List, Optional

from backfleet_host.contract import Malformed, Order
from backfleet_host.files import PARTIAL
from backfleet_host.upgrader import disk

SWITCHING, VERIFIED, ROLLING_BACK, REMOVING = "switching", "proven", "going back", "removing"
"""The lines after the first, as they are on the disks of hosts. They must not change."""

RESERVE = b"\0" * (64 << 10)
"""Disk space that is taken when an attempt begins and given back when it ends or rolls back: a full disk must not stop
a rollback."""

RESERVED_INODES = 8
"""Empty files that are made for the same reason, and removed with it. A rollback needs a link or a partial file at a
time, two outcomes, and a folder with two files of evidence."""


class UnreadableJournal(Exception):
    """An attempt is open, and its journal cannot be understood: a newer host program wrote it. The text says so."""


class AttemptJournal:
    """The journal of one package. The file exists exactly while an attempt is open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reserve = path.with_name(".room.partial")
        self._reserved_inodes = [path.with_name(f".reserve-{number}{PARTIAL}") for number in range(RESERVED_INODES)]

    def open(self, order: Order, from_version: str, previous: str, at: float) -> None:
        """Begin a new attempt.

        Args:
            from_version: the installed version; "" = none.
            previous: the version before that; "" = none.
            at: Unix time.
        """
        disk.remove_file(self._path)
        try:
            with disk.open_for_writing(self._reserve, "wb") as file:
                disk.write_all(file, RESERVE)
            disk.make_empty_files(self._reserved_inodes)
            self.write("order", order=order.to_json(), from_version=from_version, previous=previous, at=at)
        except OSError:
            self._abandon()
            raise
        disk.sync_folder(self._path.parent)

    def write(self, line: str, **fields: Any) -> None:
        """Append a line and sync it."""
        disk.append_line(self._path, json.dumps({"line": line, **fields}).encode() + b"\n")

    def release_reserve(self) -> None:
        """Give the reserved disk space and inodes back."""
        with contextlib.suppress(OSError):
            disk.remove_file(self._reserve)
        with contextlib.suppress(OSError):
            disk.remove_files(self._reserved_inodes)

    def close(self) -> None:
        """End the attempt."""
        self.release_reserve()
        disk.remove_file(self._path)
        disk.sync_folder(self._path.parent)

    def _abandon(self) -> None:
        """Take back the beginning of an attempt that the disk had no space for."""
        self.release_reserve()
        with contextlib.suppress(OSError):
            disk.remove_file(self._path)

    def read(self) -> Optional[OpenAttempt]:
        """Return the open attempt; None if there is none, or it was cut off in its first line.

        Raises:
            UnreadableJournal: an attempt is open, and this program does not understand its order.
        """
        lines = _lines(self._path)
        if not lines or lines[0].get("line") != "order":
            return None
        try:
            order = Order.from_json(lines[0]["order"])
        except (Malformed, KeyError, AttributeError):
            if len(lines) == 1:
                return None
            text = f"{self._path} was written by another version of backfleet-host"
            raise UnreadableJournal(f"{text}; run `backfleet-host recover` of that version") from None
        return OpenAttempt(order, str(lines[0].get("from_version", "")), str(lines[0].get("previous", "")), lines[1:])


class OpenAttempt:
    """An attempt that was cut off, as its journal describes it."""

    def __init__(self, order: Order, from_version: str, previous: str, lines: List[Dict[str, Any]]) -> None:
        self.order, self.from_version, self.previous = order, from_version, previous
        self._lines = lines

    def has(self, line: str) -> bool:
        """Return whether this line was written."""
        return any(found.get("line") == line for found in self._lines)

    def field(self, line: str, name: str, default: Any = "") -> Any:
        """Return a field of the last line of this kind."""
        for found in reversed(self._lines):
            if found.get("line") == line:
                return found.get(name, default)
        return default


def _lines(path: Path) -> List[Dict[str, Any]]:
    found = []
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as problem:
        text = f"{path}, the journal of an order that was cut off, cannot be read: {problem.strerror}"
        raise UnreadableJournal(f"{text}; make it readable, then ask again") from None
    for line in content.split(b"\n")[:-1]:  # a line without an end is torn, and the next write removes it
        try:
            raw = json.loads(line)
        except ValueError:
            break  # torn, and everything after it
        if isinstance(raw, dict):
            found.append(raw)
    return found
