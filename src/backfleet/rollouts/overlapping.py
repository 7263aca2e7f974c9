"""Members that other rollouts still move: they wait for the one that was created first, where the policy says so."""

from backfleet.rollouts import _store
from backfleet.rollouts.loading import Loaded
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.states import MemberState
from backfleet.storage import Transaction


def refresh_overlaps(tx: Transaction, record: RolloutRecord, loaded: Loaded) -> None:
    """Bring the members that have not begun up to date with which older rollout has not ended with their clients."""
    movers = movers_of(tx, record)
    for member in list(loaded.board.all_in_state(MemberState.PENDING)):
        moved_by = movers.get(member.client_id, "")
        if moved_by != member.moved_by:
            loaded.board.put(member._replace(moved_by=moved_by))


def movers_of(tx: Transaction, record: RolloutRecord) -> dict[str, str]:
    """Return, by client, the rollout that a member waits for. One that waits goes after all that were created before.

    So no two wait for each other.
    """
    return _store.open_in_older(tx, record) if record.document.overlap == "wait" else {}
