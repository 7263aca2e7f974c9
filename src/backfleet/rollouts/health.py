"""What real backups say of a rollout's target version."""

from datetime import timedelta
from typing import Final

from backfleet import backups
from backfleet.backups import Results, RunFilter
from backfleet.rollouts.records import RolloutRecord
from backfleet.storage import Transaction

BASELINE: Final = timedelta(days=30)  # before the rollout


def failed_runs_above_baseline(tx: Transaction, record: RolloutRecord, *, has_begun: bool) -> int | None:
    """Return how many more backups failed under the target version than would have before the rollout.

    Args:
        tx: the transaction to read in.
        record: the rollout.
        has_begun: an order of it has left.

    Settings go to clients of any version: then all backups since the start are compared.

    Returns:
        None if it cannot be known: members have the new version, and of no backup under it the result is known.
    """
    if record.started_at is None or not has_begun:
        return 0
    under = RunFilter(package=record.package, version=record.target_version or None, since=record.started_at)
    now = backups.count_results(tx, record.account_id, record.region, under)
    if not now.known:
        return None
    earlier = RunFilter(package=record.package, since=record.started_at - BASELINE, until=record.started_at)
    return above_baseline(now, backups.count_results(tx, record.account_id, record.region, earlier))


def above_baseline(now: Results, before: Results) -> int:
    """Return how many of the backups now failed beyond the share that failed before; nothing known: beyond none."""
    expected = before.failed * now.known // before.known if before.known else 0
    return max(now.failed - expected, 0)
