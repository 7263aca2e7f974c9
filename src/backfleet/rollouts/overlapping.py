"""Members that other rollouts still move: they wait for those that started before, so that no two wait for each other.

A policy that refuses such rollouts waits, too: one may have begun to go back, or have been started for a later time.
"""

from datetime import datetime, timedelta
from typing import Final

from backfleet.rollouts import _overlaps
from backfleet.rollouts.loading import Loaded
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.states import MemberState
from backfleet.storage import Transaction

EVERY: Final = timedelta(seconds=15)
"""After so long it is looked anew: where thousands wait for others, that takes a while."""


def refresh_overlaps(tx: Transaction, record: RolloutRecord, loaded: Loaded, *, now: datetime) -> None:
    """Bring the members that have not begun up to date with which older rollout has not ended with their clients."""
    if record.started_at is None:  # nothing begins
        return
    if loaded.movers_at is not None and timedelta() <= now - loaded.movers_at < EVERY:
        return
    loaded.movers_at = now
    movers = _overlaps.open_in_older(tx, record)
    for member in list(loaded.board.all_in_state(MemberState.PENDING)):
        moved_by = movers.get(member.client_id, "")
        if moved_by != member.moved_by:
            loaded.board.put(member._replace(moved_by=moved_by))
