"""The result of one check."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Final, TypeVar

from backfleet.values import value_object

MOST_NAMED: Final = 20  # things that one finding names; of the others it says how many there are

Result = TypeVar("Result")


class Severity(StrEnum):
    """How bad it is, the best first."""

    OK = "Ok"
    NOTE = "Note"  # worth knowing, and no fault
    WARNING = "Warning"  # it works today
    ERROR = "Error"  # something does not work


@value_object
class Finding:
    """What one check found. A healthy one has no advice."""

    code: str  # the name of the check: the same whatever it finds
    severity: Severity
    found: str
    advice: str = ""
    subjects: Sequence[str] = field(default=())  # the hosts, clients or files that it is about, at most MOST_NAMED

    @classmethod
    def ok(cls, code: str, found: str) -> "Finding":
        """Return that all is well."""
        return cls(code, Severity.OK, found)

    @property
    def is_healthy(self) -> bool:
        """Whether nothing has to be done."""
        return self.severity in (Severity.OK, Severity.NOTE)


def worst(findings: Iterable[Finding]) -> Severity:
    """Return the worst severity among findings; OK if there are none."""
    return max((each.severity for each in findings), key=list(Severity).index, default=Severity.OK)


def named_some(names: Sequence[str], most: int = 3) -> str:
    """Return the first names as text, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def in_time(ask: Callable[[], Result], seconds: float) -> Result:
    """Return what `ask` returns. It goes on in a thread of its own if it takes longer, and is then ignored.

    Raises:
        TimeoutError: it took longer than `seconds`.
        Exception: what `ask` raises.
    """
    results: list[Result] = []
    problems: list[Exception] = []

    def run() -> None:
        try:
            results.append(ask())
        except Exception as problem:  # noqa: BLE001 - it is raised again where somebody waits for it
            problems.append(problem)

    thread = threading.Thread(target=run, daemon=True, name="check")
    thread.start()
    thread.join(seconds)
    if problems:
        raise problems[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:g} seconds")
    return results[0]
