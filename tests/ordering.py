"""The order in which workers get the files of tests: those that take longest first.

A journey of a minute that begins last runs alone, while the other workers have ended. `seconds.json` has what the long
files took; `tools/keep_seconds.py` writes it anew from the last run that was made here.
"""

import contextlib
import gc
import json
import os
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

KEPT = Path(__file__).parent / "seconds.json"
MEASURED = Path(".cache") / "test_seconds.json"  # below the project
SHOWN = 40
SECONDS_OF_A_TEST, SECONDS_OF_A_FILE = 0.05, 1.0  # of files that nobody has measured

# A run loads half a million objects before its first test, and keeps them all: there is no garbage among them to find.
gc.disable()

_took: defaultdict[str, float] = defaultdict(float)
_computed: defaultdict[str, float] = defaultdict(float)  # processor time, of what _took is partly waiting


def longest_first(files: Iterable[str], seconds: Mapping[str, float]) -> list[str]:
    """Return the files that begin first before the others. Each is given once for each of its tests."""
    tests = Counter(files)

    def weight(file: str) -> float:
        return seconds.get(file, SECONDS_OF_A_FILE + SECONDS_OF_A_TEST * tests[file])

    return sorted(tests, key=lambda file: (-weight(file), file))


def known_seconds(file: Path = KEPT) -> dict[str, float]:
    """Return the seconds that files took when they were measured; empty if there is no table."""
    with contextlib.suppress(FileNotFoundError):
        found: dict[str, float] = json.loads(file.read_text())
        return found
    return {}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort what a worker has collected, as every other worker does: xdist hands files out in this order."""
    if hasattr(config, "workerinput"):
        order = {file: at for at, file in enumerate(longest_first(map(_file_of, items), known_seconds()))}
        items.sort(key=lambda item: order[_file_of(item)])


def _file_of(item: pytest.Item | pytest.TestReport) -> str:
    return item.nodeid.partition("::")[0]


def pytest_collection_finish() -> None:
    """Look for garbage from now on, but not among what every test needs."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note in each report, which goes to the process that prints, the processor time since the one before."""
    global _computed_until
    report = yield
    before, _computed_until = _computed_until, _processor_seconds()
    vars(report)["computed"] = _computed_until - before  # what is added to a report goes with it
    return report


def _processor_seconds() -> float:
    """Return what this process has computed, and those of its children that have ended and were waited for."""
    return sum(os.times()[:4])


_computed_until = _processor_seconds()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up what each file takes."""
    _took[_file_of(report)] += report.duration
    _computed[_file_of(report)] += getattr(report, "computed", 0.0)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the slowest files of a run on several workers, and keep what all of them took."""
    if not config.getoption("numprocesses", None):
        return
    slowest = sorted(_took.items(), key=lambda entry: -entry[1])
    computed = sum(_computed.values())
    terminalreporter.section(f"slowest files of {sum(_took.values()):.0f} s of work, {computed:.0f} s of them computed")
    for file, seconds in slowest[:SHOWN]:
        terminalreporter.write_line(f"{seconds:7.1f} s, {_computed[file]:7.1f} computed: {file}")
    path = config.rootpath / MEASURED
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({file: round(seconds, 1) for file, seconds in slowest}, indent=1))
