"""How often upgrades and backups of a package failed of late: what a simulation may take for a release to come."""

from datetime import datetime, timedelta
from typing import Final

from backfleet import backups, upgrades
from backfleet.backups import RunFilter
from backfleet.rollouts.orders import failed_by_release
from backfleet.rollouts.simulation import Failures, FailuresRefused
from backfleet.storage import Transaction
from backfleet.upgrades import ItemState, Kind

PAST: Final = timedelta(days=30)


def past_failures(tx: Transaction, account_id: str, region: str, package: str, now: datetime) -> tuple[Failures, str]:
    """Return which share of hosts failed in the last 30 days, and how that was found, for people.

    A host fails if its upgrade fails or rolls back, or else if its first backup fails, as often as any backup of the
    package did. Orders that hosts refused, that found them busy, or that were lost say nothing of a release.

    Raises:
        FailuresRefused: no upgrade of the package ended in that time.
    """
    good, bad = _count_upgrades(tx, account_id, package, now - PAST)
    if good + bad == 0:
        raise FailuresRefused(f'no upgrade of {package} ended in the last 30 days; give a percentage such as "2%"')
    runs = backups.count_results(tx, account_id, region, RunFilter(package=package, since=now - PAST))
    rolled_back = bad / (good + bad)
    broken = runs.failed / runs.known if runs.known else 0.0
    share = rolled_back + (1 - rolled_back) * broken
    text = (
        f"of the last 30 days: {bad} of {good + bad} upgrades and {runs.failed} of {runs.known} backups of {package}"
        f" failed, so the release fails on {share:.1%} of hosts"
    )
    return Failures(share, rolls_back=rolled_back / share if share else 0.0), text


def _count_upgrades(tx: Transaction, account_id: str, package: str, since: datetime) -> tuple[int, int]:
    """Return how many upgrades of an account's clients succeeded and failed."""
    good = bad = 0
    for (_, name, kind, state, code), number in upgrades.count_ended(tx, since=since, account_id=account_id).items():
        if (name, kind) != (package, Kind.UPGRADE):
            continue
        if state == ItemState.SUCCEEDED and code != "AlreadyCurrent":
            good += number
        elif state == ItemState.FAILED and failed_by_release(code):
            bad += number
    return good, bad
