"""The demo's output on the terminal."""

import sys
import time
from typing import Any

WIDTH = 30  # characters of a host's bar
STAGES = ("admit", "check", "fetch", "stage", "drain", "switch", "prove", "commit")


class Screen:
    """Steps with their time, and one line per host that is drawn over on a terminal."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._drawn: list[str] = []

    def seconds(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._began

    def step(self, text: str) -> None:
        """Print the beginning of a step."""
        self._drawn = []
        print(f"[{self.seconds():5.1f} s] {text}", flush=True)

    def progress(self, items: list[tuple[str, dict[str, Any]]]) -> None:
        """Draw each host's stage; if the output is no terminal, print only the lines that changed."""
        lines = [self._line(name, item) for name, item in items]
        if sys.stdout.isatty():
            if self._drawn:
                print(f"\x1b[{len(self._drawn)}F\x1b[J", end="")
            print("\n".join(lines), flush=True)
        else:
            for line in lines:
                if line not in self._drawn:
                    print(line, flush=True)
        self._drawn = lines

    @staticmethod
    def _line(name: str, item: dict[str, Any]) -> str:
        done = WIDTH if item.get("completedTime") else WIDTH * _stages_begun(item.get("stage", "")) // (len(STAGES) + 1)
        word = item.get("errorCode") or ("done" if item.get("completedTime") else item.get("stage") or "waiting")
        versions = f"{item.get('fromVersion') or '-'} -> {item.get('toVersion') or '-'}"
        return f"          {name}  [{'#' * done}{'.' * (WIDTH - done)}]  {versions}  {word}"


def _stages_begun(stage: str) -> int:
    return STAGES.index(stage) + 1 if stage in STAGES else 0


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print the hosts, one on each line."""
    headings = list(rows[0])
    cells = [headings, *[[str(row[heading]) for heading in headings] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
