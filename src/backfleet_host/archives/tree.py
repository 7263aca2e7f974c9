"""Check that what an archive holds makes a tree that stays within itself and within the limits."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Collection, Dict, List, Set, Tuple

from backfleet_host.archives.model import LONGEST_PATH, BadArchive, Entry, Limits

LONGEST_NAME = 255  # bytes of one part of a path: what Linux takes
DEEPEST = 64  # folders within each other
MOST_FOLDERS = 100_000  # named or implied
_FORBIDDEN = re.compile("[\0-\x1f\x7f-\x9f\\\\\ud800-\udfff]")  # control characters, backslash, what is no UTF-8
_NOT_ALLOWED = "empty, too long, not UTF-8, or has control characters or backslashes"


class Tree:
    """The entries so far: no path comes twice, nothing lies under a file, and no limit is passed."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries = self._bytes = 0
        self._folders: Set[str] = set()
        self._files: Dict[str, Tuple[int, int]] = {}  # size and mode
        self._links: Set[str] = set()

    def completed(self, entry: Entry) -> Entry:
        """Return an entry with its size and mode: a hard link counts like the file that it links to."""
        if entry.copy_of is None:
            return entry
        if entry.copy_of not in self._files:
            raise BadArchive(f"the hard link {entry.path[:80]!r} leads to no file that comes before it")
        size, mode = self._files[entry.copy_of]
        return replace(entry, size=size, mode=mode)

    def take(self, entry: Entry) -> None:
        """Add an entry.

        Raises:
            BadArchive: its path is taken, or a limit is passed.
        """
        self._entries, self._bytes = self._entries + 1, self._bytes + entry.size
        if self._entries > self._limits.entries:
            raise self._limits.too_many_entries()
        if self._bytes > self._limits.unpacked_bytes:
            raise BadArchive(f"it unpacks to more than {self._limits.unpacked_bytes} bytes")
        self._take_folders(entry)
        if self._is_other(entry.path) or (entry.path in self._folders and not entry.is_folder):
            raise BadArchive(f"{entry.path[:80]!r} is there twice")
        if entry.is_folder:
            self._folders.add(entry.path)
        elif entry.link is not None:
            self._links.add(entry.path)
        else:
            self._files[entry.path] = entry.size, entry.mode

    def _is_other(self, path: str) -> bool:
        return path in self._files or path in self._links

    def _take_folders(self, entry: Entry) -> None:
        for folder in _folders_of(entry.path):
            if self._is_other(folder):
                raise BadArchive(f"{entry.path[:80]!r} lies under something that is not a folder")
            self._folders.add(folder)
        if len(self._folders) > MOST_FOLDERS:
            raise BadArchive(f"there are more than {MOST_FOLDERS} folders")


def check_entry(entry: Entry, set_uid: Collection[str]) -> None:
    """Raise BadArchive if an entry by itself must not be unpacked."""
    path, parts = entry.path, entry.path.split("/")
    shown = repr(path[:80])
    if not _is_allowed(path) or any(len(part.encode()) > LONGEST_NAME for part in parts):
        raise BadArchive(f"the path {shown} is {_NOT_ALLOWED}")
    if any(part in ("", ".", "..") for part in parts):
        raise BadArchive(f"the path {shown} would leave the tree, or is not written in the shortest way")
    if len(parts) > DEEPEST:
        raise BadArchive(f"the path {shown} is more than {DEEPEST} folders deep")
    if entry.mode & ~(0o6777 if path in set_uid else 0o777):
        raise BadArchive(f"{shown} has set-uid, set-gid or sticky bits that its release does not name")
    if entry.size < 0:
        raise BadArchive(f"{shown} has a size of {entry.size} bytes")
    if entry.link is not None:
        _check_link(path, entry.link)


def _check_link(path: str, target: str) -> None:
    """Allow targets that go up first and then down only: a `..` after a name could start where another link leads."""
    if not _is_allowed(target):
        raise BadArchive(f"the link {path[:80]!r} has a target that is {_NOT_ALLOWED}")
    parts = [part for part in target.split("/") if part not in ("", ".")]
    down = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    if target.startswith("/") or down > path.count("/") or ".." in parts[down:]:
        raise BadArchive(f"the link {path[:80]!r} points out of the tree, or could")


def _is_allowed(text: str) -> bool:
    return bool(text) and not _FORBIDDEN.search(text) and len(text.encode()) <= LONGEST_PATH


def _folders_of(path: str) -> List[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
