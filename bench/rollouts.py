"""Rollouts: what a decision and a simulation cost, ours beside other systems' policies, and a busy fleet.

    .venv/bin/python bench/rollouts.py [--members 1000000] [--svg FILE]

Times are of the process's CPU and of the wall: they differ on a machine with other work. The comparison has no
timing in it: it is the same on every machine.
"""

import argparse
import gc
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from backfleet.rollouts.assignment import Candidate
from backfleet.rollouts.board import Board
from backfleet.rollouts.model import Member, Opening, RingRun, Rollout, Signals
from backfleet.rollouts.policy import Amount, Backups, Failure, Pace, Policy, Ring
from backfleet.rollouts.simulation import (
    PRESETS,
    Failures,
    Host,
    curves_of,
    draw_curves,
    members_of,
    run,
    simulate,
    with_preset,
)
from backfleet.rollouts.simulation.engine import Limits
from backfleet.rollouts.states import MemberState, RingState, RolloutState
from backfleet.rollouts.strategy import decide

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
SEEDS = (1, 2, 3)
COMPARED = 2_000  # members
DECIDED = 50_000
BUSY_DAYS, DRAIN = 7, timedelta(minutes=30)
ASKED_AT = timedelta(hours=15)  # 03:00 on the next day
AIM_DECISION_MS, AIM_SIMULATION_S, AIM_MEMORY_MIB = 50, 60, 2048


class AlwaysOpen:
    """No windows."""

    def opening(self, zone: str, now: datetime) -> Opening:
        """Return that it is open."""
        return Opening(is_open=True)

    def opens_for(self, zone: str, needs: timedelta, begin: datetime, end: datetime) -> bool:
        """Return whether so much time is left."""
        return begin + needs <= end


def our_policy() -> Policy:
    """Return the policy that docs/rollouts.md recommends, without its people."""
    rings = (
        Ring("canary", count=5),
        Ring("early", percent=10, checks=(Backups("each"),)),
        Ring("rest", checks=(Backups("each"),)),
    )
    return Policy(
        "ours", "rclone", NOW + timedelta(days=20), rings, version="2.0", pace=Pace(Amount(percent=5)),
        failure=Failure(Amount(percent=1)),
    )  # fmt: skip


def fleet(number: int) -> Iterable[Candidate]:
    """Yield clients of ten sites."""
    for at in range(number):
        yield Candidate(f"c-{at:07d}", f"i-{at:07d}", "1.0", "linux-amd64", "stable", {"site": str(at % 10)})


def decision_ms(members: list[Member], document: Policy) -> float:
    """Return the median CPU time of one decision while the last ring runs."""
    runs = (RingRun(RingState.FINISHED, NOW - timedelta(days=9), NOW - timedelta(days=8)),) * 2
    rings = (*runs, RingRun(RingState.RUNNING, NOW - timedelta(hours=9)))
    rollout = Rollout(
        "ro-1", "1", document, RolloutState.RUNNING, "2.0", rings, "a", "s", started_at=rings[0].started_at
    )
    done = [
        each if each.ring == 2 else each._replace(state=MemberState.SUCCEEDED, begun_at=NOW, since=NOW)
        for each in members
    ]
    for at, each in enumerate(done):
        if each.ring == 2 and at % 3 == 0:
            done[at] = each._replace(state=MemberState.SUCCEEDED, begun_at=NOW, since=NOW)
    board = Board(document, done)
    return (
        statistics.median(_cpu(lambda: decide(rollout, board, Signals(), AlwaysOpen(), NOW)) for _ in range(11)) * 1e3
    )


