"""Reading the tables of a policy's file: each value with its limits, each fault noted, nothing raised on the way."""

import difflib
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from backfleet.rollouts.policy.amounts import Amount
from backfleet.rollouts.policy.faults import Fault, with_parents

LONGEST_TEXT: Final = 200  # characters
MOST_IN_LIST: Final = 1000
_PERCENTAGE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?) ?%")
_SHOWN: Final = 60  # characters of a value in a message

Choice = TypeVar("Choice", bound=StrEnum)


class Section:
    """One table of a policy. What it is asked for is known; `finish` reports every other key."""

    def __init__(self, table: Mapping[str, Any], path: str, lines: Mapping[str, int], faults: list[Fault]) -> None:
        self._table, self._path, self._lines, self._faults = table, path, lines, faults
        self._known: set[str] = set()

    def has(self, key: str) -> bool:
        """Return whether the key is there."""
        self._known.add(key)
        return key in self._table

    def fault(self, key: str, wanted: str, found: Any = None) -> None:
        """Note that the value of a key will not do."""
        path = self._name(key)
        value = self._table.get(key) if found is None else found
        shown = "nothing" if value is None else repr(value)[:_SHOWN]
        line = next((self._lines[name] for name in with_parents(path) if name in self._lines), 0)
        self._faults.append(Fault(line, path, shown, wanted))

    def text(self, key: str, default: str | None = None, *, most: int = LONGEST_TEXT) -> str:
        """Return a text; without a default it must be there."""
        value = self._get(key, default, f"give a text of 1 to {most} characters")
        if isinstance(value, str) and (value or default == "") and len(value) <= most and value.isprintable():
            return value
        if value is not None:
            self.fault(key, f"give a text of 1 to {most} characters, without line ends and control characters")
        return default or ""

    def number(self, key: str, default: float | None, least: float, most: float, *, whole: bool = False) -> float:
        """Return a number within its limits."""
        kind = "a whole number" if whole else "a number"
        wanted = f"give {kind} from {_plain(least)} to {_plain(most)}"
        value = self._get(key, default, wanted)
        if isinstance(value, int | float) and _is_number(value, whole=whole) and least <= value <= most:
            return float(value)
        if value is not None:
            self.fault(key, wanted)
        return default or 0.0

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self._get(key, default, "")
        if not isinstance(value, bool):
            self.fault(key, "give true or false")
            return default
        return value

    def choice(self, key: str, kind: type[Choice], default: Choice) -> Choice:
        """Return one of the values of an enumeration."""
        value = self._get(key, default.value, "")
        try:
            return kind(value)
        except ValueError:
            self.fault(key, f"give one of {', '.join(kind)}")
            return default

    def texts(self, key: str, *, most: int = MOST_IN_LIST) -> tuple[str, ...]:
        """Return a list of texts, each once; one text alone counts as a list."""
        value = self._get(key, [], "")
        found = [value] if isinstance(value, str) else value
        if isinstance(found, list) and len(found) <= most and all(isinstance(each, str) and each for each in found):
            return tuple(dict.fromkeys(found))
        self.fault(key, f"give a list of at most {most} texts")
        return ()

    def amount(self, key: str, default: Amount | None) -> Amount | None:
        """Return a number of members, or a percentage such as "5%"."""
        if not self.has(key):
            return default
        value = self._table[key]
        if isinstance(value, int) and _is_number(value, whole=True) and 0 <= value <= 1_000_000:
            return Amount(number=value)
        percent = percentage(value)
        if percent is None:
            self.fault(key, 'give a whole number, or a percentage from "0%" to "100%"')
            return default
        return Amount(percent=percent)

    def moment(self, key: str, default: datetime | None = None) -> datetime | None:
        """Return a time with its zone."""
        wanted = 'give a time with its zone, such as "2026-12-20T06:00:00Z"'
        value = self._get(key, default, wanted)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                value = value[:_SHOWN]
        if isinstance(value, datetime) and value.tzinfo is not None:
            try:
                return value.astimezone(UTC)
            except OverflowError:  # the zone takes a moment of the first or the last year out of the calendar
                pass
        if value is not None:
            self.fault(key, wanted)
        return default

    def table(self, key: str) -> "Section":
        """Return a table in this one; an empty one if it is missing."""
        value = self._get(key, {}, "")
        if not isinstance(value, Mapping):
            self.fault(key, f"give a table: [{self._name(key)}]")
            value = {}
        return Section(value, self._name(key), self._lines, self._faults)

    def tables(self, key: str, *, most: int) -> list["Section"]:
        """Return a list of tables."""
        value = self._get(key, [], "")
        if not isinstance(value, list) or len(value) > most or not all(isinstance(each, Mapping) for each in value):
            self.fault(key, f"give at most {most} tables: [[{self._name(key)}]]")
            return []
        name = self._name(key)
        return [Section(each, f"{name}[{at}]", self._lines, self._faults) for at, each in enumerate(value)]

    def pairs(self) -> dict[str, Any]:
        """Return all keys and values of a table whose keys are the owner's own."""
        self._known.update(self._table)
        return dict(self._table)

    def finish(self) -> None:
        """Note every key that nothing asked for, with the known one that it resembles."""
        for key in self._table:
            if key not in self._known:
                close = difflib.get_close_matches(key, sorted(self._known), 1)
                hint = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(sorted(self._known))}"
                self.fault(key, f"there is no such key; {hint}")

    def _get(self, key: str, default: Any, wanted: str) -> Any:
        self._known.add(key)
        if key not in self._table and default is None and wanted:
            self.fault(key, wanted)
        return self._table.get(key, default)

    def _name(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key


def percentage(value: Any) -> float | None:
    """Return a percentage from 0 to 100 that is written as "5%" or "2.5 %"; None for anything else."""
    found = _PERCENTAGE.fullmatch(value) if isinstance(value, str) else None
    return float(found[1]) if found and float(found[1]) <= 100 else None


def _is_number(value: Any, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) if whole else math.isfinite(value)


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) and abs(number) < 1e12 else f"{number:g}"
