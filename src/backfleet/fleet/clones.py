"""Two hosts with one identity: a copied disk, or a copied root.

Their agents evict each other's sockets, and one of them takes what was meant for the other. Each heartbeat names its
process. A process that is seen after a later one of the same identity began runs beside it, on another host: an agent
that was restarted is seen no more.

Nor does a boot of a machine come back after the next one: an identity that is seen from one boot, from another one and
from the first again is that of two machines, however short their agents' processes live, and whatever else is equal.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import combinations
from typing import Final

from backfleet.fleet import _store
from backfleet.fleet.model import AgentRun
from backfleet.storage import Transaction

REFRESH: Final = timedelta(minutes=5)  # after which a process that goes on is noted again
ALIVE: Final = REFRESH + timedelta(seconds=100)  # for which a process counts as running after it was noted
OVERLAP: Final = timedelta(seconds=10)  # by which two processes must run side by side: heartbeats may be late
REMEMBERED: Final = timedelta(days=1)


def note_run(tx: Transaction, run: AgentRun) -> list[AgentRun]:
    """Note that an agent's process was seen; return the processes that run side by side, [] if it is alone."""
    return note_runs(tx, [run]).get(run.instance_id, [])


def note_runs(tx: Transaction, runs: Sequence[AgentRun]) -> dict[str, list[AgentRun]]:
    """Note that agents' processes were seen just now.

    Returns:
        The processes, by instance, that run side by side.
    """
    if not runs:
        return {}
    _store.runs.note(tx, runs)
    now = max(run.last_at for run in runs)
    ids = sorted({run.instance_id for run in runs})
    _store.runs.forget(tx, ids, now - REMEMBERED)
    return clones_of(tx, ids, now=now)


def clones_of(tx: Transaction, instance_ids: Sequence[str], *, now: datetime) -> dict[str, list[AgentRun]]:
    """Return, of these instances, those that several hosts claim to be, each with its hosts' processes."""
    since = now - ALIVE
    several = instance_ids if len(instance_ids) == 1 else _store.runs.with_several(tx, instance_ids, since)
    return side_by_side(_store.runs.seen_since(tx, several, since))


def count_cloned(tx: Transaction, account_id: str, *, now: datetime) -> int:
    """Return how many instances of an account several hosts claim to be."""
    return len(side_by_side(_store.runs.seen_in_account(tx, account_id, now - ALIVE)))


def side_by_side(runs: Iterable[AgentRun]) -> dict[str, list[AgentRun]]:
    """Return the processes, by instance, that run beside another one of it, or whose machine runs beside another one.

    Of machines that run side by side the last process of each is named. Pure.
    """
    by_instance: dict[str, list[AgentRun]] = {}
    for run in runs:
        by_instance.setdefault(run.instance_id, []).append(run)
    found: dict[str, list[AgentRun]] = {}
    for instance_id, processes in by_instance.items():
        if len(processes) == 1:  # as on nearly every host
            continue
        pairs = [pair for pair in combinations(processes, 2) if _overlap(*pair)]
        pairs += [pair for pair in combinations(_machines(processes), 2) if _came_back(*pair)]
        beside = {run.mark for pair in pairs for run in pair}
        if beside:
            found[instance_id] = [run for run in processes if run.mark in beside]
    return found


def _machines(processes: Sequence[AgentRun]) -> list[AgentRun]:
    """Return the last process of each boot, as if it had run for as long as all of that boot together."""
    by_boot: dict[str, AgentRun] = {}
    for run in sorted(processes, key=lambda run: run.last_at):
        if run.boot:
            first = by_boot.get(run.boot, run).first_at
            by_boot[run.boot] = replace(run, first_at=min(first, run.first_at))
    return list(by_boot.values())


def _came_back(one: AgentRun, other: AgentRun) -> bool:
    """Return whether the first of two boots was seen again after the other had begun."""
    first, second = sorted((one, other), key=lambda run: run.first_at)
    return first.last_at > second.first_at + OVERLAP


def _overlap(one: AgentRun, other: AgentRun) -> bool:
    return min(one.last_at, other.last_at) > max(one.first_at, other.first_at) + OVERLAP
