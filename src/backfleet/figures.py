"""The figures of a server of several processes as one: counters that never go back, though processes are replaced.

What is shown is what every process says now. Counters and histograms are sums, and so are gauges, except those that
say when something began, what is in force, or whether notifications leave. A process writes its counters into a file in
memory before it shows them; the process that replaces it goes on from there. Of one that does not answer these count.
"""

import json
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, Gauge, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

HEADER: Final = struct.Struct("<QLL")  # number of the version, checksum, length
HALF: Final = 8 << 20  # bytes: versions go to two places in turn, so that one is whole whenever the writer dies
ACCUMULATED: Final = frozenset({"counter", "histogram", "summary"})
LARGEST_COUNTS: Final = frozenset({"python_info", "process_max_fds", "backfleet_held"})
SMALLEST_COUNTS: Final = frozenset({"process_start_time_seconds", "backfleet_wakeups_connected"})

PROCESSES = Gauge("backfleet_processes", "Processes of this server that answered when these figures were collected.")
PROCESSES.set(1)

Key = tuple[str, tuple[tuple[str, str], ...]]  # of a sample: its name and labels
Family = tuple[str, str, dict[Key, float]]  # documentation, kind, samples
Figures = dict[str, Family]


def sum_up(every: Iterable[Figures]) -> Figures:
    """Return the figures of several processes as those of one. Pure."""
    found: Figures = {}
    for figures in every:
        for name, (documentation, kind, samples) in figures.items():
            into = found.setdefault(name, (documentation, kind, {}))[2]
            for key, value in samples.items():
                into[key] = _join(name, key[0], into[key], value) if key in into else value
    return found


def _join(family: str, sample: str, one: float, other: float) -> float:
    if sample.endswith("_created") or family in SMALLEST_COUNTS:
        return min(one, other)
    return max(one, other) if family in LARGEST_COUNTS else one + other


def accumulated(figures: Figures) -> Figures:
    """Return those that only grow. Pure."""
    return {name: family for name, family in figures.items() if family[1] in ACCUMULATED}


class OwnFigures:
    """Those of this process and of the ones that it replaces."""

    def __init__(self, file: int, registry: CollectorRegistry = REGISTRY) -> None:
        """Go on from what the file in memory holds."""
        self._file, self._registry, self._lock = file, registry, threading.Lock()
        self._version, self._before = _load(file)

    def collect(self) -> Figures:
        """Return them; they are in the file before."""
        with self._lock:
            found = sum_up([_collected(self._registry), self._before])
            self._version += 1
            _store(self._file, self._version, accumulated(found))
            return found

    def collect_bytes(self) -> bytes:
        """Return them as `show_all` of a sibling reads them."""
        return _to_bytes(self.collect())


def show_all(own: OwnFigures, ask: Callable[[], Mapping[int, bytes]], files: Mapping[int, int]) -> bytes:
    """Return the figures of all processes as text for Prometheus. Blocks.

    Args:
        own: This process'.
        ask: Asks the siblings; gives what came in time, by number.
        files: The siblings' files in memory, by number.
    """
    answers = ask()
    others = [_from_bytes(answers[number]) if number in answers else _load(files[number])[1] for number in files]
    found = sum_up([own.collect(), *others])
    found["backfleet_processes"][2][("backfleet_processes", ())] = 1.0 + len(answers)
    return generate_latest(_Found(found))


class _Found(CollectorRegistry):
    def __init__(self, figures: Figures) -> None:
        super().__init__()
        self.register(_Collector(figures))


class _Collector(Collector):
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        for name, (documentation, kind, samples) in self._figures.items():
            metric = Metric(name, documentation, kind)
            for (sample, labels), value in samples.items():
                metric.add_sample(sample, dict(labels), value)
            yield metric


def _collected(registry: CollectorRegistry) -> Figures:
    return {
        metric.name: (
            metric.documentation,
            metric.type,
            {(one.name, tuple(one.labels.items())): one.value for one in metric.samples},
        )
        for metric in registry.collect()
    }


def _to_bytes(figures: Figures) -> bytes:
    rows = [[name, *family[:2], list(family[2].items())] for name, family in figures.items()]
    return json.dumps(rows, separators=(",", ":")).encode()


def _from_bytes(content: bytes) -> Figures:
    rows: list[Any] = json.loads(content)
    return {
        name: (text, kind, {(key[0], tuple((one, two) for one, two in key[1])): value for key, value in samples})
        for name, text, kind, samples in rows
    }


def _store(file: int, version: int, figures: Figures) -> None:
    content = _to_bytes(figures)
    if len(content) + HEADER.size <= HALF:  # more is shown, and begins anew with the next process
        header = HEADER.pack(version, zlib.crc32(content), len(content))
        os.pwrite(file, header + content, version % 2 * HALF)


def _load(file: int) -> tuple[int, Figures]:
    """Return the newest whole version in the file, and its number; nothing and 0 if there is none."""
    best: tuple[int, bytes] = (0, b"[]")
    for start in (0, HALF):
        header = os.pread(file, HEADER.size, start)
        if len(header) == HEADER.size:
            version, checksum, length = HEADER.unpack(header)
            content = os.pread(file, length, start + HEADER.size)
            if version > best[0] and len(content) == length and zlib.crc32(content) == checksum:
                best = (version, content)
    return best[0], _from_bytes(best[1])
