"""The fleet as lines of a terminal: how many clients are in which state, by version and site, and what moves. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from backfleet.cli._print import moment
from backfleet.cli._progress import cut
from backfleet.cli._tables import layout

STATES: Final = ("Current", "Behind", "Moving", "Failed", "Silent", "Drifted", "Withdrawn")
BAR: Final = 30  # characters
MOST_MOVING: Final = 5  # rollouts, and tasks
OVER: Final = ("Succeeded", "AlreadyThere", "Skipped")

Answer = Mapping[str, Any]


def picture(
    fleet: Answer, rollouts: Sequence[Answer], tasks: Sequence[Answer], now: float, size: tuple[int, int]
) -> list[str]:
    """Return the lines of the picture, none longer than the terminal and no more of them than it has.

    Args:
        fleet: the answer of DescribeFleet.
        rollouts: those of ListRollouts; those that run are shown.
        tasks: those of ListTasks; those that run are shown.
        now: Unix seconds.
        size: the columns and lines of the terminal.
    """
    width, height = size
    counts = fleet["Counts"]
    states = ", ".join(f"{counts[name]:,} {name.lower()}" for name in STATES if counts.get(name))
    head = [f"{_bar(counts)} {counts['Clients']:,} clients{f': {states}' if states else ''}", moment(now), ""]
    if len(head[0]) > width:
        head[:1] = [head[0].partition(":")[0], states]
    moving = _moving(rollouts, tasks)
    table = _table(fleet["Map"], width)
    left = max(2, height - 1 - len(head) - len(moving))
    if len(table) > left:
        table = [*table[: left - 1], f"... and {len(table) - left + 1} more; `backfleet client list` lists clients"]
    return [cut(line, width) for line in (*head, *table, *moving)][: max(1, height - 1)]


def _table(cells: Sequence[Answer], width: int) -> list[str]:
    """Return the lines of the table: where they are too wide, without states that no client is in."""
    lines: list[str] = []
    for states in (STATES, [name for name in STATES if any(cell.get(name) for cell in cells)]):
        headings = ("PACKAGE", "VERSION", "SITE", "CLIENTS", *map(str.upper, states))
        lines = layout(headings, _rows(cells, states), None).splitlines()
        if max(map(len, lines)) <= width:
            break
    return lines


def _rows(cells: Sequence[Answer], states: Sequence[str]) -> list[list[object]]:
    """Return a row for each version at each site, the largest first; zeros are left empty."""
    largest_first = sorted(cells, key=lambda cell: -cell["Clients"])
    return [
        [cell["PackageName"], cell["ClientVersion"] or "none", cell["Site"] or "-", cell["Clients"]]
        + [cell.get(name) or "" for name in states]
        for cell in largest_first
    ]


def _moving(rollouts: Sequence[Answer], tasks: Sequence[Answer]) -> list[str]:
    running = [each for each in rollouts if each.get("StartedTime") and not each.get("EndedTime")]
    started = [each for each in tasks if each["Description"] == "created"]
    lines = [f"rollout {each['Name']}: {each['State']}, {_of_members(each)}" for each in running[:MOST_MOVING]]
    lines += [f"task {each['TaskId']} {each['Name']}: {each['Progress']} %" for each in started[:MOST_MOVING]]
    return ["", *lines] if lines else []


def _of_members(rollout: Answer) -> str:
    done = sum(ring.get(name, 0) for ring in rollout["Rings"] for name in OVER)
    waits = f", waits for {rollout['WaitsFor']}" if rollout.get("WaitsFor") else ""
    return f"{done:,} of {rollout['Members']:,} done{waits}"


def _bar(counts: Answer) -> str:
    total = max(1, counts["Clients"])
    bad = min(BAR, -(-counts.get("Failed", 0) * BAR // total))
    good = min(BAR - bad, counts.get("Current", 0) * BAR // total)
    return f"[{'#' * good}{'!' * bad}{'.' * (BAR - good - bad)}]"
