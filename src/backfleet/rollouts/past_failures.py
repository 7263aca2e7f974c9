"""How often upgrades and backups of a package failed of late: what a simulation may take for a release to come."""

from datetime import datetime, timedelta
from typing import Final

from backfleet import backups, upgrades
from backfleet.backups import RunFilter
from backfleet.rollouts.orders import failed_by_release
from backfleet.rollouts.policy import Kind as PolicyKind
from backfleet.rollouts.policy import Policy
from backfleet.rollouts.simulation import Failures, FailuresRefused
from backfleet.storage import Transaction
from backfleet.upgrades import ItemState, Kind

PAST: Final = timedelta(days=30)


def past_failures(tx: Transaction, account_id: str, region: str, policy: Policy, now: datetime) -> tuple[Failures, str]:
    """Return which share of hosts failed in the last 30 days, and how that was found, for people.

    A host fails if its upgrade, or for an install its install, fails or rolls back, or else if its first backup fails,
    as often as any backup of the package did. Orders that hosts refused, that found them busy, or that were lost say
    nothing of a release.

    Raises:
        FailuresRefused: no upgrade, or install, of the package ended in that time.
    """
    package, kind = policy.package, Kind.INSTALL if policy.kind is PolicyKind.INSTALL else Kind.UPGRADE
    good, bad = _count_orders(tx, account_id, package, kind, now - PAST)
    if good + bad == 0:
        raise FailuresRefused(f'no {kind} of {package} ended in the last 30 days; give a percentage such as "2%"')
    runs = backups.count_results(tx, account_id, region, RunFilter(package=package, since=now - PAST))
    rolled_back = bad / (good + bad)
    broken = runs.failed / runs.known if runs.known else 0.0
    share = rolled_back + (1 - rolled_back) * broken
    text = (
        f"of the last 30 days: {bad} of {good + bad} {kind}s and {runs.failed} of {runs.known} backups of {package}"
        f" failed, so the release fails on {share:.1%} of hosts"
    )
    return Failures(share, rolls_back=rolled_back / share if share else 0.0), text


def _count_orders(tx: Transaction, account_id: str, package: str, kind: Kind, since: datetime) -> tuple[int, int]:
    """Return how many orders of a kind for an account's clients succeeded and failed."""
    good = bad = 0
    for (_, name, of, state, code), number in upgrades.count_ended(tx, since=since, account_id=account_id).items():
        if (name, of) != (package, kind):
            continue
        if state == ItemState.SUCCEEDED and code != "AlreadyCurrent":
            good += number
        elif state == ItemState.FAILED and failed_by_release(code):
            bad += number
    return good, bad