def _cpu(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def measure_decisions() -> None:
    """Print what one decision over many members costs, by what the pace asks."""
    members = members_of(our_policy(), fleet(DECIDED))
    plain = our_policy()
    apart = [each._replace(domains=(("set", each.client_id[-3:]),)) for each in members]
    cases = {
        "5 % begin (2,500 orders)": (plain, members),
        "nothing is free to begin": (replace(plain, pace=Pace(Amount(1), per_hour=Amount(1), ramp=False)), members),
        "never_together, 1,000 sets": (replace(plain, pace=Pace(Amount(percent=5), never_together=("set",))), apart),
        "jitter of an hour": (replace(plain, pace=Pace(Amount(percent=5), jitter_seconds=3600)), members),
    }
    print(f"\n| one decision over {DECIDED:,} members, CPU ms (aim {AIM_DECISION_MS}) | |\n|---|---:|")
    for name, (document, found) in cases.items():
        print(f"| {name} | {decision_ms(found, document):.1f} |")


def measure_size(number: int) -> None:
    """Print what the simulation of a large fleet costs."""
    gc.disable()
    wall, cpu = time.monotonic(), time.process_time()
    document = our_policy()
    members = members_of(document, fleet(number))
    report = simulate(document, members, AlwaysOpen(), failures=Failures(), seed=1, now=NOW)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n| {number:,} members | wall s (aim {AIM_SIMULATION_S}) | CPU s | MiB (aim {AIM_MEMORY_MIB}) | done |")
    print("|---|---:|---:|---:|---:|")
    print(f"| {report['State']} after {report['Decisions']} decisions | {wall:.1f} | {cpu:.1f} | {memory:.0f} "
          f"| {report['Done']:,} |")  # fmt: skip
    gc.enable()


def compare(svg: Path | None) -> None:
    """Print whom a bad release reaches, and how long a good one takes: ours beside the presets."""
    policies = {"ours": our_policy()} | {name: with_preset(our_policy(), name) for name in PRESETS}
    curves: dict[str, list[tuple[int, int]]] = {}
    print(f"\n| {COMPARED:,} hosts, seeds {SEEDS} | bad release reaches | of 2 % bad hosts reached | hours to finish |")
    print("|---|---:|---:|---:|")
    for name, document in policies.items():
        bad = [_simulated(document, Failures(is_bad=True), seed) for seed in SEEDS]
        some = [_simulated(document, Failures(0.02), seed) for seed in SEEDS]
        good = [_simulated(document, Failures(), seed) for seed in SEEDS]
        hours = statistics.mean((each["Curve"][-1]["Time"] - each["StartedTime"]) / 3600 for each in good)
        print(f"| {name} | {_mean(bad, 'Reached'):.0f} | {_mean(some, 'BadReached'):.0f} | {hours:.1f} |")
        curves[name] = curves_of(bad[0])["Begun"]
    if svg is not None:
        svg.write_text(draw_curves("Hosts that a bad release reaches", curves, COMPARED))


def busy_host(random: Random) -> Host:
    """Return a host whose backup begins at one time of the day and runs for 18 to 23 hours, with some jitter."""
    begins, usual = timedelta(hours=random.uniform(0, 24)), random.uniform(18.1, 22.9)
    spans = []
    for day in range(-1, BUSY_DAYS + 1):
        begin = NOW + timedelta(days=day, minutes=random.uniform(-5, 5)) + begins
        spans.append((begin, begin + timedelta(hours=min(23.0, max(18.0, random.gauss(usual, 0.2))))))
    return Host(upgrade=timedelta(minutes=2), first_run=None, busy=tuple(spans), drain=DRAIN)


def measure_busy_fleet() -> None:
    """Print who is done by the deadline where backups run nearly all day, and whose backup is interrupted for it."""
    found = [_busy_figures(seed) for seed in SEEDS]
    print(f"\n| {COMPARED:,} hosts that back up 18 to 23 of 24 hours, {BUSY_DAYS} days, seeds {SEEDS} "
          "| done by the deadline | backups interrupted |")  # fmt: skip
    print("|---|---:|---:|")
    for name in found[0]:
        done, interrupted = (statistics.mean(each[name][at] for each in found) for at in (0, 1))
        print(f"| {name} | {done / COMPARED:.1%} | {interrupted:,.0f} |")


def _busy_figures(seed: int) -> dict[str, tuple[int, int]]:
    """Return by rule how many hosts are done by the deadline, and how many backups are interrupted."""
    random = Random(seed)  # noqa: S311 -- the same hosts each time
    document = Policy(
        "ours", "rclone", NOW + timedelta(days=BUSY_DAYS), (Ring("canary", count=20), Ring("rest")), version="2.0",
        pace=Pace(Amount(percent=100), ramp=False),
    )  # fmt: skip
    members = members_of(document, fleet(COMPARED))
    hosts = {member.client_id: busy_host(random) for member in members}
    asks = [NOW + timedelta(days=day) + ASKED_AT for day in range(BUSY_DAYS)]
    never_idle = [host for host in hosts.values() if all(host.busy_until(at) is not None for at in asks)]
    killed = sum(host.busy_until(document.deadline) is not None for host in never_idle)
    return {
        f"ours, which holds new backups back for {DRAIN.seconds // 60} minutes": _ours(document, members, hosts),
        "only when idle, asked at 03:00 each day": (COMPARED - len(never_idle), 0),
        "the same, and at the deadline backups are killed": (COMPARED, killed),
    }


def _ours(document: Policy, members: list[Member], hosts: dict[str, Host]) -> tuple[int, int]:
    rings = (RingRun(),) * len(document.rings)
    rollout = Rollout("ro-1", "1", document, RolloutState.RUNNING, "2.0", rings, "a", "s", started_at=NOW)
    limits = Limits(timedelta(minutes=5))
    board = run(rollout, Board(document, members), hosts, AlwaysOpen(), now=NOW, limits=limits).board
    done = [each for each in board if each.state is MemberState.SUCCEEDED and each.begun_at is not None]
    return len(done), sum(_is_interrupted(hosts[each.client_id], each.begun_at or NOW) for each in done)


def _is_interrupted(host: Host, at: datetime) -> bool:
    """Return whether a backup runs when the host switches: it waits for the one that runs, as long as it drains."""
    free_at = host.busy_until(at)
    switches_at = at if free_at is None else min(free_at, at + host.drain)
    return host.busy_until(switches_at) is not None


def _simulated(document: Policy, failures: Failures, seed: int) -> dict[str, Any]:
    members = members_of(document, fleet(COMPARED))
    return simulate(document, members, AlwaysOpen(), failures=failures, seed=seed, now=NOW)


def _mean(reports: list[dict[str, Any]], key: str) -> float:
    return statistics.mean(report[key] for report in reports)


def main() -> None:
    """Measure everything and print tables in Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    print(f"load of the machine: {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores")
    measure_decisions()
    compare(options.svg)
    measure_busy_fleet()
    measure_size(options.members)


if __name__ == "__main__":
    main()
