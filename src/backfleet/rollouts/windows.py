"""Whether the windows of a policy ever open: checked before its rollout exists."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from backfleet.rollouts.model import Member
from backfleet.rollouts.policy import Fault, Policy
from backfleet.rollouts.strategy.beginning import last_begin
from backfleet.rollouts.timetables import missing_calendars, timetable_for
from backfleet.storage import Transaction

_NEEDS: Final = timedelta(seconds=Member("", "", 0, 0).needs_seconds)
_SHOWN: Final = 5  # zones named in one fault


def window_faults(
    tx: Transaction, account_id: str, policy: Policy, hosts: Mapping[str, int], now: datetime
) -> list[Fault]:
    """Return what is wrong with a policy's windows and calendars.

    Args:
        tx: the transaction to read in.
        account_id: whose calendars.
        policy: the policy.
        hosts: how many hosts are in each time zone; "" = those that report none.
        now: the time.
    """
    faults = [
        Fault(0, "window.calendars", repr(name), "no calendar has this name; put it with `backfleet calendar put`")
        for name in missing_calendars(tx, account_id, policy.window.calendars)
    ]
    end = last_begin(policy)
    if faults or end <= now:
        return faults
    if now + _NEEDS > end:
        wanted = f"an order may take {_NEEDS.seconds // 60} minutes: give a time that is further away"
        return [Fault(0, "deadline", f"{policy.deadline:%Y-%m-%d %H:%M} UTC", wanted)]
    timetable = timetable_for(tx, account_id, policy.window)
    never = [zone for zone in sorted(hosts) if not timetable.opens_for(zone, _NEEDS, now, end)]
    if never:
        names = ", ".join(zone or "no zone of their own" for zone in never[:_SHOWN])
        wanted = f"give times of which {_NEEDS.seconds // 60} minutes in one piece come before the deadline"
        found = f"no time before the deadline for {sum(hosts[zone] for zone in never)} hosts (time zone: {names})"
        faults.append(Fault(0, "window.times" if policy.window.times else "window.calendars", found, wanted))
    return faults
