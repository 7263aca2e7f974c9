"""The figures of several processes as those of one."""

import os
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from backfleet.figures import HALF, OwnFigures, show_all


class Process:
    """The figures of one process."""

    def __init__(self, file: int) -> None:
        registry = CollectorRegistry()
        self.calls = Counter("calls", "Calls.", ["code"], registry=registry)
        self.sockets = Gauge("sockets", "Sockets.", registry=registry)
        self.began = Gauge("process_start_time_seconds", "Begin.", registry=registry)
        self.seconds = Histogram("seconds", "Times.", buckets=(1.0,), registry=registry)
        Gauge("backfleet_processes", "Processes.", registry=registry)
        self.own = OwnFigures(file, registry)


@pytest.fixture
def files() -> Iterator[list[int]]:
    found = [os.memfd_create(str(number)) for number in range(2)]
    yield found
    for file in found:
        os.close(file)


def shown(asked: Process, files: list[int], *others: Process) -> dict[str, float]:
    """Return what the first process shows if the others answer it."""
    answers = {number: other.own.collect_bytes() for number, other in enumerate(others, 1)}
    text = show_all(asked.own, lambda: answers, dict(enumerate(files[1:], 1))).decode()
    families = text_string_to_metric_families(text)
    return {one.name + one.labels.get("code", ""): one.value for family in families for one in family.samples}


def test_counters_gauges_and_histograms_are_summed(files: list[int]) -> None:
    one, two = Process(files[0]), Process(files[1])
    for number, process in enumerate((one, two), 1):
        process.calls.labels("200").inc(number)
        process.sockets.set(10 * number)
        process.began.set(1000 * number)
        process.seconds.observe(number)
    two.calls.labels("500").inc()
    found = shown(one, files, two)
    assert (found["calls_total200"], found["calls_total500"], found["sockets"]) == (3, 1, 30)
    assert (found["seconds_count"], found["seconds_sum"]) == (2, 3)
    assert (found["process_start_time_seconds"], found["backfleet_processes"]) == (1000, 2)


def test_counters_never_go_back(files: list[int]) -> None:
    """A process that is killed is missed in gauges only, and the one that replaces it goes on."""
    one, two = Process(files[0]), Process(files[1])
    one.calls.labels("200").inc(5)
    two.calls.labels("200").inc(7)
    two.sockets.set(3)
    assert shown(one, files, two)["calls_total200"] == 12
    while_away = shown(one, files)
    assert (while_away["calls_total200"], while_away["sockets"], while_away["backfleet_processes"]) == (12, 0, 1)
    replaced = Process(files[1])
    assert shown(one, files, replaced)["calls_total200"] == 12
    replaced.calls.labels("200").inc()
    assert shown(one, files, replaced)["calls_total200"] == 13
    assert shown(one, files, Process(files[1]))["calls_total200"] == 13


def test_a_process_that_dies_while_it_writes_leaves_the_version_before(files: list[int]) -> None:
    process = Process(files[0])
    for _ in range(2):
        process.calls.labels("200").inc()
        process.own.collect()
    os.pwrite(files[0], b"torn", 30)  # in the place of the second
    assert os.fstat(files[0]).st_size > HALF
    assert shown(Process(files[0]), files)["calls_total200"] == 1
