"""A folder whose writers are watched, so that a test can see what any power cut would have left of it.

A killed process loses nothing that the kernel has. A power cut loses what was not synced: content of files, and names
in folders. `watched` records which of it was synced when; `Cut.states` gives every tree that a cut may leave.
"""

import contextlib
import itertools
import os
import random
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

MOST_STATES = 64  # of one cut: beyond that, some are drawn
WATCHED = ("fsync", "replace", "rename", "link", "unlink", "mkdir")

Tree = Mapping[str, bytes | None]
"""Relative paths; None for folders."""


@dataclass(frozen=True)
class Snapshot:
    """Names by folder and content by file; folders and files are numbers, the watched folder is 0."""

    names: dict[int, dict[str, int]] = field(default_factory=dict)
    content: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Cut:
    """A moment at which the power may go."""

    before: str  # what would have come next
    passed: tuple[str, ...]  # what was noted until then
    synced: Snapshot
    current: Snapshot
    beside: Any = None  # a database in another place, which `watched` copies too

    def states(self) -> Iterator[Tree]:
        """Give every tree that may be found afterwards: of each name that was not synced the old or the new."""
        open_names = [
            (folder, name)
            for folder, names in self.current.names.items()
            for name in {*names, *self.synced.names.get(folder, {})}
            if names.get(name) != self.synced.names.get(folder, {}).get(name)
        ]
        choices = list(itertools.islice(itertools.product((False, True), repeat=len(open_names)), 4 * MOST_STATES))
        if len(choices) > MOST_STATES:
            choices = [choices[0], choices[-1], *random.Random(0).sample(choices[1:-1], MOST_STATES - 2)]
        for choice in choices:
            yield dict(self._tree(0, "", {name for name, is_kept in zip(open_names, choice, strict=True) if is_kept}))

    def _tree(self, folder: int, path: str, kept: set[tuple[int, str]]) -> Iterator[tuple[str, bytes | None]]:
        old, new = self.synced.names.get(folder, {}), self.current.names.get(folder, {})
        for name in sorted({*old, *new}):
            node = (new if (folder, name) in kept else old).get(name)
            if node is not None and (node in self.current.names or node in self.synced.names):
                yield f"{path}{name}", None
                yield from self._tree(node, f"{path}{name}/", kept)
            elif node is not None:
                yield f"{path}{name}", self.synced.content.get(node, b"")


class Watched:
    """What happens in one folder."""

    def __init__(self, root: Path, beside: Callable[[], Any]) -> None:
        self.cuts: list[Cut] = []
        self._root, self._beside = root, beside
        self._numbers: dict[tuple[int, int], int] = {}
        self._count = itertools.count()
        self._synced = Snapshot()
        self._notes: tuple[str, ...] = ()
        self._number(os.lstat(root))  # the first: 0
        self._sync_all(root)

    def note(self, what: str) -> None:
        """Note that this is promised from now on: a cut later must not take it back."""
        self._notes = (*self._notes, what)
        self.cut(what)

    def cut(self, before: str) -> None:
        """Let the power go here."""
        synced = Snapshot({k: dict(v) for k, v in self._synced.names.items()}, dict(self._synced.content))
        self.cuts.append(Cut(before, self._notes, synced, self._current(), self._beside()))

    def call(self, name: str, real: Any, *args: Any, **named: Any) -> Any:
        """Make a call of the system, and learn what is safe after it."""
        if not isinstance(args[0], int) and self._root not in (Path(args[0]), *Path(args[0]).parents):
            return real(*args, **named)
        self.cut(f"{name} {' '.join(map(str, args))}")
        if name in ("unlink", "replace", "rename"):
            self._forget(args[-1])
        done = real(*args, **named)
        if name == "fsync":
            self._sync(args[0])
        return done

    def _number(self, status: os.stat_result) -> int:
        key = (status.st_dev, status.st_ino)
        if key not in self._numbers:
            self._numbers[key] = next(self._count)
        return self._numbers[key]

    def _forget(self, path: Any) -> None:
        """A file that loses its last name: its number in the file system may be another's soon."""
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(path)
            if status.st_nlink == 1:
                self._numbers.pop((status.st_dev, status.st_ino), None)

    def _sync(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        number = self._number(status)
        if stat.S_ISDIR(status.st_mode):
            self._synced.names[number] = self._listing(Path(f"/proc/self/fd/{descriptor}"))
        else:
            self._synced.content[number] = Path(f"/proc/self/fd/{descriptor}").read_bytes()

    def _listing(self, folder: Path) -> dict[str, int]:
        return {name: self._number(os.lstat(folder / name)) for name in os.listdir(folder)}

    def _sync_all(self, root: Path) -> None:
        for folder, _, files in os.walk(root):
            self._synced.names[self._number(os.lstat(folder))] = self._listing(Path(folder))
            for name in files:
                path = Path(folder, name)
                self._synced.content[self._number(os.lstat(path))] = path.read_bytes()

    def _current(self) -> Snapshot:
        return Snapshot({self._number(os.lstat(f)): self._listing(Path(f)) for f, _, _ in os.walk(self._root)})


@contextlib.contextmanager
def watched(root: Path, beside: Callable[[], Any] = lambda: None) -> Iterator[Watched]:
    """Watch a folder, which is safe as it is, while the block runs. Only one at a time, and no threads.

    `beside` copies what else is safe at each moment.
    """
    seen = Watched(root, beside)

    def calling(name: str) -> Any:
        real = getattr(os, name)
        return lambda *args, **named: seen.call(name, real, *args, **named)

    with pytest.MonkeyPatch.context() as patch:
        for name in WATCHED:
            patch.setattr(os, name, calling(name))
        yield seen
        seen.cut("the end")


def put_back(tree: Tree, folder: Path) -> Path:
    """Make what a cut left, as the next start finds it."""
    folder.mkdir(mode=0o700)
    for path, content in tree.items():
        if content is None:
            (folder / path).mkdir(mode=0o700)
        else:
            (folder / path).write_bytes(content)
            (folder / path).chmod(0o600)
    return folder
