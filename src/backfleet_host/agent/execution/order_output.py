"""The output of the process that carries out an order: JSON lines of progress, then the line with the report."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Any, Dict

from backfleet_host.agent.execution.task_folder import TaskFolder
from backfleet_host.contract import Report
from backfleet_host.texts import printable

CUT_MESSAGE = 200  # characters that stay of the message of a report that does not fit


class OrderOutput:
    """Writes to standard output, which is the task's output file."""

    def __init__(self, folder: TaskFolder) -> None:
        self._folder = folder

    def write_progress(self, line: str) -> None:
        """Write a line of progress. A full disk costs the line and does not abort the order."""
        try:
            _write(line)
        except OSError as problem:
            print(printable(f"output: {problem}"), file=sys.stderr)

    def write_report(self, line: str) -> None:
        """Write the line with the report, into the disk space that was reserved for it."""
        self._folder.release_space()
        _write(line)
        os.fsync(1)  # before end.json says that the report is there


def _write(line: str) -> None:
    rest = line.encode("utf-8", "replace") + b"\n"
    while rest:
        rest = rest[os.write(1, rest) :]


def report_line(report: Report, most: int) -> str:
    """Return the report's line in at most `most` bytes, with less detail if need be.

    A line that is cut anywhere could not be read. Of a status that is too long, the order's own package stays if it
    fits, because it is what was asked for.
    """
    without_details = dataclasses.replace(report, details={"cut": True})
    candidates = [
        report,
        dataclasses.replace(report, details={**_own_package(report), "cut": True}),
        without_details,
        dataclasses.replace(without_details, message=report.message[:CUT_MESSAGE]),
    ]
    lines = [candidate.as_line() for candidate in candidates]
    return next((line for line in lines if len(line) <= most), lines[-1])


def _own_package(report: Report) -> Dict[str, Any]:
    packages = report.details.get("packages")
    own = [each for each in packages if each.get("package") == report.package] if isinstance(packages, list) else []
    return {"packages": own} if own else {}
