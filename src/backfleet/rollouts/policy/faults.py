"""What is wrong with a policy: every fault at once, each with its line, its key, what was found and what would do."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

_HEADER: Final = re.compile(r"^\s*\[(\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY: Final = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=""")


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that is wrong. `line` is 0 where the policy has no such line, as for a key that is missing."""

    line: int
    key: str
    found: str
    wanted: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.key}: found {self.found}; {self.wanted}"


class PolicyRefused(Exception):
    """A policy is refused as a whole."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(set(faults)))
        super().__init__("\n".join(map(str, self.faults)))


def lines_by_key(text: str) -> dict[str, int]:
    """Return the line of every key of a TOML text: `ring[1].count` for the second `[[ring]]`."""
    found: dict[str, int] = {}
    counts: dict[str, int] = {}
    prefix = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        if header:
            prefix = _bare(header[2])
            if header[1]:
                counts[prefix] = counts.get(prefix, -1) + 1
                prefix = f"{prefix}[{counts[prefix]}]"
            found.setdefault(prefix, number)
            continue
        key = _KEY.match(line)
        if key:
            found.setdefault(f"{prefix}.{_bare(key[1])}" if prefix else _bare(key[1]), number)
    return found


def with_lines(faults: Iterable[Fault], text: str) -> tuple[Fault, ...]:
    """Return faults that were found without a policy's text, with the lines of their keys in it."""
    lines = lines_by_key(text)
    return tuple(replace(fault, line=fault.line or lines.get(fault.key, 0)) for fault in faults)


def _bare(key: str) -> str:
    return re.sub(r"[\"'\s]", "", key)
