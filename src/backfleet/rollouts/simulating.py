"""Simulate a policy on an account's own clients. Bounded: a server has other things to do, a file can be larger."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from backfleet.rollouts import simulation
from backfleet.rollouts.by import By
from backfleet.rollouts.model import Member
from backfleet.rollouts.past_failures import past_failures
from backfleet.rollouts.planning import plan
from backfleet.rollouts.policy import Fault, Policy, PolicyRefused, with_lines
from backfleet.rollouts.simulation import PAST_FAILURES, Failures, Limits, read_failures
from backfleet.rollouts.strategy import Timetable
from backfleet.rollouts.timetables import timetable_for
from backfleet.storage import Transaction
from backfleet.values import value_object

MOST_MEMBERS: Final = 5_000
LIMITS: Final = Limits(tick=timedelta(minutes=1), decisions=5_000)


@value_object
class Prepared:
    """What a simulation needs of the database."""

    policy: Policy
    members: tuple[Member, ...]
    timetable: Timetable
    failures: Failures
    failures_found: str = ""
    """How the failures were found, for people; "" = they were given."""


def prepare_simulation(
    tx: Transaction, text: str, by: By, *, failures: str = "", preset: str = "", reachable_within: timedelta
) -> Prepared:
    """Return a policy with its members and windows as they are now; other rollouts of the same clients do not matter.

    Args:
        failures: `2%`, `bad-canary`, `last-30-days`, or "" for none.

    Raises:
        PolicyRefused: with every fault; also where it has more members than a server simulates.
        FailuresRefused: it is not known which failures are meant, or nothing is known of the last 30 days.
    """
    policy = replace(by.read(tx, text), overlap="wait")
    if preset:
        policy = simulation.with_preset(policy, preset)
    account_id = by.caller.account_id
    found = plan(tx, account_id, by.region, policy, "simulated", now=by.now, reachable_within=reachable_within)
    faults = list(found.faults)
    if len(found.members) > MOST_MEMBERS:
        wanted = f"the server simulates at most {MOST_MEMBERS}; give an inventory as a file: --inventory"
        faults.append(Fault(0, "select", f"{len(found.members)} clients", wanted))
    if faults:
        raise PolicyRefused(with_lines(faults, text))
    if failures == PAST_FAILURES:
        expected, how = past_failures(tx, account_id, by.region, policy, by.now)
    else:
        expected, how = read_failures(failures), ""
    timetable = timetable_for(tx, account_id, policy.window)
    return Prepared(found.policy, found.members, timetable, expected, how)


def simulate(prepared: Prepared, *, seed: int, now: datetime) -> dict[str, Any]:
    """Simulate what was prepared; see `simulation.simulate`. No transaction is open meanwhile."""
    policy, members, timetable, failures = (
        prepared.policy, prepared.members, prepared.timetable, prepared.failures
    )  # fmt: skip
    report = simulation.simulate(policy, members, timetable, failures=failures, seed=seed, now=now, limits=LIMITS)
    return report | {"FailuresFound": prepared.failures_found}
