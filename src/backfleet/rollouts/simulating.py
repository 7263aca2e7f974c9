"""Simulate a policy on an account's own clients. Bounded: a server has other things to do, a file can be larger."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from backfleet.rollouts import simulation
from backfleet.rollouts.model import Member
from backfleet.rollouts.planning import plan
from backfleet.rollouts.policy import Fault, Policy, PolicyRefused, read_policy
from backfleet.rollouts.simulation import Failures, Limits
from backfleet.rollouts.strategy import Timetable
from backfleet.rollouts.timetables import timetable_for
from backfleet.rollouts.verbs import By
from backfleet.storage import Transaction

MOST_MEMBERS: Final = 5_000
LIMITS: Final = Limits(tick=timedelta(minutes=1), decisions=5_000)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a simulation needs of the database."""

    policy: Policy
    members: tuple[Member, ...]
    timetable: Timetable


def prepare_simulation(
    tx: Transaction, text: str, by: By, *, preset: str = "", reachable_within: timedelta
) -> Prepared:
    """Return a policy with its members and windows as they are now; other rollouts of the same clients do not matter.

    Raises:
        PolicyRefused: with every fault; also where it has more members than a server simulates.
    """
    policy = replace(read_policy(text), overlap="wait")
    if preset:
        policy = simulation.with_preset(policy, preset)
    account_id = by.caller.account_id
    found = plan(tx, account_id, by.region, policy, "simulated", now=by.now, reachable_within=reachable_within)
    faults = list(found.faults)
    if len(found.members) > MOST_MEMBERS:
        wanted = f"the server simulates at most {MOST_MEMBERS}; give an inventory as a file: --inventory"
        faults.append(Fault(0, "select", f"{len(found.members)} clients", wanted))
    if faults:
        raise PolicyRefused(faults)
    return Prepared(found.policy, found.members, timetable_for(tx, account_id, policy.window))


def simulate(prepared: Prepared, *, failures: Failures, seed: int, now: datetime) -> dict[str, Any]:
    """Simulate what was prepared; see `simulation.simulate`. No transaction is open meanwhile."""
    return simulation.simulate(
        prepared.policy, prepared.members, prepared.timetable, failures=failures, seed=seed, now=now, limits=LIMITS
    )
