"""What a power cut leaves of a small host, taken as an order passes it: one run of the order gives every cut point.

An order that is cut off by an exception has to be run again for each cut point, up to there. That was half of the crash
matrix. A moment is also nearer to a power cut: no `finally` has run since.
"""

import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host.upgrader.small_host import Process, SmallHost, Trouble, watching_calls, with_trouble, without_second_half

Picture = list[tuple[str, int, int, bytes | str | None]]
"""Everything below a folder: name, mode, time of the last change in ns, and content or target; None is a folder."""


@dataclass(frozen=True)
class CutPoint:
    """A point before, after or half-way through an effect; `half` is the number of its system calls that are done."""

    at: int
    when: str
    effect: str
    half: int = 0

    def trouble(self, error: OSError | None = None, *, lasts: bool = False) -> Trouble:
        return Trouble(self.at, self.when, error, lasts, half=self.half)

    def __str__(self) -> str:
        return f"{self.when} effect {self.at}, {self.effect}"


@dataclass(frozen=True)
class Moment:
    """A host at one time: its disk, and its processes with those that hold `running`."""

    picture: Picture
    processes: dict[int, tuple[str, bool]]
    service: int
    starts: list[str]
    host: SmallHost  # whose releases and troubles are the same all the time


def moment_of(host: SmallHost, torn: str = "") -> Moment:
    """Take the moment that is now.

    Args:
        torn: the file that has lost the second half of its last line; "" if none has.
    """
    picture = pictured(host.root)
    if torn:
        name = str(Path(torn).relative_to(host.root))
        (at,) = [number for number, entry in enumerate(picture) if entry[0] == name]
        content = picture[at][3]
        assert isinstance(content, bytes)
        picture[at] = (*picture[at][:3], without_second_half(content))
    processes = {number: (each.version, each.lock is not None) for number, each in host.processes.items()}
    return Moment(picture, processes, host.service, [*host.starts], host)


def host_at(moment: Moment) -> SmallHost:
    """Make a host, in the same folder as the other, that is as it was then. Its root is missing or not needed."""
    write_picture(moment.host.root, moment.picture)
    host = SmallHost(moment.host.root)
    host.releases = dict(moment.host.releases)
    host.fetch_fails, host.aged = moment.host.fetch_fails, moment.host.aged
    host.numbers = itertools.count(max([*moment.processes, *moment.host.processes, (1 << 30) - 1]) + 1)
    host.service, host.starts = moment.service, [*moment.starts]
    for number, (version, is_backup) in moment.processes.items():
        host.processes[number] = Process(version)
        if is_backup:
            host.take_running(number)
    return host


class Recorder(Trouble):
    """Makes no trouble: takes the moment at each of some cut points."""

    def __init__(self, host: SmallHost, among: Iterable[CutPoint]) -> None:
        super().__init__()
        self.moments: dict[CutPoint, Moment] = {}
        self._host = host
        self._wanted: defaultdict[int, list[CutPoint]] = defaultdict(list)
        for cut_point in among:
            self._wanted[cut_point.at].append(cut_point)

    def meet(self, number: int, when: str, effect: str, path: str) -> None:
        """Take the moments before and after an effect, and that of a torn line."""
        for cut_point in self._wanted.get(number, ()):
            if cut_point.when == when:
                self._take(cut_point)
            elif (cut_point.when, when) == ("half", "after") and effect in ("append", "write"):
                self._take(cut_point, path)

    def meet_half(self, number: int, calls: int, effect: str, path: str) -> None:
        """Take the moment half-way through an effect."""
        for cut_point in self._wanted.get(number, ()):
            if cut_point.when == "half" and calls == cut_point.half + 1 and effect not in ("append", "write"):
                self._take(cut_point)

    def _take(self, cut_point: CutPoint, torn: str = "") -> None:
        with watching_calls(None):
            self.moments[cut_point] = moment_of(self._host, torn)


def moments(
    host: SmallHost, act: Callable[[SmallHost], Any], among: Sequence[CutPoint]
) -> Iterator[tuple[CutPoint, Moment]]:
    """Act on a host; give the moments at these cut points, in this order. The host's folder is free then."""
    recorder = Recorder(host, among)
    with with_trouble(recorder):
        act(host)
    for cut_point in among:
        yield cut_point, recorder.moments[cut_point]


def pictured(root: Path) -> Picture:
    """Return a picture of a folder, folders before what is in them."""
    found: Picture = []
    open_folders = [str(root)]
    while open_folders:
        folder = open_folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                state = entry.stat(follow_symlinks=False)
                content: bytes | str | None = None
                if entry.is_symlink():
                    content = os.readlink(entry.path)
                elif entry.is_dir():
                    open_folders.append(entry.path)
                else:
                    content = Path(entry.path).read_bytes()
                name = entry.path[len(str(root)) + 1 :]
                found.append((name, state.st_mode & 0o7777, state.st_mtime_ns, content))
    return found


def write_picture(root: Path, picture: Picture) -> None:
    """Make a folder, and in it what was pictured."""
    os.mkdir(root)
    for name, mode, changed, content in picture:
        path = f"{root}/{name}"
        if content is None:
            os.mkdir(path)
        elif isinstance(content, str):
            os.symlink(content, path)
            continue
        else:
            with open(path, "wb", buffering=0) as file:
                file.write(content)
            os.utime(path, ns=(changed, changed))
        os.chmod(path, mode)
