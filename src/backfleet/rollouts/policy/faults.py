"""What is wrong with a policy: every fault at once, each with its line, its key, what was found and what would do."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from backfleet.rollouts.policy.model import Policy

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

    def __init__(self, faults: Iterable[Fault], partial: Policy | None = None) -> None:
        """Note the faults, and what else the policy says where it can be read: more may be wrong with that."""
        self.faults, self.partial = tuple(sorted(set(faults))), partial
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
                found.setdefault(prefix, number)  # of the first: of a fault that is of all of them
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
    found = []
    for fault in faults:
        line = next((lines[path] for path in with_parents(fault.key) if path in lines), 0)
        found.append(replace(fault, line=fault.line or line))
    return tuple(found)


def with_parents(path: str) -> list[str]:
    """Return a path and those that contain it, longest first."""
    found = [path]
    while "." in path or "[" in path:
        path = path[: max(path.rfind("."), path.rfind("["))]
        found.append(path)
    return found


def _bare(key: str) -> str:
    return re.sub(r"[\"'\s]", "", key)
