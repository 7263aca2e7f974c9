"""Simulating a policy in this process, on an inventory from a file: without a server, and with its modules."""

import gc
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from backfleet.cli._options import fail, print_faults, read_text
from backfleet.clock import utc_now
from backfleet.rollouts.policy import Policy, PolicyRefused, read_policy
from backfleet.rollouts.simulation import (
    FailuresRefused,
    InventoryRefused,
    members_of,
    read_failures,
    read_inventory,
    simulate,
    with_preset,
)
from backfleet.rollouts.timetable import Timetable
from backfleet_host.texts import counted


def simulate_here(file: Path, failures: str, seed: int, inventory: Path, preset: str | None) -> dict[str, Any]:
    """Simulate the policy in a file; return the report. What is refused is printed, and ends the command.

    Args:
        failures: what the release does, as the option of the command.
        seed: of made-up hosts.
        inventory: a CSV file of clients.
        preset: how another system would move the fleet; None is as the policy says.
    """
    gc.disable()  # a million members, none of them garbage
    try:
        policy = read_policy(read_text(file, "a policy"))
        policy = with_preset(policy, preset) if preset else policy
        with inventory.open(encoding="utf-8", newline="") as lines:
            members = members_of(policy, read_inventory(lines))
        windows = Timetable(replace(policy.window, calendars=()), {})
        return simulate(policy, members, windows, failures=read_failures(failures), seed=seed, now=_begin(policy))
    except PolicyRefused as problem:
        _refuse(file, problem)
    except FailuresRefused as problem:
        fail(f"--failures: {problem}")
    except InventoryRefused as problem:
        fail(f"{inventory}: {problem}")
    except OSError as problem:
        fail(f"{inventory} cannot be read: {problem.strerror}")
    finally:
        gc.enable()


def _begin(policy: Policy) -> datetime:
    now = utc_now()
    if policy.deadline <= now:
        fail(f"the deadline {policy.deadline:%Y-%m-%d %H:%M} UTC is over; give a time that is to come")
    return now


def _refuse(file: Path, problem: PolicyRefused) -> NoReturn:
    faults = [
        {"Line": each.line, "Key": each.key, "Found": each.found, "Wanted": each.wanted} for each in problem.faults
    ]
    print_faults(faults, file)
    fail(f"the policy in {file} is refused: {counted(len(faults), 'fault')}", faults=faults)
